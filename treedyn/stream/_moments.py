"""Mean, variance and covariance of a stream, by Welford's recursion."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._average import Average, is_average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Accumulator, Carry, Reducer, real, sum_dtype
from treedyn.tree import PyTree


class Mean(Accumulator):
    """The mean of an observable, element by element."""

    entries: ClassVar[tuple[str, ...]] = ("count", "mean")

    def _empty(self, shapes: PyTree) -> Carry:
        return {
            "count": Count.zero(),
            "mean": jax.tree.map(lambda x: Average.zero(x.shape, sum_dtype(x.dtype)), shapes),
        }

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        count = carry["count"] + 1
        return {"count": count, "mean": _toward(carry["mean"], values, count)}

    def _summary(self, carry: Carry) -> PyTree:
        some = carry["count"].to(jnp.float32) > 0
        return jax.tree.map(lambda x: jnp.where(some, x.value, jnp.nan), carry["mean"], is_leaf=is_average)

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both streams."""

        def join(x: Average, y: Average) -> Average:
            return x.joined(y, share(a["count"], b["count"], x.dtype))

        mean = jax.tree.map(join, a["mean"], b["mean"], is_leaf=is_average)
        return {"count": a["count"] + b["count"], "mean": mean}


class Products(Mean):
    """Mean products of the distances from the mean."""

    entries: ClassVar[tuple[str, ...]] = ("count", "mean", "product")

    @abstractmethod
    def _products(self, x: PyTree, y: PyTree) -> PyTree:
        """Return the products of the elements of two trees like the observable."""

    def _empty(self, shapes: PyTree) -> Carry:
        products = jax.eval_shape(self._products, *2 * (real(shapes, "the variance"),))
        product = jax.tree.map(lambda x: Average.zero(x.shape, x.dtype), products)
        return {**super()._empty(shapes), "product": product}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        new = super()._add(carry, values)
        before, after = (
            jax.tree.map(lambda x, mean: mean.distance(x), values, means) for means in (carry["mean"], new["mean"])
        )
        return {**new, "product": _toward(carry["product"], self._products(before, after), new["count"])}

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both streams."""

        def join(x: Average, y: Average, gaps: jax.Array) -> Average:
            part = share(a["count"], b["count"], x.dtype)
            return x.joined(y, part).plus(gaps * part * (1 - part))

        gap = jax.tree.map(Average.gap, a["mean"], b["mean"], is_leaf=is_average)
        product = jax.tree.map(join, a["product"], b["product"], self._products(gap, gap), is_leaf=is_average)
        return {**super().merge(a, b), "product": product}

    def _unbiased(self, carry: Carry) -> PyTree:
        """Return the mean products with n - 1 in the denominator; NaN for fewer than two observations."""

        def one(x: Average) -> jax.Array:
            n = carry["count"].to(x.dtype)
            return x.value * jnp.where(n > 1, n / jnp.maximum(n - 1, 1), jnp.nan)

        return jax.tree.map(one, carry["product"], is_leaf=is_average)


class VarianceResult(Struct):
    """The result of `variance`, documented there."""

    mean: PyTree
    variance: PyTree
    error: PyTree
    count: Float[jax.Array, ""]


class Variance(Products):
    """Mean and variance of an observable, element by element."""

    def _products(self, x: PyTree, y: PyTree) -> PyTree:
        return jax.tree.map(jnp.multiply, x, y)

    def _summary(self, carry: Carry) -> VarianceResult:
        variance = self._unbiased(carry)
        return VarianceResult(
            mean=super()._summary(carry),
            variance=variance,
            error=jax.tree.map(lambda v: jnp.sqrt(v / carry["count"].to(v.dtype)), variance),
            count=carry["count"].to(jnp.result_type(float)),
        )


class CovarianceResult(Struct):
    """The result of `covariance`, documented there."""

    mean: PyTree
    covariance: PyTree
    count: Float[jax.Array, ""]


class Covariance(Products):
    """Mean and covariance matrix of the elements of an observable, within leaves or across the tree."""

    across: bool = static(default=False)

    def _products(self, x: PyTree, y: PyTree) -> PyTree:
        if not self.across:
            return jax.tree.map(_outer, x, y)
        return jax.tree.map(lambda a: jax.tree.map(lambda b: _outer(a, b), y), x)

    def _summary(self, carry: Carry) -> CovarianceResult:
        return CovarianceResult(
            mean=super()._summary(carry),
            covariance=self._unbiased(carry),
            count=carry["count"].to(jnp.result_type(float)),
        )


def mean(of: Callable[..., Any]) -> Reducer:
    r"""Build a reducer for the mean of an observable, $\frac{1}{n} \sum_t x_t$, element by element.

    The mean of a prediction is the posterior predictive mean: `mean(lambda state: predict(state.position))`.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree. Integers become floats, half precision becomes float32,
            leaves that are not numbers ride along.

    Returns:
        A reducer. Its result is a tree like the observable; NaN without observations.

    Raises:
        ValueError: `of` is not a function.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> mean = stream.mean(lambda x: {"x": x, "square": x**2})
        >>> carry = mean.init(jnp.zeros(2))
        >>> for x in ([1.0, 2.0], [3.0, 4.0]):
        ...     carry = mean.update(carry, jnp.array(x))
        >>> print(mean.result(carry)["square"])
        [ 5. 10.]
    """
    return Mean(of=observing("of", of))


def variance(of: Callable[..., Any]) -> Reducer:
    r"""Build a reducer for mean and variance of an observable, $\frac{1}{n-1} \sum_t (x_t - \bar x)^2$, by element.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.

    Returns:
        A reducer. Its result has the attributes

        - `mean`: the mean, a tree like the observable;
        - `variance`: the sample variance; NaN for fewer than two observations;
        - `error`: the standard error of the mean for independent observations. For correlated ones, as those of a
          simulation, use `blocking`;
        - `count`: the number of observations.

    Raises:
        ValueError: `of` is not a function; when initialized, the observable is complex.

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


def covariance(of: Callable[..., Any], *, across: bool = False) -> Reducer:
    r"""Build a reducer for the covariance matrix, $\frac{1}{n-1} \sum_t (x_t - \bar x) \otimes (x_t - \bar x)$.

    Its memory is the square of the size of a leaf, or of the tree.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        across: whether to include the covariance of elements of different leaves. The result is then a tree of trees,
            like that of `jax.hessian`.

    Returns:
        A reducer. Its result has the attributes

        - `mean`: the mean, a tree like the observable;
        - `covariance`: for every leaf of shape `s` the covariance of its elements, `[*s, *s]`; with `across`, for every
          leaf a tree of those with every other leaf of shape `t`, `[*s, *t]`. NaN for fewer than two observations;
        - `count`: the number of observations.

    Raises:
        ValueError: `of` is not a function; when initialized, the observable is complex.

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


def _toward(averages: PyTree, values: PyTree, count: Count) -> PyTree:
    return jax.tree.map(lambda old, x: old.toward(x, count.to(old.dtype)), averages, values, is_leaf=is_average)


def share(a: Count, b: Count, dtype: DTypeLike) -> jax.Array:
    """Return b/(a + b), and 0 where both are 0."""
    return b.to(dtype) / jnp.maximum((a + b).to(jnp.finfo(dtype).dtype), 1).astype(dtype)


def _outer(x: jax.Array, y: jax.Array) -> jax.Array:
    kind = tree.widest(x.dtype, y.dtype)
    x, y = x.astype(kind), y.astype(kind)
    # a matrix product would round its factors on accelerators
    return x.reshape(x.shape + (1,) * y.ndim) * y.reshape((1,) * x.ndim + y.shape)
