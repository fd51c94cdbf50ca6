"""The shortest image of a displacement in a cell of any shape.

Rounding the coordinates along the lattice vectors gives the shortest image of every displacement only up to half the
smallest height of the cell. Beyond it, a skewed cell has shorter ones. They are found from a Minkowski-reduced basis of
the same lattice: up to three dimensions, they are at most one vector of it away from the rounded image (Nguyen,
Stehlé, ACM Trans. Algorithms 5, 46, 2009, doi:10.1145/1597036.1597050).

Images are counted by whole numbers, which do not change with the cell, so derivatives are those of the image.
"""

import itertools

import jax
import jax.numpy as jnp
from jax import lax

from treedyn.particles.space._components import Components, dot, product

# the largest number of lattice vectors for which one step from the rounded image is enough
_MOST = 3


@jax.jit
def shortest(delta: Components, vectors: jax.Array) -> Components:
    """Return the shortest of `delta + n @ vectors` over all whole numbers `n`.

    Args:
        delta: a displacement, one array per component.
        vectors: the lattice vectors along which space repeats, one per row.

    Raises:
        ValueError: there are more than three lattice vectors.
    """
    if len(vectors) > _MOST:
        raise ValueError(
            f"displacement: the shortest image is known for up to {_MOST} periodic axes of a triclinic cell, got "
            f"{len(vectors)}. Use tp.periodic(box) or open axes."
        )
    cell = lax.stop_gradient(vectors)
    change = _reduction(cell)
    basis = _times(change, cell)
    gram = _times(basis, basis.T)
    inverse = _times(basis.T, jnp.linalg.inv(gram))
    known = tuple(map(lax.stop_gradient, delta))
    rounded = [jnp.round(-x) for x in product(known, inverse)]
    best = [jnp.zeros_like(known[0]) for _ in basis]
    least = jnp.full_like(known[0], jnp.inf)
    for steps in sorted(itertools.product((-1, 0, 1), repeat=len(basis)), key=lambda x: sum(map(abs, x))):
        number = tuple(r + s for r, s in zip(rounded, steps, strict=True))
        image = tuple(x + y for x, y in zip(known, product(number, basis), strict=True))
        square = dot(image, image)
        nearer = square < least
        least = jnp.where(nearer, square, least)
        best = [jnp.where(nearer, new, old) for new, old in zip(number, best, strict=True)]
    # in numbers of the given vectors: the image keeps every digit of the displacement
    wound = product(product(tuple(best), change), vectors)
    return tuple(x + y for x, y in zip(delta, wound, strict=True))


def _reduction(vectors: jax.Array) -> jax.Array:
    """Return whole numbers `u`, such that `u @ vectors` is a Minkowski-reduced basis of the lattice."""
    order = range(len(vectors))
    steps = list(itertools.product((-1, 0, 1), repeat=len(vectors) - 1))

    def reduce(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        """Replace every vector by the shortest sum of itself and its rounded partners, and one step from it."""
        change, _ = carry
        start = _lengths(change, vectors)
        for k in order:
            others = [j for j in order if j != k]
            for j in others:
                basis = _times(change, vectors)
                change = change.at[k].add(-jnp.round(jnp.sum(basis[k] * basis[j]) / jnp.sum(basis[j] ** 2)) * change[j])
            trials = jnp.stack([change[k] + sum(s * change[j] for s, j in zip(x, others, strict=True)) for x in steps])
            change = change.at[k].set(trials[jnp.argmin(_lengths(trials, vectors))])
        return change, jnp.sum(_lengths(change, vectors)) < jnp.sum(start) * (1 - 16 * jnp.finfo(vectors.dtype).eps)

    return lax.while_loop(lambda x: x[1], reduce, (jnp.eye(len(vectors), dtype=vectors.dtype), jnp.array(True)))[0]


def _lengths(change: jax.Array, vectors: jax.Array) -> jax.Array:
    return jnp.sum(_times(change, vectors) ** 2, axis=-1)


def _times(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
