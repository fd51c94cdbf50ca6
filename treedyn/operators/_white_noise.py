"""W: noise on the momenta, without friction."""

from typing import ClassVar

import jax
import jax.numpy as jnp

from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class WhiteNoise(Operator):
    r"""The exact flow of $dp = \sqrt{2 \gamma m kT}\,dW$, for a thermostat that supplies the friction.

    Attributes:
        kT: temperature.
        gamma: the friction that would balance the noise.
    """

    name: ClassVar[str] = "white_noise"
    accounts: ClassVar[bool] = False
    kT: PyTree
    gamma: PyTree

    def draw(self, key: jax.Array, state: State) -> PyTree:
        return random.normal(key, state.momentum)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        r"""Return the state with $p \to p + \sqrt{2 \gamma h\, m kT}\,\xi$."""
        kT, gamma = (
            schedule.of_leaves(getattr(self, name), state.step, state.momentum, name) for name in ("kT", "gamma")
        )
        thermal = metric.thermal(state.metric, state.moving, noise, kT)

        def add(p: jax.Array, xi: jax.Array, gamma: jax.Array, h: jax.Array) -> jax.Array:
            return p + jnp.sqrt(2 * gamma * h) * xi

        wide = tree.broadcast(h, state.momentum, "dt")
        return state.replace(momentum=jax.tree.map(add, state.momentum, thermal, gamma, wide)), memory


def white_noise(kT: PyTree, gamma: PyTree) -> WhiteNoise:
    r"""Build the operator W, noise on the momenta, $dp = \sqrt{2 \gamma m kT}\,dW$.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        gamma: the friction that would balance the noise, 1/time, zero or positive; a number, schedule or prefix tree.
    """
    return WhiteNoise(
        kT=schedule.numbers("kT", kT, nonnegative=True), gamma=schedule.numbers("gamma", gamma, nonnegative=True)
    )
