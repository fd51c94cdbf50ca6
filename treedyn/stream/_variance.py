"""Mean and variance of a stream, by Welford's recursion."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import Struct
from treedyn._target import observing
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._mean import is_average, joined, means, share
from treedyn.stream._reducer import Reducer, real
from treedyn.tree import PyTree


class VarianceCarry(Struct):
    """Hold how many observations there were, their mean, and the mean square of the distance to it."""

    count: Count
    mean: PyTree
    square: PyTree


class VarianceResult(Struct):
    """Hold what `variance` returns.

    Attributes:
        mean: the mean, a tree like the observable.
        variance: sample variance, with n - 1 in the denominator; NaN for fewer than two observations.
        error: standard error of the mean if the observations were independent. Those of a simulation are not: see
            `blocking`.
        count: number of observations.
    """

    mean: PyTree
    variance: PyTree
    error: PyTree
    count: jax.Array


class Variance(Reducer):
    """Take mean and variance of an observable, element by element."""

    carries: ClassVar[type] = VarianceCarry

    def init(self, state: PyTree, env: PyTree = None) -> VarianceCarry:
        """Return the carry of no observations."""
        zeros = jax.tree.map(lambda x: Average.zero(x.shape, x.dtype), real(self.shapes(state, env), "the variance"))
        return VarianceCarry(count=Count.zero(), mean=zeros, square=zeros)

    def update(self, carry: VarianceCarry, state: PyTree, env: PyTree = None) -> VarianceCarry:
        """Return the carry with one more observation."""
        return _add(carry, self.observe(state, env))

    def result(self, carry: VarianceCarry) -> VarianceResult:
        """Return mean, variance, standard error and count."""
        return tree.unbox(_result(carry))

    def merge(self, a: VarianceCarry, b: VarianceCarry) -> VarianceCarry:
        """Return the carry of both streams."""

        def squares(x: Average, y: Average, mean: Average, other: Average) -> Average:
            part = share(a.count, b.count, x.dtype)
            return x.joined(y, part).plus(mean.gap(other) ** 2 * part * (1 - part))

        return VarianceCarry(
            count=a.count + b.count,
            mean=joined(a, b),
            square=jax.tree.map(squares, a.square, b.square, a.mean, b.mean, is_leaf=is_average),
        )


def variance(of: Callable[..., Any]) -> Variance:
    r"""Make a reducer for mean and variance of an observable, $\frac{1}{n-1} \sum_t (x_t - \bar x)^2$, by element.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.

    Returns:
        A reducer; its result is a `VarianceResult`.

    Raises:
        ValueError: `of` is no function; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> energy = stream.variance(lambda x: x)
        >>> step = lambda carry, x: (energy.update(carry, x), None)
        >>> carry, _ = jax.lax.scan(step, energy.init(0.0), jnp.array([1.0, 2.0, 6.0]))
        >>> out = energy.result(carry)
        >>> print(out.mean, out.variance, out.count)
        3.0 7.0 3.0

    Reference:
        Welford, Technometrics 4, 419 (1962), doi:10.1080/00401706.1962.10490022; merging: Chan, Golub, LeVeque,
        Am. Stat. 37, 242 (1983), doi:10.1080/00031305.1983.10483115.
    """
    return Variance(of=observing("of", of))


@jax.jit
def _add(carry: VarianceCarry, values: PyTree) -> VarianceCarry:
    count = carry.count + 1

    def moved(x: jax.Array, old: Average, new: Average, square: Average) -> Average:
        return square.toward(from_mean(x, old) * from_mean(x, new), count.to(square.dtype))

    mean = jax.tree.map(lambda x, mean: mean.toward(x, count.to(mean.dtype)), values, carry.mean)
    square = jax.tree.map(moved, values, carry.mean, mean, carry.square)
    return VarianceCarry(count=count, mean=mean, square=square)


@jax.jit
def _result(carry: VarianceCarry) -> VarianceResult:
    variance = jax.tree.map(lambda x: x.value * bessel(carry.count, x.dtype), carry.square, is_leaf=is_average)
    return VarianceResult(
        mean=means(carry.count, carry.mean),
        variance=variance,
        error=jax.tree.map(lambda v: jnp.sqrt(v / carry.count.to(v.dtype)), variance),
        count=carry.count.to(jnp.result_type(float)),
    )


def from_mean(x: jax.Array, mean: Average) -> jax.Array:
    """Return `x - mean`."""
    return (x.astype(mean.dtype) - mean.high) - mean.low


def bessel(count: Count, dtype: Any) -> jax.Array:
    """Return n/(n - 1); NaN for fewer than two."""
    n = count.to(dtype)
    return jnp.where(n > 1, n / jnp.maximum(n - 1, 1), jnp.nan)


__all__ = ["Variance", "VarianceResult", "variance"]
