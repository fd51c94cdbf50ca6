"""Comparison of a dynamics on a tree with the same dynamics on one vector."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._target import Target, from_energy, observing
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


def flat_difference(
    make: Callable[[Target], Dynamics],
    energy: Callable[[PyTree], jax.Array],
    key: jax.Array,
    position: PyTree,
    *,
    steps: int = 3,
) -> float:
    """Return the difference between a trajectory on a tree and one on the vector of its elements, with the same noise.

    Args:
        make: returns the dynamics of a target, with one number for all leaves in every argument.
        energy: function of the position.
        key: random key.
        position: any PyTree of one floating-point dtype.
        steps: number of steps.

    Returns:
        The largest difference between elements of the positions; of the order of rounding for a correct method.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn.testing import flat_difference
        >>> def energy(x):
        ...     return jnp.sum(x["a"] ** 2) * x["b"] ** 2 + jnp.sum(x["a"] ** 4)
        >>> position = {"a": jnp.ones(3), "b": jnp.array(1.0)}
        >>> def make(target):
        ...     return td.langevin(target, dt=0.1, kT=1.0, gamma=1.0)
        >>> flat_difference(make, energy, jax.random.key(0), position) < 1e-5
        True
    """
    check.function("make", make, "a target")
    check.integer("steps", steps, 0)
    observing("energy", energy, "position")
    boxed = tree.box(position, "position")
    part = tree.moving(boxed)
    whole = check.instance("make", make(from_energy(energy)), Dynamics, "a function that returns a dynamics")
    flat = make(from_energy(lambda x: energy(tree.unbox(tree.merge(unflatten(x, part), boxed)))))
    state = whole.init(key, position)
    start = flat.init(key, flatten(part))
    start = start.replace(momentum=_like(start.momentum, state.momentum), memory=_like(start.memory, state.memory))

    @jax.jit
    def step(state: State, other: State) -> tuple[State, State]:
        noise = whole.draw(state)
        return whole.apply(state, None, noise), flat.apply(other, None, _like(flat.draw(other), noise))

    other = start
    for _ in range(steps):
        state, other = step(state, other)
    return float(jnp.max(jnp.abs(flatten(state.moving) - other.position)))


def _like(flat: PyTree, whole: PyTree) -> PyTree:
    """Return a tree like `flat`, whose leaves are the joined leaves of the corresponding subtrees of `whole`."""
    return jax.tree.map(lambda x, below: flatten(below).reshape(x.shape).astype(x.dtype), flat, whole)
