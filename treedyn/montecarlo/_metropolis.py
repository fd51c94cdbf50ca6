"""The rule of Metropolis, and what every method that uses it reports."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Int32

from treedyn import environment, schedule
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.tree import PyTree

# a proposal whose energy is that many kT higher comes from an unstable integration
DIVERGENCE = 1000.0


class Acceptance(Struct):
    """The report of a Metropolis step, in `state.info`.

    Attributes:
        acceptance: the probability with which the proposal was accepted, min(1, exp(-error)).
        accepted: whether it was.
        error: the energy of the proposal above that of the state in units of kT.
        divergent: whether `error` is more than 1000 or not a number.
        steps: number of steps of the trajectory that led to the proposal.
    """

    acceptance: Float[Array, "..."]
    accepted: Bool[Array, "..."]
    error: Float[Array, "..."]
    divergent: Bool[Array, "..."]
    steps: Int32[Array, "..."]


def metropolis(state: State, proposal: State, error: jax.Array, chance: jax.Array, steps: ArrayLike) -> State:
    """Return `proposal` with probability min(1, exp(-error)), and `state` otherwise.

    Args:
        state: the state to keep.
        proposal: the state to take; never if its error is NaN.
        error: the difference of their energies in units of kT.
        chance: a uniform random number in [0, 1).
        steps: number of steps that led to the proposal.
    """
    error = error.astype(chance.dtype)
    good = error <= DIVERGENCE
    acceptance = jnp.where(good, jnp.exp(-jnp.maximum(error, 0)), 0)
    accepted = chance < acceptance
    info = Acceptance(
        acceptance=acceptance,
        accepted=accepted,
        error=error,
        divergent=~good,
        steps=jnp.asarray(steps, jnp.int32),
    )
    return state.select(accepted, proposal.replace(info=info))


def one_temperature(kT: PyTree) -> PyTree:
    """Return a temperature, one number or schedule; refuse several."""
    return schedule.one("kT", kT, "A sample of two temperatures has no density.")


def check_energy(state: State) -> None:
    """Refuse a state whose target is a force."""
    if state.energy is None:
        raise ValueError("target: expected an energy to accept or reject by, got a force. Use td.from_energy.")


def check_still(env: PyTree) -> None:
    """Refuse an environment that changes with time."""
    if environment.moves(env):
        raise ValueError("env: expected parts that do not change with time, since a proposal may be rejected.")


def untried(kind: DTypeLike) -> Acceptance:
    """Return the report of a state that has taken no step."""
    zero, false = jnp.zeros((), kind), jnp.asarray(False)
    return Acceptance(acceptance=zero, accepted=false, error=zero, divergent=false, steps=jnp.int32(0))
