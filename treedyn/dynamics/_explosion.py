r"""Detect a step that gains energy from nowhere.

Forces turn potential into kinetic energy, a bath brings what its temperature allows, and other operators what they
account for. So after any sound step, up to small factors,

$$ K_{n+1} \lesssim K_n + |U_{n+1} - U_n| + \sum_i N_i kT_i + \sum_k |W_{k,n+1} - W_{k,n}|. $$

Where two particles overlap, or the time step is too long, one kick gives many times as much, and all numbers may stay
finite forever after. The test needs no scale of energy or length, so it works for any tree. It cannot decide if the
target is a force, or if an operator neither has a temperature nor accounts for its energy.
"""

import jax
import jax.numpy as jnp

from treedyn import schedule, tree
from treedyn._state import State
from treedyn._status import Status, word
from treedyn.operators._operator import Operator, kinetic
from treedyn.tree import PyTree

# Leapfrog at its limit of stability gives no more than a few times what the forces and the baths can give.
_FACTOR = 100.0


def explosion(operators: dict[str, Operator], before: State, after: State) -> jax.Array:
    """Return `Status.EXPLODING` if the kinetic energy grew by more than forces and operators can give, else 0."""
    known = all(operator.accounts or _temperature(operator) is not None for operator in operators.values())
    if before.energy is None or after.energy is None or not known:
        return jnp.uint32(0)
    old, new = kinetic(before), kinetic(after)
    # a difference of energies is only known to the rounding of the energies
    rounding = jnp.finfo(after.energy.dtype).eps * (jnp.abs(before.energy) + jnp.abs(after.energy))
    given = (jnp.abs(after.energy - before.energy) + rounding).astype(new.dtype)
    brought = [_brought(operator, name, before, after) for name, operator in operators.items()]
    most = sum((jnp.asarray(energy).astype(new.dtype) for energy in brought), start=old + given)
    return word(Status.EXPLODING, new > _FACTOR * most)


def _temperature(operator: Operator) -> PyTree:
    return getattr(operator, "kT", None)


def _brought(operator: Operator, name: str, before: State, after: State) -> jax.Array:
    """Return the most that an operator can have given to the momenta."""
    if (kT := _temperature(operator)) is None:
        return jnp.abs(operator.energy(after, after.memory[name]) - operator.energy(before, before.memory[name]))
    each = schedule.of_leaves(kT, before.step, before.momentum, "kT")
    return tree.total(jax.tree.map(lambda n, kT: n * jnp.max(jnp.abs(kT)).astype(n.dtype), before.dof, each))
