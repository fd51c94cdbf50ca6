"""Andersen's collisions: momenta are redrawn at random times."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.space import Space, as_space, is_space
from treedyn.tree import PyTree


class Collide(Operator):
    """Collisions with a heat bath, which redraw the momentum of a point; `space` defines the points of a leaf."""

    name: ClassVar[str] = "collide"
    role: ClassVar[Literal["flow", "bath", ""]] = "bath"
    accounts: ClassVar[bool] = False
    kT: PyTree
    rate: PyTree
    space: PyTree

    def draw(self, key: jax.Array, state: State) -> tuple[PyTree, PyTree]:
        """Return standard normal noise, and one uniform number per point."""

        def points(space: Space, leaf: jax.Array) -> jax.Array:
            keep = max(leaf.ndim - space.point_ndim, 0)
            return jnp.zeros(leaf.shape[:keep] + (1,) * (leaf.ndim - keep), leaf.dtype)

        shapes = tree.prefix_map(points, self.space, state.momentum, name="space", is_leaf=is_space)
        fresh, hit = jax.random.split(key)
        return random.normal(fresh, state.momentum), random.uniform(hit, shapes)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state after collisions of every point with probability 1 - exp(-rate h)."""
        normal, uniform = noise
        momentum = state.momentum
        kT = schedule.of_leaves(self.kT, state.step, momentum, "kT")
        rate = schedule.of_leaves(self.rate, state.step, momentum, "rate")
        time = tree.broadcast(h, momentum, "dt")
        thermal = metric.thermal(state.metric, state.moving, normal, kT)
        hit = jax.tree.map(lambda u, r, t: u < -jnp.expm1(-r * t), uniform, rate, time)
        mixed = jax.tree.map(jnp.where, hit, thermal, momentum)
        return state.replace(momentum=mixed), memory


def collide(kT: PyTree, rate: PyTree, space: PyTree) -> Collide:
    """Build the operator of Andersen's thermostat: every point collides at a rate, and then has a new momentum.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        rate: collisions of one point per time, zero or positive; a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.

    Reference:
        Andersen, J. Chem. Phys. 72, 2384 (1980), doi:10.1063/1.439486.
    """
    return Collide(
        kT=schedule.numbers("kT", kT, nonnegative=True),
        rate=schedule.numbers("rate", rate, nonnegative=True),
        space=as_space(space),
    )
