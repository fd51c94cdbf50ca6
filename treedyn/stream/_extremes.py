"""The smallest and the largest value of a stream."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import Struct
from treedyn._target import observing
from treedyn.stream._reducer import Reducer, check_shape, real
from treedyn.tree import PyTree


class ExtremesResult(Struct):
    """Hold what `extremes` returns.

    Attributes:
        least: the smallest value of every element, a tree like the observable, in its dtype.
        largest: the largest value of every element.
    """

    least: PyTree
    largest: PyTree


class Extremes(Reducer):
    """Keep the smallest and the largest value of an observable, element by element."""

    carries: ClassVar[type] = ExtremesResult

    def init(self, state: PyTree, env: PyTree = None) -> ExtremesResult:
        """Return the carry of no observations: an empty interval."""
        shapes = self.shapes(state, env)
        real(shapes, "an order")
        top = jax.tree.map(lambda x: jnp.full(x.shape, _largest(x.dtype), x.dtype), shapes)
        bottom = jax.tree.map(lambda x: jnp.full(x.shape, _least(x.dtype), x.dtype), shapes)
        return ExtremesResult(least=top, largest=bottom)

    def update(self, carry: ExtremesResult, state: PyTree, env: PyTree = None) -> ExtremesResult:
        """Return the carry with one more observation."""
        values = self.observe(state, env)
        return self.merge(carry, ExtremesResult(least=values, largest=values))

    def result(self, carry: ExtremesResult) -> ExtremesResult:
        """Return smallest and largest values."""
        return tree.unbox(carry)

    def merge(self, a: ExtremesResult, b: ExtremesResult) -> ExtremesResult:
        """Return the carry of both streams."""
        return ExtremesResult(
            least=jax.tree.map(lambda x, y: jnp.minimum(x, check_shape(y, x.shape).astype(x.dtype)), a.least, b.least),
            largest=jax.tree.map(
                lambda x, y: jnp.maximum(x, check_shape(y, x.shape).astype(x.dtype)), a.largest, b.largest
            ),
        )


def extremes(of: Callable[..., Any]) -> Extremes:
    """Make a reducer for the smallest and the largest value of an observable, element by element.

    A NaN makes both NaN. Without observations the smallest value is the largest of the dtype, and the other way round.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers; dtypes are kept.

    Returns:
        A reducer; its result is an `ExtremesResult`.

    Raises:
        ValueError: `of` is no function; when initialized, the observable is complex.

    Example:
        >>> from treedyn import stream
        >>> reducer = stream.extremes(lambda x: x)
        >>> carry = reducer.init(0.0)
        >>> for x in (2.0, -1.0, 5.0):
        ...     carry = reducer.update(carry, x)
        >>> print(reducer.result(carry).least, reducer.result(carry).largest)
        -1.0 5.0
    """
    return Extremes(of=observing("of", of))


def _largest(dtype: Any) -> Any:
    if dtype == jnp.bool_:
        return True
    return jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).max


def _least(dtype: Any) -> Any:
    if dtype == jnp.bool_:
        return False
    return -jnp.inf if jnp.issubdtype(dtype, jnp.floating) else jnp.iinfo(dtype).min


__all__ = ["Extremes", "ExtremesResult", "extremes"]
