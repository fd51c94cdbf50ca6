"""E and L: Brownian motion, where friction leaves no momentum."""

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
    r"""Move positions by $dx = \frac{F}{m\gamma}\,dt + \sqrt{\frac{2 kT}{m\gamma}}\,dW$.

    Attributes:
        kT: temperature: a number, schedule or prefix tree.
        gamma: friction, 1/time: a number, schedule or prefix tree.
        space: how every leaf moves.
        averaged: whether the noise of a step is the mean of two successive draws (Leimkuhler-Matthews) or one draw
            (Euler-Maruyama).
    """

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
        """Return the noise of the step before the first."""
        if not self.averaged:
            return None
        drawn = random.normal(random.at_path(state.key, "overdamped"), state.moving)
        return space_of.project(self.space, state.moving, drawn)

    def draw(self, key: jax.Array, state: State) -> PyTree:
        """Return standard normal noise, one number per moving element."""
        return random.normal(key, state.moving)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with x moved by h F/(m gamma) and noise."""
        part = state.moving
        kT = schedule.of_leaves(self.kT, state.step, part, "kT")
        gamma = schedule.of_leaves(self.gamma, state.step, part, "gamma")
        time = tree.broadcast(h, part, "dt")
        noise = space_of.project(self.space, part, noise)
        kicks = jax.tree.map(lambda a, b: (a + b) / 2, memory, noise) if self.averaged else noise

        def way(t: jax.Array, m: jax.Array, g: jax.Array, kT: jax.Array, F: jax.Array, xi: jax.Array) -> jax.Array:
            mobility = t / (m * g)
            # two roots, so that the gradient with respect to t, m and g is finite at kT = 0
            return mobility * F + jnp.sqrt(2 * mobility) * jnp.sqrt(kT) * xi

        masses = metric.masses(state.metric, "overdamped")
        moved = jax.tree.map(way, time, masses, gamma, kT, state.force, kicks)
        state = state.replace(boxed=tree.merge(space_of.shift(self.space, part, moved), state.boxed))
        return state, space_of.transport(self.space, part, moved, noise) if self.averaged else None


def overdamped(kT: PyTree, gamma: PyTree, space: PyTree, *, averaged: bool = True) -> Overdamped:
    """Return one step of Brownian motion as an operator.

    Args:
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        gamma: friction, 1/time, positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.
        averaged: average the noise over two steps (Leimkuhler-Matthews), or not (Euler-Maruyama).
    """
    return Overdamped(
        kT=schedule.numbers("kT", kT, nonnegative=True),
        gamma=schedule.numbers("gamma", gamma, positive=True),
        space=as_space(space),
        averaged=check.flag("averaged", averaged),
    )
