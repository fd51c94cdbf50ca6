r"""Tell a step that made energy out of nothing, or momenta that are no numbers.

Forces turn potential into kinetic energy, baths bring what their temperature allows, and other operators what they
account for; so after any step that makes sense, up to small factors,

$$ K_{n+1} \lesssim K_n + |U_{n+1} - U_n| + \sum_i N_i kT_i + \sum_k |W_{k,n+1} - W_{k,n}|. $$

An operator that knows no temperature and keeps no account may bring any energy: then nothing can be told.

Where two particles overlap, or the time step is too long, one kick gives many times as much, and all numbers may stay
finite for ever after. No scale of energy or length is needed to see it, so it works for any tree.
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


def check_momenta(operators: dict[str, Operator], before: State, after: State) -> jax.Array:
    """Return a status word: whether momenta are finite, and grew by no more than forces and operators can give.

    Args:
        operators: those of the step, by their names; the ones that couple to a bath have a field `kT`.
        before: the state before the step, with momenta.
        after: the state after it.
    """
    old, new = kinetic(before), kinetic(after)
    status = word(Status.NONFINITE, ~jnp.isfinite(new))
    if before.energy is None or after.energy is None:
        return status  # a target that is a force tells nothing about its energy
    if not all(operator.accounts or _temperature(operator) is not None for operator in operators.values()):
        return status
    # a difference of energies is known to the rounding of the energies only
    rounding = jnp.finfo(after.energy.dtype).eps * (jnp.abs(before.energy) + jnp.abs(after.energy))
    given = (jnp.abs(after.energy - before.energy) + rounding).astype(new.dtype)
    brought = [_brought(operator, name, before, after) for name, operator in operators.items()]
    most = sum((jnp.asarray(energy).astype(new.dtype) for energy in brought), start=old + given)
    return status | word(Status.EXPLODING, new > _FACTOR * most)


def _temperature(operator: Operator) -> PyTree:
    return getattr(operator, "kT", None)


def _brought(operator: Operator, name: str, before: State, after: State) -> jax.Array:
    """Return the most that an operator can have given to the momenta."""
    if (kT := _temperature(operator)) is None:
        return jnp.abs(operator.energy(after, after.memory[name]) - operator.energy(before, before.memory[name]))
    each = schedule.of_leaves(kT, before.step, before.momentum, "kT")
    return tree.total(jax.tree.map(lambda n, kT: n * jnp.max(jnp.abs(kT)).astype(n.dtype), before.dof, each))
