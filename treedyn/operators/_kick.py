"""B: momenta change under a constant force."""

from typing import ClassVar, Literal

from treedyn import tree
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class Kick(Operator):
    """The exact flow of dp/dt = F(x) at fixed positions."""

    name: ClassVar[str] = "kick"
    role: ClassVar[Literal["flow", "bath", ""]] = "flow"
    needs_force: ClassVar[bool] = True

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with p moved by h F."""
        time = tree.broadcast(h, state.momentum, "dt")
        return state.replace(momentum=tree.axpy(time, state.force, state.momentum)), memory


def kick() -> Kick:
    """Build the operator B, the exact flow of dp/dt = F(x)."""
    return Kick()
