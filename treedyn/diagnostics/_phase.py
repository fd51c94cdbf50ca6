"""The phase space of a dynamics as one vector; only diagnostics flatten trees, no algorithm does."""

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree


class Phase(Struct):
    """The moving part of a state: of the position, the momenta or `None`, and the memory of the operators."""

    position: PyTree
    momentum: PyTree
    memory: PyTree


def phase(state: State) -> Phase:
    """Return the point of a state in phase space."""
    return Phase(position=state.moving, momentum=state.momentum, memory=tree.moving(state.memory))


def at_phase(dynamics: Dynamics, state: State, env: PyTree, point: Phase) -> State:
    """Return `state` at another point of phase space, with the force at its new position."""
    state = state.replace(
        boxed=tree.merge(point.position, state.boxed),
        momentum=point.momentum,
        memory=tree.merge(point.memory, state.memory),
    )
    return dynamics.evaluate(state, env)


def flatten(part: PyTree) -> jax.Array:
    """Return the elements of all leaves in one vector of the widest dtype, leaf by leaf, in C order."""
    kind = tree.dtype(part)
    return jnp.concatenate([jnp.zeros(0, kind), *(leaf.reshape(-1).astype(kind) for leaf in jax.tree.leaves(part))])


def unflatten(vector: jax.Array | np.ndarray, like: PyTree) -> PyTree:
    """Return a tree like `like` with the elements of `vector`; the inverse of `flatten`."""
    leaves, structure = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        parts.append(vector[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(structure, parts)
