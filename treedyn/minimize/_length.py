"""How far to go: the `Length` contract, and lengths that need no search."""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Descent(Struct):
    """What a minimizer reports of its last step, in `state.info`.

    Attributes:
        evaluations: how often force and energy were evaluated, int32.
        length: the part of the proposed displacement that was taken.
        found: whether the length is what was asked for; a search that fails takes the best point it saw, or none.
    """

    evaluations: jax.Array
    length: jax.Array
    found: jax.Array


class Line(Struct):
    """The points along a displacement from a state.

    Attributes:
        start: the state.
        way: the displacement, of length 1 by definition.
        at: returns the state at a length, with force and energy; a search has them at any length, with valid lists.
        slope: returns minus the force along the displacement, at a state and its length.
    """

    start: State
    way: PyTree
    at: Callable[[jax.Array], State]
    slope: Callable[[State, jax.Array], jax.Array]


class Length(Struct):
    """A rule that says how much of a displacement to take.

    Attributes:
        searches: whether it tries several lengths, and so may lead far from the start.
    """

    searches: ClassVar[bool] = False

    @abstractmethod
    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the state to go to, and what there is to say about it."""


class Whole(Length):
    """Take all of it."""

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the state at the end."""
        length = jnp.ones((), tree.dtype(line.way))
        return line.at(length), Descent(evaluations=jnp.int32(1), length=length, found=jnp.asarray(True))


class Limited(Length):
    """Take all of it, but move no element further than `max_step`; the direction stays.

    Attributes:
        max_step: largest change of any element in one step, positive; infinite for no limit.
    """

    max_step: jax.Array | float

    def __post_init__(self) -> None:
        """Check the limit."""
        object.__setattr__(self, "max_step", check.number("max_step", self.max_step, positive=True, finite=False))

    def take(self, line: Line) -> tuple[State, Descent]:
        """Return the state at the end."""
        length = within(self.max_step, line.way)
        return line.at(length), Descent(evaluations=jnp.int32(1), length=length, found=jnp.asarray(True))


def within(max_step: jax.Array | float, way: PyTree) -> jax.Array:
    """Return the largest part of a displacement, at most 1, in which no element exceeds `max_step`."""
    longest = tree.max_abs(way)
    bound = tree.cast(max_step, longest)
    # the shorter of the two over the longest, because an infinite bound over it would have a gradient of NaN
    over = longest > bound
    return jnp.where(over, jnp.where(over, bound, 1) / jnp.where(over, longest, 1), 1)


def limit(way: PyTree, max_step: jax.Array | float) -> PyTree:
    """Scale a displacement down so that no element of it exceeds `max_step`."""
    return tree.scale(within(max_step, way), way)


__all__ = ["Descent", "Length", "Limited", "Line", "Whole", "limit", "within"]
