"""One status word for everything that can go wrong while a simulation runs.

Inside compiled code nothing can raise, so a failure is a value: a bit in a `uint32` word that travels with the state.
Bits are only ever set. `run` reads the word once per chunk, repairs what can be repaired and raises the rest; in a loop
of your own, read `state.status` whenever you like: 0 means that every force so far was computed on valid ground.
"""

import enum
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Status(enum.IntFlag):
    """Name the bits of a status word, least severe first.

    Example:
        >>> import treedyn as td
        >>> td.Status(5)
        <Status.STALE|BOX: 5>
        >>> print(td.Status.STALE.advice)
        a force was computed with a neighbor list that no longer held: ...
    """

    OK = 0
    STALE = 1
    OVERFLOW = 2
    BOX = 4
    TOO_FAR = 8
    EXPLODING = 16
    NONFINITE = 32

    @property
    def advice(self) -> str:
        """Say what happened and what to do about it, most severe first."""
        bits = sorted((bit for bit in _ADVICE if bit in self), reverse=True)
        return "; ".join(_ADVICE[bit] for bit in bits) or "nothing went wrong"


# what says that a computation stood on an invalid neighbor list, so that nothing that came of it means anything
GROUND = Status.STALE | Status.OVERFLOW | Status.BOX

_ADVICE = {
    Status.STALE: "a force was computed with a neighbor list that no longer held: "
    "call env.update(position) after every step, use a larger skin, or let run() do it",
    Status.OVERFLOW: "a neighbor list ran out of room: call env.allocate(position) outside jit, or let run() grow it",
    Status.BOX: "the box became too small for the cutoff or for the cells of a neighbor list: "
    "a cutoff must stay below half of the smallest box height; allocate the list again after a large change of the box",
    Status.TOO_FAR: "a particle moved further than half the skin in a single step: "
    "the dynamics is exploding; reduce dt, minimize the start configuration, or check units and masses",
    Status.EXPLODING: "the kinetic energy grew in one step to more than a hundred times what forces and thermostats "
    "can give: reduce dt, minimize the start configuration, check units and masses; an operator of your own that puts "
    "energy in on purpose says so by accounts = False, or by its energy(); where an energy does not belong to its "
    "forces, use td.from_force",
    Status.NONFINITE: "a position, momentum, force or energy is NaN or infinite, or a point is not on its manifold: "
    "reduce dt, check for overlapping particles, minimize the start configuration, see that every neighbor list was "
    "made in the same box as its energy",
}


def combined(words: Any) -> Status:
    """Return the status words of all members of an ensemble combined, on the host."""
    return Status(int(np.bitwise_or.reduce(np.asarray(words), axis=None)))


def word(bit: Status, when: jax.Array | bool = True) -> jax.Array:
    """Return a status word in which `bit` is set where `when` holds."""
    return jnp.where(jnp.asarray(when), jnp.uint32(int(bit)), jnp.uint32(0))


def has(status: jax.Array, bits: Status) -> jax.Array:
    """Tell whether any of `bits` is set in the word `status`."""
    return (status & jnp.uint32(int(bits))) != jnp.uint32(0)


def clear(status: jax.Array, bits: Status) -> jax.Array:
    """Return the word `status` with `bits` taken out."""
    return status & jnp.uint32(~np.uint32(int(bits)))


class SimulationError(RuntimeError):
    """Report a run that stopped, with everything needed to look at it or to go on.

    Attributes:
        status: the bits that were set.
        state: the last good state.
        env: the environment that belongs to it.
        records: what had been recorded up to there.
        step: how many steps had been taken.
        reduced: the results of the reducers up to there.
        members: the bits of every member of an ensemble that failed, by its number.
    """

    def __init__(
        self,
        status: Status,
        state: object,
        env: object,
        records: object,
        step: int,
        reduced: object = None,
        members: Mapping[int, Status] | None = None,
    ) -> None:
        self.status = status
        self.state = state
        self.env = env
        self.records = records
        self.step = step
        self.reduced = reduced
        self.members = dict(members or {})
        what = f"run stopped after step {step}"
        if self.members:
            numbers = ", ".join(map(str, list(self.members)[:8])) + (", ..." if len(self.members) > 8 else "")
            one = len(self.members) == 1
            what = f"{'member' if one else 'members'} {numbers} failed and {'stands' if one else 'stand'} still"
        super().__init__(
            f"{what} ({status.name}): {status.advice}. "
            "The last good state, env and records are attributes of this error."
        )
