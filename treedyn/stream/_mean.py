"""The mean of a stream."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import Struct
from treedyn._target import observing
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Reducer, sum_dtype
from treedyn.tree import PyTree


class MeanCarry(Struct):
    """Hold how many observations there were, and their mean."""

    count: Count
    mean: PyTree


class Mean(Reducer):
    """Take the mean of an observable, element by element."""

    carries: ClassVar[type] = MeanCarry

    def init(self, state: PyTree, env: PyTree = None) -> MeanCarry:
        """Return the carry of no observations."""
        shapes = self.shapes(state, env)
        return MeanCarry(
            count=Count.zero(), mean=jax.tree.map(lambda x: Average.zero(x.shape, sum_dtype(x.dtype)), shapes)
        )

    def update(self, carry: MeanCarry, state: PyTree, env: PyTree = None) -> MeanCarry:
        """Return the carry with one more observation."""
        return _add(carry, self.observe(state, env))

    def result(self, carry: MeanCarry) -> PyTree:
        """Return the mean, a tree like the observable; NaN without observations."""
        return tree.unbox(means(carry.count, carry.mean))

    def merge(self, a: MeanCarry, b: MeanCarry) -> MeanCarry:
        """Return the carry of both streams."""
        return MeanCarry(count=a.count + b.count, mean=joined(a, b))


def mean(of: Callable[..., Any]) -> Mean:
    r"""Make a reducer for the mean of an observable, $\frac{1}{n} \sum_t x_t$, element by element.

    The mean of a prediction is the posterior predictive mean: `mean(lambda state: predict(state.position))`.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree. Integers become floats, half precision becomes float32,
            and what is no number rides along.

    Returns:
        A reducer; its result is a tree like the observable.

    Raises:
        ValueError: `of` is no function.

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


@jax.jit
def _add(carry: MeanCarry, values: PyTree) -> MeanCarry:
    count = carry.count + 1
    mean = jax.tree.map(lambda x, mean: mean.toward(x, count.to(mean.dtype)), values, carry.mean)
    return MeanCarry(count=count, mean=mean)


@jax.jit
def means(count: Count, averages: PyTree) -> PyTree:
    """Return the means in a tree of averages; NaN where nothing was counted."""

    def one(average: Average) -> jax.Array:
        return jnp.where(count.to(jnp.float32) > 0, average.value, jnp.nan)

    return jax.tree.map(one, averages, is_leaf=is_average)


def joined(a: Any, b: Any) -> PyTree:
    """Return the averages of two streams together, from carries with `count` and `mean`."""

    def join(x: Average, y: Average) -> Average:
        return x.joined(y, share(a.count, b.count, x.dtype))

    return jax.tree.map(join, a.mean, b.mean, is_leaf=is_average)


def share(a: Count, b: Count, dtype: Any) -> jax.Array:
    """Return b/(a + b), and 0 where both are."""
    return b.to(dtype) / jnp.maximum((a + b).to(jnp.finfo(dtype).dtype), 1).astype(dtype)


def is_average(x: Any) -> bool:
    """Tell whether `x` is an `Average`, the leaf of a tree of averages."""
    return isinstance(x, Average)


__all__ = ["Mean", "mean"]
