"""O: friction and noise on the momenta."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class OrnsteinUhlenbeck(Operator):
    r"""The exact flow of $dp = -\gamma p\,dt + \sqrt{2 \gamma m kT}\,dW$."""

    name: ClassVar[str] = "ornstein_uhlenbeck"
    role: ClassVar[Literal["flow", "bath", ""]] = "bath"
    accounts: ClassVar[bool] = False
    kT: PyTree
    gamma: PyTree

    def draw(self, key: jax.Array, state: State) -> PyTree:
        return random.normal(key, state.momentum)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        r"""Return the state with $p \to e^{-\gamma h} p + \sqrt{(1 - e^{-2 \gamma h}) m kT}\,\xi$."""
        momentum = state.momentum
        kT = schedule.of_leaves(self.kT, state.step, momentum, "kT")
        gamma = schedule.of_leaves(self.gamma, state.step, momentum, "gamma")
        decay = jax.tree.map(jnp.multiply, gamma, tree.broadcast(h, momentum, "dt"))
        thermal = metric.thermal(state.metric, state.moving, noise, kT)

        def mix(p: jax.Array, xi: jax.Array, decay: jax.Array) -> jax.Array:
            keep, lost = jnp.exp(-decay), -jnp.expm1(-2 * decay)
            if jnp.finfo(p.dtype).bits < 32:
                # so few digits that the noise has to go with the factor as it is rounded, or the bath is too cold
                lost = (1 - keep) * (1 + keep)
            return keep * p + jnp.sqrt(lost) * xi

        return state.replace(momentum=jax.tree.map(mix, momentum, thermal, decay)), memory


def ornstein_uhlenbeck(kT: PyTree, gamma: PyTree) -> OrnsteinUhlenbeck:
    r"""Build the operator O, a heat bath with the exact flow of $dp = -\gamma p\,dt + \sqrt{2 \gamma m kT}\,dW$.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        gamma: friction in units of 1/time, zero or positive; a number, schedule or prefix tree.
    """
    return OrnsteinUhlenbeck(
        kT=schedule.numbers("kT", kT, nonnegative=True), gamma=schedule.numbers("gamma", gamma, nonnegative=True)
    )
