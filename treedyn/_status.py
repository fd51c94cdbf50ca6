"""One status word for everything that can go wrong while a simulation runs.

Compiled code cannot raise, so a failure is a value: a bit in a `uint32` word that travels with the state. Bits are
only ever set. `run` reads the word once per chunk, repairs what can be repaired, and raises the rest as an error. In
your own loop, read `state.status` at any time: 0 means that every force so far used a valid environment.
"""

import enum
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike


class Status(enum.IntFlag):
    """The bits of a status word, least severe first.

    Example:
        >>> import treedyn as td
        >>> td.Status(5)
        <Status.STALE|BOX: 5>
        >>> print(td.Status.STALE.advice)
        a force was computed with a neighbor list that was no longer valid: ...
    """

    OK = 0
    STALE = 1
    OVERFLOW = 2
    BOX = 4
    TOO_FAR = 8
    AT_REST = 16
    EXPLODING = 32
    NONFINITE = 64
    PAST_END = 128

    @property
    def advice(self) -> str:
        """Return what happened and what to do about it, most severe first."""
        bits = sorted((bit for bit in _ADVICE if bit in self), reverse=True)
        return "; ".join(_ADVICE[bit] for bit in bits) or "nothing went wrong"


# with one of these bits, forces were computed with an invalid neighbor list, so no result of the step means anything
INVALID_LIST = Status.STALE | Status.OVERFLOW | Status.BOX

_ADVICE = {
    Status.STALE: "a force was computed with a neighbor list that was no longer valid: "
    "use td.run, which updates the list, or call env.update(position) after every step, or use a larger skin",
    Status.OVERFLOW: "a neighbor list ran out of space: "
    "use td.run, which enlarges the list, or call env.allocate(position) outside jit",
    Status.BOX: "the box became too small for a cutoff or for the cells of a neighbor list: "
    "keep every cutoff below half of the smallest box height, and allocate the list again after a large change of the "
    "box",
    Status.TOO_FAR: "a particle moved further than half the skin in one step: if the dynamics explodes, reduce dt, "
    "minimize the start configuration, and check units and masses; if a minimizer steps too far, pass max_step=...; "
    "else use a larger skin, or all pairs where the box does not allow one",
    Status.AT_REST: "nothing moves, and a thermostat that multiplies momenta by a factor cannot heat what is at rest: "
    "let init draw momenta (leave out momentum=), or use td.langevin",
    Status.EXPLODING: "the kinetic energy grew in one step to more than a hundred times what forces and thermostats "
    "can supply: reduce dt, minimize the start configuration, or check units and masses. If an operator of your own "
    "adds energy on purpose, set its accounts = False or return the energy from its energy(). If the energy is not the "
    "potential of the forces, use td.from_force",
    Status.NONFINITE: "a position, momentum, force or energy is NaN or infinite, or a point is off its manifold: "
    "reduce dt, minimize the start configuration, check for overlapping particles, and check that every neighbor list "
    "was made with the box of its energy",
    Status.PAST_END: "a dynamics with a fixed number of steps was stepped past its end: take at most as many steps as "
    "it has, or make it with more of them",
}


def combined(words: ArrayLike) -> Status:
    """Return the status words of all members of an ensemble combined, on the host."""
    return Status(int(np.bitwise_or.reduce(np.asarray(words), axis=None)))


def word(bit: Status, when: jax.Array | bool = True) -> jax.Array:
    """Return a status word in which `bit` is set where `when` is true."""
    return jnp.where(jnp.asarray(when), jnp.uint32(int(bit)), jnp.uint32(0))


def has(status: jax.Array, bits: Status) -> jax.Array:
    """Tell whether any of `bits` is set in the word `status`."""
    return (status & jnp.uint32(int(bits))) != jnp.uint32(0)


def clear(status: jax.Array, bits: Status) -> jax.Array:
    """Return the word `status` without `bits`."""
    return status & jnp.uint32(~np.uint32(int(bits)))


class SimulationError(RuntimeError):
    """A run that failed, with everything needed to examine or continue it.

    Attributes:
        status: the bits that were set.
        state: the last good state.
        env: the environment of that state.
        records: the records up to that state.
        step: the number of steps taken.
        reduced: the results of the reducers up to that state.
        members: the bits of every failed member of an ensemble, by its number.
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
            "The last good state, its env and the records so far are attributes of this error."
        )
