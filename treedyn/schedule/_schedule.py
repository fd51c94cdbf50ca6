"""Numbers that a user may give as a constant, a schedule, or a prefix tree of both.

`kT`, `dt`, `gamma`, `mass` and their like are all *numbers* in this sense. A schedule is any function of the step
counter, as in optax. A callable that is a PyTree with leaves of its own may as well be a tree of numbers in the shape
of a module, one mass for every weight, and that is what it is taken for; `Schedule(function=...)` makes it a schedule
whose parameters stay leaves.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._struct import Struct, function, is_bare_function
from treedyn.tree import PyTree


class Schedule(Struct):
    """Wrap a function of the step counter, so that it can stand in a tree of numbers.

    Example:
        >>> import jax, treedyn as td
        >>> from treedyn.schedule import Schedule
        >>> class Ramp(td.Struct):
        ...     slope: float
        ...     def __call__(self, step):
        ...         return self.slope * step
        >>> dynamics = td.langevin(lambda x: x.sum(), dt=0.1, kT=Schedule(function=Ramp(slope=0.5)))
        >>> jax.tree.leaves(dynamics.operators[2].kT)
        [0.5]
    """

    function: Callable[[jax.Array], Any] = function()


def is_schedule(value: Any) -> bool:
    """Tell whether `value` is a schedule."""
    return isinstance(value, Schedule)


def numbers(
    name: str, value: PyTree, *, positive: bool = False, nonnegative: bool = False, finite: bool = False
) -> PyTree:
    """Check and return a constant, a schedule, or a prefix tree of both.

    Args:
        name: the name of the argument; for the error message.
        value: what the user gave: numbers or arrays, functions of the step, or a tree of those.
        positive: whether every number has to be larger than 0.
        nonnegative: whether no number may be below 0.
        finite: whether no number may be infinite.

    Returns:
        The same tree, with integers as floats and functions as `Schedule`.

    Raises:
        ValueError: something is not a number, or has the wrong sign.
    """

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, Schedule):
            return leaf
        if is_bare_function(leaf) and not isinstance(leaf, type):
            return Schedule(function=leaf)
        if not _is_number(leaf):
            raise ValueError(
                f"{name}: expected a number, an array, a schedule (a function of the step) or a tree of "
                f"those; got {leaf!r}"
            )
        if isinstance(leaf, int):
            leaf = float(leaf)
        if not isinstance(leaf, float) and not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            leaf = jnp.asarray(leaf).astype(jnp.result_type(float))
        _check(leaf, name, positive, nonnegative, finite)
        return leaf

    if value is None:
        raise ValueError(f"{name}: expected a number, got None")
    return jax.tree.map(convert, value, is_leaf=lambda x: is_schedule(x) or is_bare_function(x))


def _is_number(leaf: Any) -> bool:
    if not hasattr(leaf, "dtype"):
        return isinstance(leaf, int | float) and not isinstance(leaf, bool)
    return jnp.issubdtype(leaf.dtype, jnp.floating) or jnp.issubdtype(leaf.dtype, jnp.integer)


def _check(leaf: Any, name: str, positive: bool, nonnegative: bool, finite: bool) -> None:
    # Only what is known now can be checked now: inside jit, numbers are the caller's responsibility.
    array = tree.known(leaf)
    if array is None or not (positive or nonnegative):
        return
    good = (array > 0 if positive else array >= 0) & ~(np.isinf(array) & finite)
    if not np.all(good):
        wanted = ("positive" if positive else "zero or positive") + finite * " and finite"
        bad = array[~good].flat[0] if array.ndim else array
        raise ValueError(f"{name} must be {wanted}, got {bad}: check its sign and units")


def at(value: PyTree, step: jax.Array) -> PyTree:
    """Return the numbers at one step: schedules evaluated, constants as they are.

    Example:
        >>> from treedyn import schedule
        >>> ramp = schedule.numbers("kT", {"a": 1.0, "b": lambda step: 0.5 * step})
        >>> schedule.at(ramp, 4)
        {'a': 1.0, 'b': 2.0}
    """
    # a schedule mixes an integer with floats by nature, those of optax do: strict promotion is not for them
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(lambda x: x.function(step) if is_schedule(x) else x, value, is_leaf=is_schedule)


def of_leaves(value: PyTree, step: jax.Array, part: PyTree, name: str) -> PyTree:
    """Return the number of every leaf of `part` at one step, in the dtype of the leaf and shaped to broadcast."""
    return tree.broadcast(at(value, step), part, name)
