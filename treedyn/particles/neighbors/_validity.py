"""When does a neighbor list still hold every pair within the cutoff?

Let the rows of H0 and H be the lattice vectors, when the list was built and now, and let F = H0^-1 H carry the one
into the other: H = H0 F. Write the points of now as x_i = x0_i F + u_i, up to lattice vectors of H: the box carries the
points along, and u is their motion on top of that. Any image of a pair is then

    r = (x0_i - x0_j + m H0) F + u_i - u_j = r0 F + u_i - u_j

for some integers m: an image r0 of then, deformed, and the motion on top. A pair that is not in the list had |r0| > R
for all of its images, R = cutoff + skin, so that

    |r| >= |r0| - |r0 (F - 1)| - |u_i| - |u_j| >= (1 - ||F - 1||) R - 2 max |u|,

and this is not within the cutoff as long as

    2 max |u| + ||F - 1|| R <= skin.

(Then ||F - 1|| < 1, which the second step needs in order to put R for |r0|.) "For all of its images" is why R has to
stay within half of the smallest height of the cell when a list is built. No more needs to be asked of the box of now:
lattice planes that were 2 R apart are still (1 - ||F - 1||) 2 R >= 2 cutoff apart.

The norm is the spectral one. It is bounded by the geometric mean of the largest sums over a row and over a column of
|F - 1|, which is exact where the box is scaled, by the same factor or another one along every axis.
"""

import jax
import jax.numpy as jnp

from treedyn.particles.neighbors._tolerance import FURTHEST
from treedyn.particles.space._space import ParticleSpace, Triclinic, separation, unstack
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
    """Tell whether every pair that was beyond `reach` is still beyond `reach - room`, or nearly every one.

    Args:
        then: the space in which the list was built.
        now: the space of now; `None` where it is the same.
        reference: the points when the list was built, `[N, d]`.
        position: the points now, `[N, d]`.
        room: how much distances may have shrunk.
        reach: the distance up to which the list holds all pairs.
        spread: standard deviation that displacements may have along every axis, as a part of `room`, where some pairs
            may be missed; `None` where none may.

    Returns:
        A boolean; False where a coordinate is NaN.
    """
    strain = jnp.zeros((), position.dtype)
    if now is not None:
        strain, reference = _strain(then, now, reference)
    moved = separation(then if now is None else now, unstack(position), unstack(reference))
    square = sum((d * d for d in moved[1:]), moved[0] * moved[0])
    left = room - strain * reach
    if spread is None:
        return jnp.all(square <= left * left / 4) & (left >= 0)
    # As a part of what is left: the part of pairs that is missed shrinks with both.
    variance = (spread * left) ** 2
    # The fourth moment beside the second: equal to the variance for normal displacements, and that of the ones who move
    # where others stand still.
    few = jnp.mean(square * square) <= (len(moved) + 2) * variance * jnp.mean(square)
    return few & jnp.all(square <= FURTHEST**2 * variance) & (left >= 0)


@jax.jit
def holds_in(
    then: Space,
    now: Space,
    reference: jax.Array,
    position: jax.Array,
    room: jax.Array,
    reach: jax.Array,
    spread: jax.Array | None = None,
) -> jax.Array:
    """Tell the same where only another space matters: true where `now` is what `then` was, wherever the points are."""
    equal = [jnp.all(a == b) for a, b in zip(jax.tree.leaves(now), jax.tree.leaves(then), strict=True)]
    return jax.lax.cond(
        jnp.all(jnp.array(equal, bool)),
        lambda: jnp.asarray(True),
        lambda: holds(then, now, reference, position, room, reach, spread),
    )


def _strain(then: Space, now: Space, reference: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a bound on ||F - 1||, and the reference points carried along with the box."""
    zero, dimension = jnp.zeros((), reference.dtype), reference.shape[1]
    if not (isinstance(then, ParticleSpace) and isinstance(now, ParticleSpace)):
        # Nothing is known about how such a space deforms: it has to be the same in every number.
        same = [jnp.all(a == b) for a, b in zip(jax.tree.leaves(then), jax.tree.leaves(now), strict=True)]
        return jnp.where(jnp.all(jnp.array(same, bool)), zero, jnp.inf), reference
    old, new = then.cell(dimension), now.cell(dimension)
    if old is None or new is None:
        return zero, reference
    # The difference of the cells first: the strain is exactly zero where they are equal.
    change = jnp.matmul(jnp.linalg.inv(old), new - old, precision="highest").astype(reference.dtype)
    size = jnp.abs(change)
    strain = jnp.sqrt(jnp.max(jnp.sum(size, axis=0)) * jnp.max(jnp.sum(size, axis=1)))
    if isinstance(then, Triclinic) and then.is_fractional:
        return strain, reference
    return strain, reference + jnp.matmul(reference, change, precision="highest")


__all__ = ["holds", "holds_in"]
