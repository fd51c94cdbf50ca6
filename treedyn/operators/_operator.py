"""The contract of an operator: the exact flow of one part of the generator over a time `h`."""

from abc import abstractmethod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import metric, tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Operator(Struct):
    """Move a state along one exactly solvable part of the dynamics.

    A method is a sequence of operators, see `compose`. Drawing noise (`draw`) is apart from using it (`apply`): given
    the noise, a step is a deterministic function, which can be differentiated, certified and metropolized.

    Attributes:
        name: key of this operator's memory in `state.memory`.
        needs_force: whether `apply` reads `state.force`, which then is that of the current position.
        moves: whether `apply` changes the position, so that forces have to be evaluated again.
        clock: whether the time of the position passes while `apply` moves it. It does in a drift, and does not where a
            box is scaled.
        inertial: whether `apply` knows momenta; a dynamics has them where one of its operators does.
        accounts: whether `energy` accounts for all that `apply` takes from the system or gives to it.

    An operator that couples to a bath has a field `kT`; `init` draws momenta at the first one in the sequence.
    """

    name: ClassVar[str] = "operator"
    needs_force: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    clock: ClassVar[bool] = False
    inertial: ClassVar[bool] = True
    accounts: ClassVar[bool] = True

    def init(self, state: State) -> Any:
        """Return what this operator has to remember, or `None`."""
        return None

    def constrain(self, state: State) -> State:
        """Return the state with momenta that this operator admits: the initial ones are drawn, then constrained."""
        return state

    def count(self, state: State) -> PyTree:
        """Return the degrees of freedom of every leaf that are left of `state.dof` under this operator."""
        return state.dof

    def draw(self, key: jax.Array, state: State) -> PyTree:
        """Return the noise of one application, or `None`."""
        return None

    @abstractmethod
    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Any) -> tuple[State, Any]:
        """Return the state after a time `h` under this operator, and its memory.

        Args:
            state: where to start.
            h: time; a number or a prefix tree of numbers.
            noise: what `draw` returned.
            memory: what `init` or the last `apply` returned.
        """

    def reverse(self, memory: Any) -> Any:
        """Return what this operator remembers with time reversed."""
        return memory

    def energy(self, state: State, memory: Any) -> jax.Array | float:
        """Return this operator's part of the conserved quantity."""
        return 0.0


def kinetic(state: State) -> jax.Array:
    """Return the kinetic energy."""
    return metric.kinetic(state.metric, state.moving, state.momentum)


def common_time(h: PyTree, name: str) -> jax.Array:
    """Return the one time of an operator that acts on all leaves at once.

    Raises:
        ValueError: `dt` differs from leaf to leaf.
    """
    if not jax.tree_util.all_leaves([h]) or jnp.ndim(h):
        raise ValueError(
            f"{name} acts on all leaves together and needs one dt, got the tree {tree.describe(h)}. Give dt as one "
            "number and scale the masses of single leaves instead: dt/sqrt(m) is what counts."
        )
    return jnp.asarray(h)
