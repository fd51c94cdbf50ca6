"""What tables share: an energy, dynamics of it, and states."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

import treedyn as td
from tests.contracts.refusals.kinds import X
from tests.helpers import KEY


def spring(x: Any) -> Any:
    return sum((jnp.sum(leaf**2) for leaf in jax.tree.leaves(x)), jnp.zeros(())) / 2


@functools.cache
def nve() -> td.Splitting:
    return td.nve(spring, 0.1)


@functools.cache
def langevin() -> td.Splitting:
    return td.langevin(spring, 0.1, 1.0)


@functools.cache
def state(method: str = "nve") -> td.State:
    made = {"nve": nve, "langevin": langevin, "fire": lambda: td.fire(spring, 0.1)}[method]()
    return made.init(KEY, X)
