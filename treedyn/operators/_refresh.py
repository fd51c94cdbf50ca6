"""A full or partial redraw of all momenta."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import metric, schedule, tree
from treedyn import noise as random
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class Refresh(Operator):
    r"""New momenta from the Maxwell distribution, mixed with the old ones: $p \to a p + \sqrt{1 - a^2}\,p_{kT}$."""

    name: ClassVar[str] = "refresh"
    accounts: ClassVar[bool] = False
    role: ClassVar[Literal["flow", "bath", ""]] = "bath"
    kT: PyTree
    persistence: float | jax.Array

    def draw(self, key: jax.Array, state: State) -> PyTree:
        return random.normal(key, state.momentum)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        kT = schedule.of_leaves(self.kT, state.step, state.momentum, "kT")
        thermal = metric.thermal(state.metric, state.moving, noise, kT)

        def mix(p: jax.Array, fresh: jax.Array) -> jax.Array:
            keep = tree.cast(self.persistence, p)
            return keep * p + jnp.sqrt((1 - keep) * (1 + keep)) * fresh

        return state.replace(momentum=jax.tree.map(mix, state.momentum, thermal)), memory


def refresh(kT: PyTree, persistence: float = 0.0) -> Refresh:
    r"""Build the operator that redraws all momenta, $p \to a p + \sqrt{1 - a^2}\,p_{kT}$, whatever the time step.

    Args:
        kT: temperature in units of energy, zero or positive; a number, schedule or prefix tree.
        persistence: the part $a$ of the old momenta that is kept, in [0, 1); 0 redraws them.
    """
    keep = check.number("persistence", persistence, "one number in [0, 1)", nonnegative=True)
    if (known := tree.known(keep)) is not None and not known < 1:
        raise ValueError(f"persistence: expected one number in [0, 1), got {known}.")
    return Refresh(kT=schedule.numbers("kT", kT, nonnegative=True), persistence=keep)
