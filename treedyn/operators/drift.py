"""A: positions move with constant velocity."""

from typing import Any, ClassVar

from treedyn import space as space_of
from treedyn import tree
from treedyn.operators.operator import Operator
from treedyn.space import as_space
from treedyn.state import State
from treedyn.tree import PyTree


class Drift(Operator):
    """Move positions freely, dx/dt = p/m, in their space.

    Attributes:
        space: how every leaf moves; a space or a prefix tree of spaces.
    """

    name: ClassVar[str] = "drift"
    moves: ClassVar[bool] = True
    space: PyTree

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Any) -> tuple[State, Any]:
        """Return the state with x moved by h p/m."""
        part = tree.moving(state.boxed)
        time = tree.broadcast(h, part, "dt")
        way = tree.scale(time, tree.divide(state.momentum, state.mass))
        return state.replace(boxed=tree.merge(space_of.shift(self.space, part, way), state.boxed)), memory


def drift(space: PyTree) -> Drift:
    """Return the operator A, the exact flow of dx/dt = p/m.

    Args:
        space: a space, or a prefix tree of spaces.
    """
    return Drift(space=as_space(space))
