"""A: positions move with constant velocity."""

from typing import ClassVar, Literal

from treedyn import space as space_of
from treedyn import tree
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.space import as_space
from treedyn.tree import PyTree


class Drift(Operator):
    """The exact flow of dx/dt = v(p): straight lines in flat spaces, geodesics on manifolds."""

    name: ClassVar[str] = "drift"
    role: ClassVar[Literal["flow", "bath", ""]] = "flow"
    moves: ClassVar[bool] = True
    clock: ClassVar[bool] = True
    space: PyTree

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with x moved by h v, and p transported."""
        part = state.moving
        by = tree.scale(tree.broadcast(h, part, "dt"), state.velocity)
        moved = tree.merge(space_of.shift(self.space, part, by), state.boxed)
        return state.replace(boxed=moved, momentum=space_of.transport(self.space, part, by, state.momentum)), memory


def drift(space: PyTree) -> Drift:
    """Build the operator A, the exact flow of dx/dt = v(p).

    Args:
        space: a space, or a prefix tree of spaces.
    """
    return Drift(space=as_space(space))
