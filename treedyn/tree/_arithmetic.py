"""The only tree arithmetic of the library.

All of it keeps the dtype of each leaf: numbers are cast to the leaf, never the leaf to the number.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from treedyn.tree._structure import PyTree


def cast(number: Any, like: jax.Array) -> jax.Array:
    """Return `number` in the dtype of `like`."""
    return jnp.asarray(number).astype(like.dtype)


def add(x: PyTree, y: PyTree) -> PyTree:
    """Return `x + y`."""
    return jax.tree.map(jnp.add, x, y)


def subtract(x: PyTree, y: PyTree) -> PyTree:
    """Return `x - y`."""
    return jax.tree.map(jnp.subtract, x, y)


def scale(a: PyTree, x: PyTree) -> PyTree:
    """Return `a x`; `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x: cast(a, x) * x, _spread(a, x), x)


def axpy(a: PyTree, x: PyTree, y: PyTree) -> PyTree:
    """Return `a x + y`; `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x, y: cast(a, x) * x + y, _spread(a, x), x, y)


def divide(x: PyTree, y: PyTree) -> PyTree:
    """Return `x / y`, leaf by leaf; the leaves of `y` broadcast."""
    return jax.tree.map(jnp.divide, x, y)


def _spread(a: PyTree, x: PyTree) -> PyTree:
    return jax.tree.map(lambda _: a, x) if jax.tree_util.all_leaves([a]) else a


def where(condition: jax.Array, x: PyTree, y: PyTree) -> PyTree:
    """Return `x` where `condition` holds, else `y`; every kind of leaf, keys included.

    A condition with axes has those with which all leaves begin, as the members of an ensemble.
    """

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (jnp.ndim(x) - condition.ndim)), x, y)

    condition = jnp.asarray(condition)
    return jax.tree.map(one, x, y)


def zeros_like(x: PyTree) -> PyTree:
    """Return a tree of zeros like `x`."""
    return jax.tree.map(jnp.zeros_like, x)


def widest(*dtypes: Any) -> jnp.dtype:
    """Return the dtype that holds all of `dtypes`; asked for by name, so strict promotion has nothing to forbid."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.dtype(functools.reduce(jnp.promote_types, dtypes))


def dtype(x: PyTree) -> jnp.dtype:
    """Return the dtype in which sums over all leaves are kept: the widest of them, but half precision is too narrow."""
    leaves = jax.tree.leaves(x)
    return widest(jnp.float32, *(leaf.dtype for leaf in leaves)) if leaves else jnp.dtype(jnp.result_type(float))


def total(x: PyTree) -> jax.Array:
    """Return the sum of all elements of all leaves."""
    kind = dtype(x)
    return sum((jnp.sum(leaf, dtype=kind) for leaf in jax.tree.leaves(x)), start=jnp.zeros((), kind))


def vdot(x: PyTree, y: PyTree) -> jax.Array:
    """Return the inner product of two trees."""
    kind = dtype(x)
    return total(jax.tree.map(lambda x, y: x.astype(kind) * y.astype(kind), x, y))


def norm(x: PyTree) -> jax.Array:
    """Return the Euclidean norm of a tree; its gradient is zero, not NaN, where the tree is zero."""
    square = vdot(x, x)
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def max_abs(x: PyTree) -> jax.Array:
    """Return the largest absolute value among all elements of all leaves."""
    kind = dtype(x)
    largest = [jnp.max(jnp.abs(leaf)).astype(kind) for leaf in jax.tree.leaves(x) if leaf.size]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros((), kind)


def size(x: PyTree) -> int:
    """Return the number of elements in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(x))


@jax.jit
def finite(x: PyTree) -> jax.Array:
    """Tell whether every element is finite.

    One sum is enough to see it: zero times NaN or infinity is NaN, and zeros do not overflow, as half precision would.
    """
    return jnp.isfinite(total(jax.tree.map(lambda leaf: 0 * leaf, x)))
