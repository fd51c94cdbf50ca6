"""The smallest and the largest value of a stream."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from treedyn._struct import Struct
from treedyn._target import observing
from treedyn.stream._reducer import Accumulator, Carry, Reducer, check_shape, real
from treedyn.tree import PyTree


class ExtremesResult(Struct):
    """The result of `extremes`, documented there."""

    least: PyTree
    largest: PyTree


class Extremes(Accumulator):
    """The smallest and the largest value of an observable, element by element."""

    entries: ClassVar[tuple[str, ...]] = ("least", "largest")

    def _empty(self, shapes: PyTree) -> Carry:
        real(shapes, "an order")

        def ends(which: int) -> PyTree:
            return jax.tree.map(lambda x: jnp.full(x.shape, _range(x.dtype)[which], x.dtype), shapes)

        return {"least": ends(1), "largest": ends(0)}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        return self.merge(carry, {"least": values, "largest": values})

    def _summary(self, carry: Carry) -> ExtremesResult:
        return ExtremesResult(**carry)

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both streams."""

        def pick(rule: Callable[..., jax.Array], name: str) -> PyTree:
            return jax.tree.map(lambda x, y: rule(x, check_shape(y, x.shape).astype(x.dtype)), a[name], b[name])

        return {"least": pick(jnp.minimum, "least"), "largest": pick(jnp.maximum, "largest")}


def extremes(of: Callable[..., Any]) -> Reducer:
    """Build a reducer for the smallest and the largest value of an observable, element by element.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers; dtypes are kept.

    Returns:
        A reducer. Its result has the attributes `least` and `largest`, trees like the observable. After a NaN both are
        NaN. Without observations `least` is the largest value of the dtype, and `largest` the smallest.

    Raises:
        ValueError: `of` is not a function; when initialized, the observable is complex.

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


def _range(dtype: DTypeLike) -> tuple[Any, Any]:
    """Return the smallest and the largest value of a dtype."""
    if dtype == jnp.bool_:
        return False, True
    if jnp.issubdtype(dtype, jnp.floating):
        return -jnp.inf, jnp.inf
    return jnp.iinfo(dtype).min, jnp.iinfo(dtype).max
