"""E and L: Brownian motion, the limit of high friction without momenta."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn import space as space_of
from treedyn._state import State
from treedyn._struct import static
from treedyn.operators._operator import Operator
from treedyn.space import as_space
from treedyn.tree import PyTree


class Overdamped(Operator):
    r"""One step of $dx = \frac{F}{m\gamma}\,dt + \sqrt{\frac{2 kT}{m\gamma}}\,dW$."""

    name: ClassVar[str] = "overdamped"
    needs_force: ClassVar[bool] = True
    moves: ClassVar[bool] = True
    clock: ClassVar[bool] = True
    inertial: ClassVar[bool] = False
    kT: PyTree
    gamma: PyTree
    space: PyTree
    averaged: bool = static(default=True)

    def init(self, state: State) -> PyTree:
        """Return the noise of the step before the first one."""
        if not self.averaged:
            return None
        drawn = random.normal(random.at_path(state.key, "overdamped"), state.moving)
        return space_of.project(self.space, state.moving, drawn)

    def draw(self, key: jax.Array, state: State) -> PyTree:
        return random.normal(key, state.moving)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with x moved by h F/(m gamma) + sqrt(2 h kT/(m gamma)) xi."""
        part = state.moving
        kT = schedule.of_leaves(self.kT, state.step, part, "kT")
        gamma = schedule.of_leaves(self.gamma, state.step, part, "gamma")
        time = tree.broadcast(h, part, "dt")
        noise = space_of.project(self.space, part, noise)
        kicks = jax.tree.map(lambda a, b: (a + b) / 2, memory, noise) if self.averaged else noise

        def moves(t: jax.Array, m: jax.Array, g: jax.Array, kT: jax.Array, F: jax.Array, xi: jax.Array) -> jax.Array:
            mobility = t / (m * g)
            # two square roots, so that the gradient with respect to t, m and g is finite at kT = 0
            return mobility * F + jnp.sqrt(2 * mobility) * jnp.sqrt(kT) * xi

        masses = metric.masses(state.metric, "overdamped")
        moved = jax.tree.map(moves, time, masses, gamma, kT, state.force, kicks)
        state = state.replace(boxed=tree.merge(space_of.shift(self.space, part, moved), state.boxed))
        return state, space_of.transport(self.space, part, moved, noise) if self.averaged else None


def overdamped(kT: PyTree, gamma: PyTree, space: PyTree, *, averaged: bool = True) -> Overdamped:
    r"""Build one step of Brownian motion, $dx = \frac{F}{m\gamma}\,dt + \sqrt{\frac{2 kT}{m\gamma}}\,dW$.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        gamma: friction in units of 1/time, positive; a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        averaged: use the mean of two successive draws as noise (Leimkuhler-Matthews), or one draw (Euler-Maruyama).
    """
    return Overdamped(
        kT=schedule.numbers("kT", kT, nonnegative=True),
        gamma=schedule.numbers("gamma", gamma, positive=True),
        space=as_space(space),
        averaged=check.flag("averaged", averaged),
    )
