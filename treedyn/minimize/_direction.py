"""The `Direction` contract: which way to go."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int32

from treedyn import tree
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Context(Struct):
    """The information for a direction besides the force.

    Attributes:
        part: moving part of the position.
        step: step counter.
        energy: energy at the position, or `None`.
        energy_at: the energy as a function of a displacement from the position, or `None`.
    """

    part: PyTree
    step: Int32[jax.Array, ""]
    energy: Float[jax.Array, ""] | None = None
    energy_at: Callable[[PyTree], jax.Array] | None = None


class Direction(Struct):
    """A rule that turns the force at a position into a displacement; a `Length` says how much of it to take.

    Attributes:
        name: key of its memory in `state.memory`.
        jumps: whether its displacements may be large, as after a search of its own.
        carries: whether it can carry the vectors in its memory along a manifold.
    """

    name: ClassVar[str] = "direction"
    jumps: ClassVar[bool] = False
    carries: ClassVar[bool] = True

    @abstractmethod
    def init(self, part: PyTree) -> PyTree:
        """Return the initial memory; `part` is the moving part of the position."""

    @abstractmethod
    def propose(self, force: PyTree, memory: PyTree, context: Context) -> tuple[PyTree, PyTree]:
        """Return a displacement, a tree like `force`, and the new memory."""

    def carry(self, memory: PyTree, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> PyTree:
        """Return the memory after the step.

        Args:
            memory: the memory that `propose` returned.
            taken: the displacement that was taken, as a vector at the new position.
            transport: carries a vector from the old position to the new one.
        """
        return memory


def first_length(force: PyTree) -> jax.Array:
    """Return the part of the force to try first: all of it, but at most a displacement of norm 1.

    The squares of large forces overflow, as where particles overlap, so the force is scaled before the norm is taken.
    """
    largest = jnp.maximum(tree.max_abs(force), jnp.finfo(tree.dtype(force)).tiny)
    return jnp.minimum(1, 1 / (largest * jnp.maximum(tree.norm(tree.scale(1 / largest, force)), 1)))


def check_direction(direction: Any) -> Direction:
    """Return `direction`, if it is one."""
    if not isinstance(direction, Direction):
        raise ValueError(
            f"direction: expected one of treedyn.minimize, got {direction!r}. Pass e.g. Fire(dt=0.1), or use "
            "td.from_optax for an optax transformation."
        )
    return direction
