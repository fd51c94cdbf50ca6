"""Schedules in cycles: long steps that explore, then short ones that sample."""

import math
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Int

from treedyn import _check as check
from treedyn._struct import Struct, static


class Cyclical(Struct):
    """A number that falls from its largest value towards zero in every cycle.

    Attributes:
        largest: the value at the beginning of a cycle.
        cycle: steps of a cycle.
    """

    largest: Any
    cycle: int = static()

    def __call__(self, step: Int[Array, ""] | int) -> Any:
        """Return the number at a step."""
        part = (step % self.cycle) / self.cycle
        return self.largest * (jnp.cos(math.pi * part) + 1) / 2


class Cold(Struct):
    """A number that is zero at the beginning of every cycle.

    Attributes:
        value: the value at the end of a cycle.
        cycle: steps of a cycle.
        part: the part of a cycle in which it is not zero.
    """

    value: Any
    cycle: int = static()
    part: float = static()

    def __call__(self, step: Int[Array, ""] | int) -> Any:
        """Return the number at a step."""
        return jnp.where(self.samples(step), self.value, 0 * self.value)

    def samples(self, step: Int[Array, ""] | int) -> Any:
        """Tell whether a step belongs to the sampling part of its cycle."""
        return step % self.cycle >= round((1 - self.part) * self.cycle)


def cyclical(largest: float, cycle: int) -> Cyclical:
    r"""Build the schedule $\frac{h}{2} (1 + \cos(\pi\,(t \bmod c)/c))$, for a time step in cycles.

    Args:
        largest: the value h at the beginning of a cycle, positive.
        cycle: steps c of a cycle, at least 1.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> dt, kT = networks.cyclical(0.1, cycle=100), networks.cold(1.0, cycle=100, part=0.25)
        >>> sampler = networks.sgld(lambda x: jnp.sum(x**2) / 2, dt, kT)
        >>> print(f"{dt(0):.3f} {dt(50):.3f} {kT(74)} {kT(75)}", kT.samples(75))
        0.100 0.050 0.0 1.0 True

    Reference:
        Zhang et al., ICLR (2020), arXiv:1902.03932.
    """
    return Cyclical(largest=check.number("largest", largest, positive=True), cycle=check.integer("cycle", cycle, 1))


def cold(value: float, cycle: int, part: float = 0.5) -> Cold:
    """Build a schedule that is zero at the beginning of every cycle: a temperature for the time step of `cyclical`.

    Without noise the dynamics descends to a mode; samples belong to the part in which `samples(step)` is true.

    Args:
        value: the value at the end of a cycle, positive.
        cycle: steps of a cycle, at least 1.
        part: the part of a cycle in which it has this value, between 0 and 1.
    """
    part = float(check.number("part", part, "one number between 0 and 1", positive=True))
    if not part < 1:
        raise ValueError(f"part: expected one number between 0 and 1, got {part}.")
    return Cold(value=check.number("value", value, positive=True), cycle=check.integer("cycle", cycle, 1), part=part)
