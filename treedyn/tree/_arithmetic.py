"""Tree arithmetic that keeps the dtype of each leaf: numbers are cast to the leaf, never the leaf to the number."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, DTypeLike, Float

from treedyn.tree._structure import PyTree


def cast(number: ArrayLike, like: jax.Array) -> jax.Array:
    """Return `number` in the dtype of `like`."""
    return jnp.asarray(number).astype(like.dtype)


def add(x: PyTree, y: PyTree) -> PyTree:
    """Return `x + y`."""
    return jax.tree.map(jnp.add, x, y)


def subtract(x: PyTree, y: PyTree) -> PyTree:
    """Return `x - y`."""
    return jax.tree.map(jnp.subtract, x, y)


def scale(a: PyTree, x: PyTree) -> PyTree:
    """Return `a x`, where `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x: cast(a, x) * x, _spread(a, x), x)


def axpy(a: PyTree, x: PyTree, y: PyTree) -> PyTree:
    """Return `a x + y`, where `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x, y: cast(a, x) * x + y, _spread(a, x), x, y)


def divide(x: PyTree, y: PyTree) -> PyTree:
    """Return `x / y`; the leaves of `y` broadcast."""
    return jax.tree.map(jnp.divide, x, y)


def _spread(a: PyTree, x: PyTree) -> PyTree:
    return jax.tree.map(lambda _: a, x) if jax.tree_util.all_leaves([a]) else a


def where(condition: Bool[ArrayLike, "..."], x: PyTree, y: PyTree) -> PyTree:
    """Return `x` where `condition` is true, and `y` elsewhere; leaves have any dtype, random keys included.

    The axes of `condition` are the first axes of every leaf, such as the members of an ensemble.
    """
    condition = jnp.asarray(condition)

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (jnp.ndim(x) - condition.ndim)), x, y)

    return jax.tree.map(one, x, y)


def zeros_like(x: PyTree) -> PyTree:
    """Return a tree of zeros like `x`."""
    return jax.tree.map(jnp.zeros_like, x)


def widest(*dtypes: DTypeLike) -> jnp.dtype:
    """Return the dtype that all of `dtypes` promote to, also where JAX is set to strict promotion."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.dtype(functools.reduce(jnp.promote_types, dtypes))


def dtype(x: PyTree) -> jnp.dtype:
    """Return the dtype for sums over all leaves: the widest of theirs, and at least float32."""
    leaves = jax.tree.leaves(x)
    return widest(jnp.float32, *(leaf.dtype for leaf in leaves)) if leaves else jnp.dtype(jnp.result_type(float))


def total(x: PyTree) -> Float[Array, ""]:
    """Return the sum of all elements of all leaves."""
    kind = dtype(x)
    return sum((jnp.sum(leaf, dtype=kind) for leaf in jax.tree.leaves(x)), start=jnp.zeros((), kind))


def vdot(x: PyTree, y: PyTree) -> Float[Array, ""]:
    """Return the inner product of two trees."""
    kind = dtype(x)
    return total(jax.tree.map(lambda x, y: x.astype(kind) * y.astype(kind), x, y))


def norm(x: PyTree) -> Float[Array, ""]:
    """Return the Euclidean norm of a tree; its gradient at zero is zero, not NaN."""
    square = vdot(x, x)
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def max_abs(x: PyTree) -> Float[Array, ""]:
    """Return the largest absolute value of all elements of all leaves."""
    kind = dtype(x)
    largest = [jnp.max(jnp.abs(leaf)).astype(kind) for leaf in jax.tree.leaves(x) if leaf.size]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros((), kind)


def size(x: PyTree) -> int:
    """Return the number of elements of all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(x))


@jax.jit
def finite(x: PyTree) -> Bool[Array, ""]:
    """Tell whether every element is finite."""
    # zero times NaN or infinity is NaN, and a sum of zeros does not overflow, not even in half precision
    return jnp.isfinite(total(jax.tree.map(lambda leaf: 0 * leaf, x)))
