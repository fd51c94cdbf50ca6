"""Neighbor lists from SciPy and energies written out pair by pair, independent of the library."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import cKDTree

import treedyn as td


class HandMade(td.Struct):
    """The part of a neighbor list that a pair energy reads."""

    order: jax.Array
    rank: jax.Array
    partners: jax.Array
    cutoff: float
    filled: jax.Array | None = None


def hand_made(position, box, cutoff, *, spare=3, seed=0):
    """Return a list for a periodic box (`None`: open space), with rows in random order and some empty slots."""
    position = np.asarray(position)
    count = len(position)
    order = np.random.default_rng(seed).permutation(count).astype(np.int32)
    rows = position[order]
    tree = cKDTree(rows if box is None else rows % box, boxsize=box)
    pairs = tree.query_pairs(cutoff, output_type="ndarray")
    own, partner = np.concatenate([pairs, pairs[:, ::-1]]).T
    sort = np.argsort(own, kind="stable")
    own, partner = own[sort], partner[sort]
    counts = np.bincount(own, minlength=count)
    slot = np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)
    filled = int(counts.max(initial=0))
    # a round number of slots, so that tests share their compiled kernels
    slots = filled if spare == 0 else 32 * -(-(filled + spare) // 32)
    partners = np.tile(np.arange(count, dtype=np.int32), (slots, 1))
    partners[slot, own] = partner
    return HandMade(
        order=jnp.asarray(order),
        rank=jnp.asarray(np.argsort(order).astype(np.int32)),
        partners=jnp.asarray(partners),
        cutoff=cutoff,
        filled=jnp.asarray(filled, jnp.int32),
    )


def written_out(u, position, box=None, strain=None):
    """Return the sum of `u(i, j, r)` over all pairs, by plain array code and autodiff."""
    i, j = np.triu_indices(position.shape[0], 1)
    delta = position[i] - position[j]
    if box is not None:
        box = jnp.broadcast_to(jnp.asarray(box, position.dtype), (1, position.shape[1]))
        delta = delta - box * jnp.round(delta / box)
    if strain is not None:
        delta = delta @ (jnp.eye(position.shape[1], dtype=position.dtype) + strain).T
    return jnp.sum(jax.vmap(u)(i, j, jnp.sqrt(jnp.sum(delta**2, axis=1))))


def scattered(count, dimension, box, seed=0, apart=0.8):
    """Return random points in a periodic box, no two closer than `apart`."""
    rng = np.random.default_rng(seed)
    points = np.zeros((0, dimension))
    while len(points) < count:
        point = rng.uniform(0, box, dimension)
        delta = points - point
        delta -= box * np.round(delta / box)
        if np.all(np.sum(delta**2, axis=1) > apart**2):
            points = np.concatenate([points, point[None]])
    return jnp.asarray(points)
