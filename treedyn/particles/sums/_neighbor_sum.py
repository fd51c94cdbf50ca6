"""The sum of any function of two particles over the neighbors of every particle."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._arguments import check_position, find_list, listed_partners
from treedyn.particles.sums._kernel import sum_over_partners
from treedyn.space import Space
from treedyn.tree import PyTree


def neighbor_sum(
    f: Callable[..., PyTree],
    position: Float[Array, "particles dimensions"],
    neighbors: PyTree = None,
    *,
    quantities: PyTree = None,
    cutoff: Real[ArrayLike, ""] | None = None,
    space: spaces.SpaceLike | None = None,
) -> PyTree:
    r"""Sum a function of two particles over the neighbors of every particle, by gathers alone.

    $$ S_i = \sum_{j \ne i,\; r_{ij} < r_c} f(r_i - r_j,\, q_i,\, q_j) $$

    Coordination numbers, energies per particle, densities of embedded atoms and local order parameters are such sums.
    The result depends on the cutoff and not on the skin of the list. Everything is differentiable by plain autodiff.
    For forces use `tp.pair_energy`, whose derivative rule is faster because it uses the symmetry of pairs.

    Args:
        f: `f(displacement, own, partner)` of one pair returns a number, an array, or a tree of them. `displacement`
            is the vector from the partner to the particle, $r_i - r_j$, with the nearest image; `own` and `partner`
            are the quantities of the two particles, without the axis of particles.
        position: one point per particle; length.
        neighbors: a neighbor list, any tree with one neighbor list in it, or `None` for all pairs.
        quantities: what `f` needs to know of the particles: a tree of arrays with one entry per particle.
        cutoff: only pairs closer than this count; length. By default the cutoff of the list; for all pairs, none.
        space: the space of the particles, or a pair of functions `(displacement, shift)`. By default that of the list;
            pass it for all pairs, or if the box has changed since the list was built.

    Returns:
        The tree that `f` returns, with one entry per particle along the first axis, in the dtype of the position. It is
        NaN if the list is no longer valid at this position, or if a traced cutoff turns out to be beyond half the box
        or beyond the list.

    Raises:
        ValueError: shapes do not fit, the space is unknown, `f` does not return real numbers, or the cutoff is known to
            be beyond half the box or beyond the list.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> crystal = tp.fcc(4, lattice_constant=1.0)
        >>> env = tp.neighbor_list(crystal.space, cutoff=0.8).allocate(crystal.position)
        >>> print(tp.neighbor_sum(lambda r, own, partner: 1.0, crystal.position, env)[:3])
        [12. 12. 12.]
        >>> charge = jnp.array([1.0, -1.0])
        >>> field = lambda r, own, partner: partner * r / jnp.sum(r**2) ** 1.5
        >>> print(tp.neighbor_sum(field, jnp.array([[0.0, 0.0], [2.0, 0.0]]), quantities=charge, space=tp.free()))
        [[0.25 0.  ]
         [0.25 0.  ]]
    """
    position = check_position(position)
    check.function("f", f, "(displacement, own, partner)", 3)
    quantities = _checked(quantities, len(position))
    found = find_list(neighbors, "neighbors")
    space = getattr(found, "space", None) if space is None else space
    if space is None:
        raise ValueError("space: expected the space of the particles. Pass space=tp.periodic(box) or space=tp.free().")
    space = spaces.check_space(space)
    reach = jnp.inf if found is None else found.cutoff
    if cutoff is not None:
        reach = check.number("cutoff", cutoff, "one length, or None for that of the list", positive=True)
    partners, good = listed_partners(found, space, reach, position)
    pair = _Pair(f, space, tree.cast(reach, position), quantities)
    single = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), (position, quantities, quantities))
    like = jax.eval_shape(pair.value, *single)
    particles = _Particles(spaces.unstack(position), [_columns(x, 1) for x in jax.tree.leaves(quantities)])
    sums = sum_over_partners(pair.displacement, pair.terms, particles, partners)
    # a factor, so that derivatives are NaN as well
    guard = jnp.where(jnp.all(jnp.array(good)), 1, jnp.nan).astype(position.dtype)
    leaves = [_joined(columns, x.shape) * guard for columns, x in zip(sums, jax.tree.leaves(like), strict=True)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


class _Particles(NamedTuple):
    """What a pair is made from, one array per component: `[N]`, `[1, n]` or `[slots, n]`."""

    position: spaces.Components
    quantities: list[spaces.Components]


class _Pair(NamedTuple):
    """The function of one pair, mapped over the pairs of a tile."""

    f: Callable[..., PyTree]
    space: Space
    cutoff: jax.Array
    quantities: PyTree

    def value(self, displacement: jax.Array, own: PyTree, partner: PyTree) -> PyTree:
        """Return `f` of one pair in the dtype of the displacement."""
        found = self.f(displacement, own, partner)
        for leaf in jax.tree.leaves(found) or [None]:
            is_number = isinstance(leaf, bool | int) or tree.is_array(leaf)
            if not is_number or not jnp.size(leaf) or jnp.issubdtype(jnp.result_type(leaf), jnp.complexfloating):
                raise ValueError(f"f: expected a function that returns real numbers, got {check.brief(leaf)}.")
        return jax.tree.map(lambda x: tree.cast(x, displacement), found)

    def displacement(self, own: _Particles, partner: _Particles) -> spaces.Components:
        return spaces.separation(self.space, own.position, partner.position)

    def terms(
        self, own: _Particles, partner: _Particles, delta: spaces.Components, is_pair: jax.Array
    ) -> list[spaces.Components]:
        """Return what every partner adds to its particle: for every leaf of `f` its components, `[slots, n]`."""
        # asked in this way, NaN does not count as far apart
        near = is_pair & ~(spaces.dot(delta, delta) >= self.cutoff**2)
        # f is not evaluated for pairs that do not count, since it may be undefined there
        harmless = jnp.where(jnp.isfinite(self.cutoff), self.cutoff / 2, 1)
        vector = [jnp.where(near, x, harmless if k == 0 else 0) for k, x in enumerate(delta)]

        def one(vector: list[jax.Array], *numbers: list[spaces.Components]) -> PyTree:
            leaves, structure = jax.tree.flatten(self.quantities)
            trees = (
                structure.unflatten([_joined(x, leaf.shape[1:]) for x, leaf in zip(columns, leaves, strict=True)])
                for columns in numbers
            )
            return self.value(jnp.stack(vector), *trees)

        both = jax.tree.map(lambda x: jnp.broadcast_to(x, is_pair.shape), (own.quantities, partner.quantities))
        values = jax.vmap(jax.vmap(one))(vector, *both)
        return [tuple(jnp.where(near, x, 0) for x in _columns(value, 2)) for value in jax.tree.leaves(values)]


def _checked(quantities: PyTree, count: int) -> PyTree:
    for leaf in jax.tree.leaves(quantities):
        if not tree.is_array(leaf) or jnp.shape(leaf)[:1] != (count,):
            raise ValueError(
                f"quantities: expected arrays with one entry per particle, {count}, along the first axis, got "
                f"{check.brief(leaf)}."
            )
    return jax.tree.map(jnp.asarray, quantities)


def _columns(x: jax.Array, lead: int) -> spaces.Components:
    """Return the numbers behind the first `lead` axes as separate arrays."""
    return spaces.unstack(x.reshape(*x.shape[:lead], math.prod(x.shape[lead:])))


def _joined(columns: spaces.Components, shape: tuple[int, ...]) -> jax.Array:
    """Return columns as one array with this shape behind their own axes."""
    return jnp.stack(columns, axis=-1).reshape(*columns[0].shape, *shape)
