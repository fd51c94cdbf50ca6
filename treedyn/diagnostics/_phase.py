"""The phase space of a dynamics: everything real that a step moves, as one vector.

Only diagnostics flatten a tree; no algorithm does.
"""

from typing import Any

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree


class Phase(Struct):
    """Hold the moving part of a state.

    Attributes:
        position: moving part of the position.
        momentum: momenta, or `None`.
        memory: the floating-point numbers that the operators remember.
    """

    position: PyTree
    momentum: PyTree
    memory: PyTree


def phase(state: State) -> Phase:
    """Return the point of phase space at which a state is."""
    return Phase(position=state.moving, momentum=state.momentum, memory=tree.moving(state.memory))


def at_phase(dynamics: Dynamics, state: State, env: PyTree, point: Phase) -> State:
    """Return `state` moved to another point of phase space, with the force of its new position."""
    state = state.replace(
        boxed=tree.merge(point.position, state.boxed),
        momentum=point.momentum,
        memory=tree.merge(point.memory, state.memory),
    )
    return dynamics.evaluate(state, env)


def flatten(part: PyTree) -> jax.Array:
    """Return all elements of all leaves in one vector, in the widest dtype among them; leaf by leaf, in C order."""
    kind = tree.dtype(part)
    return jnp.concatenate([jnp.zeros(0, kind), *(leaf.reshape(-1).astype(kind) for leaf in jax.tree.leaves(part))])


def unflatten(vector: Any, like: PyTree) -> PyTree:
    """Return the tree like `like` whose elements are those of `vector`; the inverse of `flatten`."""
    leaves, structure = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        parts.append(vector[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(structure, parts)
