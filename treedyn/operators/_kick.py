"""B: momenta change under a constant force."""

from typing import Any, ClassVar

from treedyn import tree
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class Kick(Operator):
    """Move momenta under the force at the present position, dp/dt = F(x)."""

    name: ClassVar[str] = "kick"
    needs_force: ClassVar[bool] = True

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Any) -> tuple[State, Any]:
        """Return the state with p moved by h F."""
        time = tree.broadcast(h, state.momentum, "dt")
        return state.replace(momentum=tree.axpy(time, state.force, state.momentum)), memory


def kick() -> Kick:
    """Return the operator B, the exact flow of dp/dt = F(x)."""
    return Kick()
