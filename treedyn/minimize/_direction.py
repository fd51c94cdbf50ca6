"""Which way to go: the `Direction` contract, and steepest descent."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import schedule, tree
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Context(Struct):
    """What a direction may look at besides the force.

    Attributes:
        part: moving part of the position.
        step: step counter.
        energy: energy at the position, or `None`.
        energy_at: the energy as a function of a displacement from the position; `None` where there is none.
    """

    part: PyTree
    step: jax.Array
    energy: jax.Array | None = None
    energy_at: Callable[[PyTree], jax.Array] | None = None


class Direction(Struct):
    """A rule that turns the force at a position into a displacement; a `Length` says how much of it is taken.

    Attributes:
        name: key of its memory in `state.memory`.
        jumps: whether what it proposes may lead far, as after a search of its own.
        carries: whether it can carry the vectors in its memory along a manifold.
    """

    name: ClassVar[str] = "direction"
    jumps: ClassVar[bool] = False
    carries: ClassVar[bool] = True

    @abstractmethod
    def init(self, part: PyTree) -> Any:
        """Return what is to be remembered; `part` is the moving part of the position."""

    @abstractmethod
    def propose(self, force: PyTree, memory: Any, context: Context) -> tuple[PyTree, Any]:
        """Return a displacement, a tree like `force`, and the memory."""

    def carry(self, memory: Any, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> Any:
        """Return the memory after the step.

        Args:
            memory: what `propose` returned.
            taken: the displacement that was taken, as a vector at the new position.
            transport: carries a vector from the old position to the new one.
        """
        return memory


class Steepest(Direction):
    """Follow the force, dx = rate F.

    Attributes:
        rate: length of a step per force, positive: a number, schedule or prefix tree.
    """

    name: ClassVar[str] = "steepest"
    rate: PyTree

    def __post_init__(self) -> None:
        """Check the rate."""
        object.__setattr__(self, "rate", schedule.numbers("rate", self.rate, positive=True))

    def init(self, part: PyTree) -> None:
        """Return nothing: there is nothing to remember."""
        return

    def propose(self, force: PyTree, memory: Any, context: Context) -> tuple[PyTree, Any]:
        """Return the displacement."""
        return tree.scale(schedule.of_leaves(self.rate, context.step, force, "rate"), force), memory


def first_length(force: PyTree) -> jax.Array:
    """Return how much of the force to try where nothing is known: all of it, but no more than a displacement of norm 1.

    The norm is computed without the squares of large numbers, which overflow where particles overlap.
    """
    largest = jnp.maximum(tree.max_abs(force), jnp.finfo(tree.dtype(force)).tiny)
    return jnp.minimum(1, 1 / (largest * jnp.maximum(tree.norm(tree.scale(1 / largest, force)), 1)))


def check_direction(direction: Any) -> Direction:
    """Return `direction`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(direction, Direction):
        raise ValueError(
            f"direction: expected one of treedyn.minimize, like Fire(dt=0.1), got {direction!r}; an optax "
            "transformation goes through td.from_optax"
        )
    return direction


__all__ = ["Context", "Direction", "Steepest"]
