"""The state of a run: what the compiled loop maps to itself, and what a checkpoint holds."""

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree


class RunState(Struct):
    """A run between two steps.

    Status words and flags are scalars for one system and arrays `[members]` for an ensemble.

    Attributes:
        state: the state of the system.
        env: its environment, traceable.
        ahead: the boxed position and the time for which the environment was last built.
        sums: the carries of the reducers.
        steps: number of steps taken.
        rebuilds: number of rebuilds of the environment.
        trouble: status word of a refused step that the host may be able to repair, else 0.
        failed: status word of a step that cannot be taken, else 0.
        finished: whether `until` held.
        current: whether the member took the last step.
        awake: whether the member is stepped.
    """

    state: State
    env: PyTree
    ahead: tuple[PyTree, jax.Array | None]
    sums: PyTree
    steps: jax.Array
    rebuilds: jax.Array
    trouble: jax.Array
    failed: jax.Array
    finished: jax.Array
    current: jax.Array
    awake: jax.Array

    @property
    def active(self) -> jax.Array:
        """Tell which members neither failed nor finished."""
        return (self.failed == jnp.uint32(0)) & ~self.finished

    @property
    def goes_on(self) -> jax.Array:
        """Tell whether a member is active and nothing has to be repaired first."""
        return jnp.all(self.trouble == jnp.uint32(0)) & jnp.any(self.active)


def begin(state: State, env: PyTree, sums: PyTree) -> RunState:
    """Return the state of a run that has taken no step; `sums` are the carries of its reducers."""
    status = state.status
    no, yes = jnp.zeros(status.shape, bool), jnp.ones(status.shape, bool)
    return RunState(
        state=state,
        env=tree.traceable(env),
        ahead=(state.boxed, state.time),
        sums=sums,
        steps=jnp.int32(0),
        rebuilds=jnp.int32(0),
        trouble=jnp.zeros_like(status),
        failed=status,
        finished=no,
        current=yes,
        awake=yes,
    )
