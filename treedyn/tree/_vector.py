"""A tree as one vector, for results that are matrices over all elements; no algorithm that moves a state uses it."""

import jax
import jax.numpy as jnp
import numpy as np

from treedyn.tree._arithmetic import dtype
from treedyn.tree._structure import PyTree


def flatten(part: PyTree) -> jax.Array:
    """Return the elements of all leaves in one vector of the widest dtype, leaf by leaf, in C order."""
    kind = dtype(part)
    return jnp.concatenate([jnp.zeros(0, kind), *(leaf.reshape(-1).astype(kind) for leaf in jax.tree.leaves(part))])


def unflatten(vector: jax.Array | np.ndarray, like: PyTree) -> PyTree:
    """Return a tree like `like` with the elements of `vector`; the inverse of `flatten`."""
    leaves, structure = jax.tree.flatten(like)
    parts, start = [], 0
    for leaf in leaves:
        parts.append(vector[start : start + leaf.size].reshape(leaf.shape).astype(leaf.dtype))
        start += leaf.size
    return jax.tree.unflatten(structure, parts)
