"""The `Length` contract: how far to go; and lengths without a search."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Descent(Struct):
    """The report of a minimizer about its last step, in `state.info`.

    Attributes:
        evaluations: number of evaluations of force and energy.
        length: the part of the proposed displacement that was taken.
        found: whether the length meets its conditions; a search that fails takes the best point it saw, or none.
    """

    evaluations: Int32[jax.Array, ""]
    length: Float[jax.Array, ""]
    found: Bool[jax.Array, ""]


class Line(Struct):
    """The points along a displacement from a state.

    Attributes:
        start: the state.
        way: the displacement, of length 1 by definition.
        at: returns the state at a length, with force and energy; in a search, with valid neighbor lists.
        slope: returns minus the force along the displacement, at a state and its length.
    """

    start: State
    way: PyTree
    at: Callable[[jax.Array], State]
    slope: Callable[[State, jax.Array], jax.Array]


class Length(Struct):
    """A rule that says how much of a displacement to take.

    Attributes:
        searches: whether it tries several lengths, which may be large.
    """

    searches: ClassVar[bool] = False

    @abstractmethod
    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the new state, and a report."""


class Limited(Length):
    """The displacement, scaled so that no element exceeds `max_step`.

    Attributes:
        max_step: largest change of any element in one step, positive; infinite for no limit.
    """

    max_step: Float[jax.Array, ""] | float

    def __post_init__(self) -> None:
        """Check the limit."""
        object.__setattr__(self, "max_step", check.number("max_step", self.max_step, positive=True, finite=False))

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the state at the end."""
        return _end(line, within(self.max_step, line.way))


class Whole(Length):
    """The whole displacement."""

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the state at the end."""
        return _end(line, jnp.ones((), tree.dtype(line.way)))


def _end(line: Line, length: jax.Array) -> tuple[State, Descent]:
    return line.at(length), Descent(evaluations=jnp.int32(1), length=length, found=jnp.asarray(True))


def within(max_step: jax.Array | float, way: PyTree) -> jax.Array:
    """Return the largest part of a displacement, at most 1, in which no element exceeds `max_step`."""
    longest = tree.max_abs(way)
    bound = tree.cast(max_step, longest)
    # only a bound that is exceeded is divided, because the quotient of an infinite one has a gradient of NaN
    over = longest > bound
    return jnp.where(over, jnp.where(over, bound, 1) / jnp.where(over, longest, 1), 1)


def limit(way: PyTree, max_step: jax.Array | float) -> PyTree:
    """Return a displacement, scaled down so that no element exceeds `max_step`."""
    return tree.scale(within(max_step, way), way)
