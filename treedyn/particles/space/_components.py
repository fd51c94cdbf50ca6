"""Vectors as one array per component, which compiled loops over pairs need: see `treedyn.particles.sums`."""

import jax

Components = tuple[jax.Array, ...]


def unstack(x: jax.Array) -> Components:
    """Return the last axis of an array as separate arrays."""
    return tuple(x[..., k] for k in range(x.shape[-1]))


def dot(a: Components, b: Components) -> jax.Array:
    """Return the sum of the products of the components."""
    return sum((x * y for x, y in zip(a[1:], b[1:], strict=True)), a[0] * b[0])


def product(vector: Components, matrix: jax.Array) -> Components:
    """Return `vector @ matrix`, component by component."""
    rows, columns = range(len(vector)), range(matrix.shape[1])
    return tuple(sum((vector[i] * matrix[i, k] for i in rows[1:]), vector[0] * matrix[0, k]) for k in columns)
