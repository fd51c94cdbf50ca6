"""A: positions move with constant velocity."""

from typing import Any, ClassVar

from treedyn import space as space_of
from treedyn import tree
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.space import as_space
from treedyn.tree import PyTree


class Drift(Operator):
    """Move positions freely, dx/dt = v(p), in their space: along straight lines where that is flat, else geodesics.

    Attributes:
        space: how every leaf moves; a space or a prefix tree of spaces.
    """

    name: ClassVar[str] = "drift"
    moves: ClassVar[bool] = True
    clock: ClassVar[bool] = True
    space: PyTree

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Any) -> tuple[State, Any]:
        """Return the state with x moved by h v, and its momentum carried along."""
        part = state.moving
        way = tree.scale(tree.broadcast(h, part, "dt"), state.velocity)
        moved = tree.merge(space_of.shift(self.space, part, way), state.boxed)
        return state.replace(boxed=moved, momentum=space_of.transport(self.space, part, way, state.momentum)), memory


def drift(space: PyTree) -> Drift:
    """Return the operator A, the exact flow of dx/dt = v(p).

    Args:
        space: a space, or a prefix tree of spaces.
    """
    return Drift(space=as_space(space))
