"""The conditions under which a neighbor list holds every pair within the cutoff.

Let the rows of H0 and H be the lattice vectors when the list was built and now, and let F = H0^-1 H be the
deformation, H = H0 F. Write the current points as x_i = x0_i F + u_i, up to lattice vectors of H: the points move with
the box, and u is their motion relative to it. Any image of a pair is then

    r = (x0_i - x0_j + m H0) F + u_i - u_j = r0 F + u_i - u_j

for some integers m, where r0 is an image when the list was built. A pair that is not in the list had |r0| > R for all
of its images, with R = cutoff + skin. Hence

    |r| >= |r0| - |r0 (F - 1)| - |u_i| - |u_j| >= (1 - ||F - 1||) R - 2 max |u|,

and the pair is not within the cutoff as long as

    2 max |u| + ||F - 1|| R <= skin.

(Then ||F - 1|| < 1, which the second inequality needs.) "For all of its images" is why R must not exceed half of the
smallest height of the cell when a list is built. Nothing else is required of the current box: lattice planes that were
2 R apart are still (1 - ||F - 1||) 2 R >= 2 cutoff apart.

The norm is the spectral one. It is bounded by the geometric mean of the largest row sum and the largest column sum of
|F - 1|, which is exact for a box that is scaled, by one factor or by one factor per axis.
"""

from functools import partial

import jax
import jax.numpy as jnp

from treedyn.particles.neighbors._tolerance import FURTHEST
from treedyn.particles.space._space import ParticleSpace, Triclinic, dot, separation, unstack
from treedyn.space import Space


@jax.jit
def holds(
    then: Space,
    now: Space | None,
    reference: jax.Array,
    position: jax.Array,
    room: jax.Array,
    reach: jax.Array,
    spread: jax.Array | None = None,
) -> jax.Array:
    """Return whether every pair that was beyond `reach` is still beyond `reach - room`; False if a coordinate is NaN.

    Args:
        then: the space in which the list was built.
        now: the current space; `None` if it is the same.
        reference: the points when the list was built, `[N, d]`.
        position: the current points, `[N, d]`.
        room: how much distances may have shrunk.
        reach: the distance up to which the list holds all pairs.
        spread: allowed standard deviation of the displacements along every axis, as a fraction of `room`, if some pairs
            may be missed; `None` if none may.
    """
    strain = jnp.zeros((), position.dtype)
    if now is not None:
        strain, reference = _strain(then, now, reference)
    moved = separation(then if now is None else now, unstack(position), unstack(reference))
    square = dot(moved, moved)
    left = room - strain * reach
    if spread is None:
        return jnp.all(square <= left * left / 4) & (left >= 0)
    # relative to the remaining room: the fraction of missed pairs shrinks with both
    variance = (spread * left) ** 2
    # The fourth moment over the second is the variance of normal displacements; if only some particles move, it is
    # that of the moving ones.
    few = jnp.mean(square * square) <= (len(moved) + 2) * variance * jnp.mean(square)
    return few & jnp.all(square <= FURTHEST**2 * variance) & (left >= 0)


@partial(jax.jit, static_argnames="moved")
def holds_in(then: Space, now: Space, *others: jax.Array | None, moved: bool) -> jax.Array:
    """Return `holds`; without `moved`, True for an unchanged space, wherever the points are."""

    def unchanged() -> jax.Array:
        return holds(then, None, *others) if moved else jnp.asarray(True)

    return jax.lax.cond(_equal(then, now), unchanged, lambda: holds(then, now, *others))


def _equal(then: Space, now: Space) -> jax.Array:
    equal = [jnp.all(a == b) for a, b in zip(jax.tree.leaves(now), jax.tree.leaves(then), strict=True)]
    return jnp.all(jnp.array(equal, bool))


def _strain(then: Space, now: Space, reference: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a bound on ||F - 1||, and the reference points deformed with the box."""
    zero, dimension = jnp.zeros((), reference.dtype), reference.shape[1]
    if not (isinstance(then, ParticleSpace) and isinstance(now, ParticleSpace)):
        # the deformation of such a space is not known, so none is allowed
        return jnp.where(_equal(then, now), zero, jnp.inf), reference
    old, new = then.cell(dimension), now.cell(dimension)
    if old is None or new is None:
        return zero, reference
    # from the difference of the cells, so that the strain of equal cells is exactly zero
    change = jnp.matmul(jnp.linalg.inv(old), new - old, precision="highest").astype(reference.dtype)
    size = jnp.abs(change)
    strain = jnp.sqrt(jnp.max(jnp.sum(size, axis=0)) * jnp.max(jnp.sum(size, axis=1)))
    if isinstance(then, Triclinic) and then.is_fractional:
        return strain, reference
    return strain, reference + jnp.matmul(reference, change, precision="highest")
