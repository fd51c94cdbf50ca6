"""Constants, schedules, and prefix trees of both."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Int

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function, is_bare_function, static
from treedyn.tree import PyTree
from treedyn.tree._structure import map_nodes


class Schedule(Struct):
    """A function of the step counter, as a node in a tree of numbers.

    Attributes:
        function: `function(step)`, returns a number or an array.
        sign: "positive", "nonnegative" or "any"; other numbers count as NaN, which ends a run.

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

    function: Callable[[Any], Any] = function()
    sign: Literal["positive", "nonnegative", "any"] = static(default="any")

    def at(self, step: Int[ArrayLike, "..."]) -> Any:
        """Return the number at a step."""
        number = self.function(step)
        if self.sign == "any":
            return number
        return jnp.where(number > 0 if self.sign == "positive" else number >= 0, number, jnp.nan)


def is_schedule(value: object) -> bool:
    """Tell whether `value` is a schedule."""
    return isinstance(value, Schedule)


def numbers(
    name: str, value: PyTree, *, positive: bool = False, nonnegative: bool = False, finite: bool = False
) -> PyTree:
    """Check a constant, a schedule, or a prefix tree of both.

    Args:
        name: name of the argument in error messages.
        value: numbers or arrays, functions of the step, or a tree of those.
        positive: require every number to be larger than 0.
        nonnegative: require every number to be 0 or larger.
        finite: refuse infinity.

    Returns:
        The same tree, with integers as floats and functions as `Schedule` nodes.

    Raises:
        ValueError: a leaf is not a number, or is out of range.
    """
    sign = "positive" if positive else "nonnegative" if nonnegative else "any"

    def convert(leaf: Any) -> Any:
        if isinstance(leaf, Schedule):
            return leaf.replace(sign=sign)
        if is_bare_function(leaf) and not isinstance(leaf, type):
            return Schedule(function=check.function(name, leaf, "the step"), sign=sign)
        if not check.is_real(leaf):
            raise ValueError(
                f"{name}: expected a number, an array, a schedule (a function of the step) or a tree of those, "
                f"got {leaf!r}"
            )
        if isinstance(leaf, int):
            leaf = float(leaf)
        if not isinstance(leaf, float) and not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            leaf = jnp.asarray(leaf).astype(jnp.result_type(float))
        known = tree.known(leaf) if positive or nonnegative else None
        if known is not None:
            good = (known > 0 if positive else known >= 0) & ~(np.isinf(known) & finite)
            if not np.all(good):
                wanted = ("positive" if positive else "zero or positive") + finite * " and finite"
                raise ValueError(f"{name}: must be {wanted}, got {known[~good].flat[0]}. Check its sign and units.")
        return leaf

    if value is None:
        raise ValueError(f"{name}: expected a number, got None")
    return jax.tree.map(convert, value, is_leaf=lambda x: is_schedule(x) or is_bare_function(x))


def one(name: str, value: PyTree, why: str) -> PyTree:
    """Check one finite, positive number for all leaves, a constant or a schedule; `why` ends the message of others."""
    number = numbers(name, value, positive=True, finite=True)
    if not is_schedule(number) and (not jax.tree_util.all_leaves([number]) or jnp.ndim(number)):
        raise ValueError(f"{name}: expected one number or schedule for all leaves, got {value!r}. {why}")
    return number


def at(value: PyTree, step: Int[ArrayLike, "..."]) -> PyTree:
    """Return the result of `numbers` at one step: schedules evaluated, constants as they are.

    Example:
        >>> from treedyn import schedule
        >>> ramp = schedule.numbers("kT", {"a": 1.0, "b": lambda step: 0.5 * step})
        >>> schedule.at(ramp, 4)
        {'a': 1.0, 'b': 2.0}
    """
    # schedules, those of Optax included, mix integers and floats, which strict promotion would refuse
    with jax.numpy_dtype_promotion("standard"):
        return map_nodes(lambda x: x.at(step), Schedule, value)


def of_leaves(value: PyTree, step: Int[Array, ""], part: PyTree, name: str) -> PyTree:
    """Return the number of every leaf at one step, in the dtype of the leaf and in a shape that broadcasts.

    Raises:
        ValueError: a tree or a shape does not fit the position.
    """
    return tree.broadcast(at(value, step), part, name)
