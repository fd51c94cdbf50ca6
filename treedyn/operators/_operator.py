"""The contract of operators: exact flows of one part of the generator over a time `h`."""

from abc import abstractmethod
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import metric, tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Operator(Struct):
    """The exact flow of one part of the dynamics.

    A method is a sequence of operators, see `compose`. Noise is drawn by `draw` and used by `apply`, so given its noise
    a step is a deterministic function, which can be differentiated, certified and metropolized.

    Attributes:
        name: key of the memory of this operator in `state.memory`.
        needs_force: whether `apply` reads `state.force`, the force at the current position.
        moves: whether `apply` changes the position, so that forces must be evaluated again.
        clock: whether `apply` advances the time of the position, as a drift does and a scaling of the box does not.
        inertial: whether `apply` uses momenta; a dynamics has momenta if one of its operators does.
        accounts: whether `energy` includes all the energy that `apply` adds or removes.
        role: "flow" if `apply` has no noise, is undone by reversing the momenta, and preserves volume or adds -kT
            times the logarithm of its change to `energy`; "bath" if it keeps the momenta of `kT` in detailed balance
            and moves nothing else; "" for all others. `td.metropolize` takes flows and baths.

    An operator with a heat bath has a field `kT`; `init` of a dynamics draws momenta at the first one in the sequence.
    """

    name: ClassVar[str] = "operator"
    needs_force: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    clock: ClassVar[bool] = False
    inertial: ClassVar[bool] = True
    accounts: ClassVar[bool] = True
    role: ClassVar[Literal["flow", "bath", ""]] = ""

    def init(self, state: State) -> PyTree:
        """Return the initial memory of this operator, or `None`."""
        return None

    def constrain(self, state: State) -> State:
        """Return the state with its momenta projected on those that this operator allows; `init` calls it."""
        return state

    def count(self, state: State) -> PyTree:
        """Return `state.dof` without the degrees of freedom that this operator removes, one number for every leaf."""
        return state.dof

    def draw(self, key: jax.Array, state: State) -> PyTree:
        """Return the noise of one application, or `None`."""
        return None

    @abstractmethod
    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state after a time `h`, and the new memory.

        Args:
            state: the state before.
            h: time step of this operator: a number or a prefix tree of numbers.
            noise: result of `draw`.
            memory: result of `init` or of the last `apply`.
        """

    def reverse(self, memory: PyTree) -> PyTree:
        """Return the memory with time reversed."""
        return memory

    def inspect(self, old: State, new: State) -> jax.Array | int:
        """Return a status word for the step from `old` to `new`, by default 0; `run` asks for it after every step."""
        return 0

    def energy(self, state: State, memory: PyTree) -> Float[Array, ""] | float:
        """Return the contribution of this operator to the conserved quantity."""
        return 0.0


def kinetic(state: State) -> jax.Array:
    """Return the kinetic energy."""
    return metric.kinetic(state.metric, state.moving, state.momentum)


def common_time(h: PyTree, name: str) -> jax.Array:
    """Return the time step of an operator that acts on all leaves together, or raise if there are several."""
    if not jax.tree_util.all_leaves([h]) or jnp.ndim(h):
        raise ValueError(
            f"{name}: acts on all leaves together and needs one dt, got the tree {tree.describe(h)}. Give dt as one "
            "number and scale the masses of the leaves instead: only dt/sqrt(m) matters."
        )
    return jnp.asarray(h)
