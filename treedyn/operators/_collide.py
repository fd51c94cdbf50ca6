"""Andersen's collisions: now and then a momentum is drawn anew."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.space import Space, as_space, is_space
from treedyn.tree import PyTree


class Collide(Operator):
    """Draw the momentum of a point anew at random times, as if it had hit a particle of a heat bath.

    Attributes:
        kT: temperature: a number, schedule or prefix tree.
        rate: collisions of one point per time: a number, schedule or prefix tree.
        space: how every leaf moves; it says how many trailing axes of a leaf make one point.
    """

    name: ClassVar[str] = "collide"
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

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: Any) -> tuple[State, Any]:
        """Return the state in which every point has collided with probability 1 - exp(-rate h)."""
        normal, uniform = noise
        momentum = state.momentum
        kT = schedule.of_leaves(self.kT, state.step, momentum, "kT")
        rate = schedule.of_leaves(self.rate, state.step, momentum, "rate")
        time = tree.broadcast(h, momentum, "dt")
        thermal = metric.thermal(state.metric, state.moving, normal, kT)
        mixed = jax.tree.map(
            lambda p, fresh, u, r, t: jnp.where(u < -jnp.expm1(-r * t), fresh, p),
            momentum,
            thermal,
            uniform,
            rate,
            time,
        )
        return state.replace(momentum=mixed), memory


def collide(kT: PyTree, rate: PyTree, space: PyTree) -> Collide:
    """Return the operator of Andersen's thermostat.

    Args:
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        rate: collisions of one point per time, zero or positive: a number, schedule or prefix tree.
        space: a space, or a prefix tree of spaces.

    Reference:
        Andersen, J. Chem. Phys. 72, 2384 (1980), doi:10.1063/1.439486.
    """
    return Collide(
        kT=schedule.numbers("kT", kT, nonnegative=True),
        rate=schedule.numbers("rate", rate, nonnegative=True),
        space=as_space(space),
    )
