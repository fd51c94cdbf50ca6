"""The covariance matrix of the elements of an observable, within every leaf or across the whole tree."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._mean import is_average, joined, means, share
from treedyn.stream._reducer import Reducer, real
from treedyn.stream._variance import bessel, from_mean
from treedyn.tree import PyTree


class CovarianceCarry(Struct):
    """Hold how many observations there were, their mean, and the mean product of the distances to it."""

    count: Count
    mean: PyTree
    product: PyTree


class CovarianceResult(Struct):
    """Hold what `covariance` returns.

    Attributes:
        mean: the mean, a tree like the observable.
        covariance: for every leaf of shape `s` the covariance of its elements, `[*s, *s]`; across the tree, for every
            leaf a tree of those with every other, `[*s, *t]`. NaN for fewer than two observations.
        count: number of observations.
    """

    mean: PyTree
    covariance: PyTree
    count: jax.Array


class Covariance(Reducer):
    """Take the covariance of the elements of an observable.

    Attributes:
        across: whether elements of different leaves are compared, too.
    """

    carries: ClassVar[type] = CovarianceCarry
    across: bool = static(default=False)

    def init(self, state: PyTree, env: PyTree = None) -> CovarianceCarry:
        """Return the carry of no observations."""
        shapes = real(self.shapes(state, env), "the covariance")
        product = self._pairs(
            lambda x, y: Average.zero((*x.shape, *y.shape), tree.widest(x.dtype, y.dtype)), shapes, shapes
        )
        mean = jax.tree.map(lambda x: Average.zero(x.shape, x.dtype), shapes)
        return CovarianceCarry(count=Count.zero(), mean=mean, product=product)

    def update(self, carry: CovarianceCarry, state: PyTree, env: PyTree = None) -> CovarianceCarry:
        """Return the carry with one more observation."""
        return self._add(carry, self.observe(state, env))

    @jax.jit
    def _add(self, carry: CovarianceCarry, values: PyTree) -> CovarianceCarry:
        count = carry.count + 1
        mean = jax.tree.map(lambda x, mean: mean.toward(x, count.to(mean.dtype)), values, carry.mean)
        before, after = (jax.tree.map(from_mean, values, m) for m in (carry.mean, mean))
        product = jax.tree.map(
            lambda old, x: old.toward(x, count.to(old.dtype)),
            carry.product,
            self._pairs(_outer, before, after),
            is_leaf=is_average,
        )
        return CovarianceCarry(count=count, mean=mean, product=product)

    def result(self, carry: CovarianceCarry) -> CovarianceResult:
        """Return mean, covariance and count."""
        return tree.unbox(_result(carry))

    def merge(self, a: CovarianceCarry, b: CovarianceCarry) -> CovarianceCarry:
        """Return the carry of both streams."""

        def products(x: Average, y: Average, gaps: jax.Array) -> Average:
            part = share(a.count, b.count, x.dtype)
            return x.joined(y, part).plus(gaps * part * (1 - part))

        gap = jax.tree.map(Average.gap, a.mean, b.mean, is_leaf=is_average)
        gaps = self._pairs(_outer, gap, gap)
        return CovarianceCarry(
            count=a.count + b.count,
            mean=joined(a, b),
            product=jax.tree.map(products, a.product, b.product, gaps, is_leaf=is_average),
        )

    def _pairs(self, f: Callable[[Any, Any], Any], x: PyTree, y: PyTree) -> PyTree:
        if not self.across:
            return jax.tree.map(f, x, y)
        return jax.tree.map(lambda a: jax.tree.map(lambda b: f(a, b), y), x)


def covariance(of: Callable[..., Any], *, across: bool = False) -> Covariance:
    r"""Make a reducer for the covariance matrix, $\frac{1}{n-1} \sum_t (x_t - \bar x) \otimes (x_t - \bar x)$.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        across: compare elements of different leaves, too. The result is then a tree of trees, as that of `jax.hessian`;
            nothing is flattened into one vector.

    Returns:
        A reducer; its result is a `CovarianceResult`. Its memory is the square of the size of a leaf, or of the tree.

    Raises:
        ValueError: `of` is no function; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.covariance(lambda x: {"x": x[0], "y": x[1]}, across=True)
        >>> step = lambda carry, x: (reducer.update(carry, x), None)
        >>> series = jnp.array([[0.0, 0.0], [1.0, 2.0], [2.0, 4.0]])
        >>> carry, _ = jax.lax.scan(step, reducer.init(series[0]), series)
        >>> print(reducer.result(carry).covariance["x"]["y"].round(4))
        2.0
    """
    return Covariance(of=observing("of", of), across=check.flag("across", across))


@jax.jit
def _result(carry: CovarianceCarry) -> CovarianceResult:
    return CovarianceResult(
        mean=means(carry.count, carry.mean),
        covariance=jax.tree.map(lambda x: x.value * bessel(carry.count, x.dtype), carry.product, is_leaf=is_average),
        count=carry.count.to(jnp.result_type(float)),
    )


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    kind = tree.widest(x.dtype, y.dtype)
    x, y = x.astype(kind), y.astype(kind)
    # no matrix product: accelerators round its factors
    return x.reshape(x.shape + (1,) * y.ndim) * y.reshape((1,) * x.ndim + y.shape)


__all__ = ["Covariance", "CovarianceResult", "covariance"]
