r"""The radial distribution function g(r), accumulated while states pass.

$$ g_{ab}(r) = \frac{V}{N_a (N_b - \delta_{ab})} \Big\langle \sum_{i \in a} \sum_{j \in b, j \ne i}
   \frac{\delta(r - r_{ij})}{\Omega_d\, r^{d-1}} \Big\rangle $$

Pairs are counted in bins and divided by the expectation for an ideal gas: its N (N - 1) ordered pairs of independent
particles have g = 1 at every distance and for every N. The other convention, N^2, gives a value smaller by 1 - 1/N.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, Int32, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import call, observing
from treedyn.particles.neighbors._list import NeighborList
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._arguments import check_position, check_range
from treedyn.space import Space
from treedyn.stream._count import Count
from treedyn.stream._reducer import Carry, Reducer, sum_dtype
from treedyn.tree import PyTree

# number of pairs that are processed at once: a few megabytes
_TILE = 2**18


class RadialDistributionResult(Struct):
    """The result of `radial_distribution`, documented there."""

    edges: Float[Array, "bins+1"]
    r: Float[Array, "bins"]
    g: Float[Array, "*species bins"]
    coordination: Float[Array, "*species bins"]
    pairs: Float[Array, "*species bins"]


class RadialDistribution(Reducer):
    """Counts of pairs of particles by distance.

    The carry has the number of states, `count`; the ordered `pairs` in every bin, `[S, S, bins]` for S species; the
    expected pairs of one state of an ideal gas, `ideal`; and the particles of every species, `numbers`.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "pairs", "ideal", "numbers")
    space: Space
    cutoff: Float[Array, ""] | float
    volume: Float[Array, ""] | float | None = None
    species: Int32[Array, "particles"] | None = None
    bins: int = static()
    kinds: int = static(default=1)

    def init(self, state: PyTree, env: PyTree = None) -> Carry:
        """Return the carry without states."""
        points = jax.eval_shape(self._points, state, env)
        (count, dimension), kind = points.shape, sum_dtype(points.dtype)
        check_range(self.space, self.cutoff, dimension)
        numbers = jnp.sum(self._species(count)[:, None] == jnp.arange(self.kinds, dtype=jnp.int32)[None], axis=0)
        numbers = numbers.astype(kind)
        partners = numbers[None, :] - jnp.eye(self.kinds, dtype=kind)
        shells = jnp.diff(_ball(dimension) * self._edges(kind) ** dimension)
        volume = spaces.volume_of(self.space, self.volume, dimension)
        per_volume = numbers[:, None] * partners / jnp.asarray(volume).astype(kind)
        return {
            "count": Count.zero(),
            "pairs": Count.zero((self.kinds, self.kinds, self.bins)),
            "ideal": per_volume[:, :, None] * shells[None, None],
            "numbers": numbers,
        }

    def update(self, carry: Carry, state: PyTree, env: PyTree = None) -> Carry:
        """Return the carry with the pairs of one more state."""
        points = self._points(state, env)
        pairs = _count(self, points, self._list(points, env), carry["pairs"])
        return {**carry, "count": carry["count"] + 1, "pairs": pairs}

    def result(self, carry: Carry) -> RadialDistributionResult:
        """Return g(r); NaN without states."""
        kind = carry["ideal"].dtype
        edges, states = self._edges(kind), carry["count"].to(kind)
        pairs = carry["pairs"].to(kind)
        around = jnp.cumsum(pairs, axis=-1) / (states * carry["numbers"][:, None, None])
        g = pairs / (states * carry["ideal"])
        one = (lambda x: x[0, 0]) if self.species is None else (lambda x: x)
        return RadialDistributionResult(
            edges=edges, r=(edges[1:] + edges[:-1]) / 2, g=one(g), coordination=one(around), pairs=one(pairs)
        )

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both streams."""
        return {**a, "count": a["count"] + b["count"], "pairs": a["pairs"] + b["pairs"]}

    def _points(self, state: PyTree, env: PyTree) -> jax.Array:
        points = check_position(call(self.of, state, env))
        if self.species is not None and self.species.shape != points.shape[:1]:
            raise ValueError(
                f"species: expected one for each of the {len(points)} points, got shape {self.species.shape}."
            )
        return points

    def _species(self, count: int) -> jax.Array:
        return jnp.zeros(count, jnp.int32) if self.species is None else self.species

    def _edges(self, kind: DTypeLike) -> jax.Array:
        return jnp.asarray(self.cutoff).astype(kind) * (jnp.arange(self.bins + 1, dtype=kind) / self.bins)

    def _list(self, points: jax.Array, env: PyTree) -> NeighborList | None:
        """Return the one neighbor list whose points have this shape and dtype, if there is one."""
        leaves = jax.tree.leaves(env, is_leaf=lambda x: isinstance(x, NeighborList))
        lists = [x for x in leaves if isinstance(x, NeighborList)]
        alike = [x for x in lists if (x.reference.shape, x.reference.dtype) == (points.shape, points.dtype)]
        return alike[0].replace(select=None) if len(alike) == 1 else None


def radial_distribution(
    space: spaces.SpaceLike,
    bins: int,
    cutoff: Real[ArrayLike, ""],
    *,
    select: Callable[..., Any] | None = None,
    species: Int[ArrayLike, "particles"] | Sequence[int] | None = None,
    volume: Real[ArrayLike, ""] | None = None,
) -> Reducer:
    r"""Make a reducer for the radial distribution function g(r).

    If `env` has a valid neighbor list of these points with a sufficient cutoff, pairs are taken from it. Otherwise all
    pairs are compared, in tiles of bounded memory. The result is the same.

    Args:
        space: the space of the particles, in any dimension.
        bins: number of bins between 0 and the cutoff.
        cutoff: the largest distance, at most half of the smallest box height; length.
        select: selects the points `[N, d]`: `select(state)` or `select(state, env)`; by default `state.position`.
        species: species of every particle, integers from 0, to resolve g by pairs of species.
        volume: the volume for the density; by default that of the space, which needs to repeat along every axis.

    Returns:
        A reducer for `treedyn.stream`. Its result has the attributes

        - `edges`: edges of the bins, `[bins + 1]`; length;
        - `r`: centers of the bins, `[bins]`;
        - `g`: the radial distribution function, `[bins]`, or `[S, S, bins]` for S species; NaN without states;
        - `coordination`: mean number of neighbors (of the second species, around a particle of the first) closer than
          the upper edge of the bin, with the shape of `g`;
        - `pairs`: the number of ordered pairs, with the shape of `g`.

    Raises:
        ValueError: an argument is out of range; in `init`, if the cutoff is beyond half the box, or without a volume.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> crystal = tp.fcc(3, density=4.0)  # a lattice constant of 1
        >>> reducer = tp.radial_distribution(crystal.space, bins=60, cutoff=1.2, select=lambda x: x)
        >>> out = reducer.result(reducer.update(reducer.init(crystal.position), crystal.position))
        >>> print(out.coordination[jnp.searchsorted(out.edges, 0.8)])
        12.0

    Reference:
        Allen, Tildesley, Computer Simulation of Liquids, 2nd ed., section 8.2 (Oxford, 2017),
        doi:10.1093/oso/9780198803195.001.0001.
    """
    kinds, which = 1, None
    if species is not None:
        known = tree.known(check.array("species", species, "integers from 0, one per particle", (1,)))
        if known is None or known.ndim != 1 or known.dtype.kind not in "iu" or not known.size or known.min() < 0:
            raise ValueError(f"species: expected known integers from 0, one per particle, got {species}.")
        kinds, which = int(known.max()) + 1, jnp.asarray(known, jnp.int32)
    return RadialDistribution(
        of=_position if select is None else observing("select", select),
        space=spaces.check_space(space),
        cutoff=check.number("cutoff", cutoff, positive=True),
        volume=None if volume is None else check.number("volume", volume, positive=True),
        species=which,
        bins=check.integer("bins", bins, 1),
        kinds=kinds,
    )


@jax.jit
def _count(reducer: RadialDistribution, points: jax.Array, lists: NeighborList | None, pairs: Count) -> Count:
    """Return the counts with the pairs of one more state."""
    if lists is None:
        return _all_pairs(reducer, points, pairs)
    reach = jnp.asarray(lists.cutoff)
    good = (
        (jnp.asarray(reducer.cutoff).astype(reach.dtype) <= reach) & (lists.word == jnp.uint32(0)) & lists.valid(points)
    )
    return jax.lax.cond(
        good & lists.serves(points, reducer.space),
        lambda: _listed_pairs(reducer, points, lists, pairs),
        lambda: _all_pairs(reducer, points, pairs),
    )


def _all_pairs(reducer: RadialDistribution, points: jax.Array, pairs: Count) -> Count:
    count = len(points)
    rows = max(1, min(count, _TILE // max(count, 1)))
    tiles = -(-count // rows)
    everyone, kinds = jnp.arange(count, dtype=jnp.int32), reducer._species(count)
    partner = tuple(x[None] for x in spaces.unstack(points))

    def tile(pairs: Count, own: jax.Array) -> tuple[Count, None]:
        # the last tile may have padding rows
        here = jnp.minimum(own, count - 1)
        delta = spaces.separation(reducer.space, tuple(x[:, None] for x in spaces.unstack(points[here])), partner)
        is_pair = (own[:, None] < count) & (own[:, None] != everyone[None])
        return _add(reducer, pairs, delta, is_pair, kinds[here][:, None], kinds[None]), None

    own = jnp.arange(tiles * rows, dtype=jnp.int32).reshape(tiles, rows)
    return jax.lax.scan(tile, pairs, own)[0]


def _listed_pairs(reducer: RadialDistribution, points: jax.Array, lists: NeighborList, pairs: Count) -> Count:
    row = jnp.arange(len(lists.order), dtype=lists.partners.dtype)
    own = points.at[lists.order].get(mode="clip")
    kinds = reducer._species(len(points)).at[lists.order].get(mode="clip")

    def slot(k: jax.Array, pairs: Count) -> Count:
        partner = lists.partners[k]
        delta = spaces.separation(reducer.space, spaces.unstack(own), spaces.unstack(own[partner]))
        return _add(reducer, pairs, delta, partner != row, kinds, kinds[partner])

    return jax.lax.fori_loop(0, lists.filled, slot, pairs)


def _add(
    reducer: RadialDistribution,
    pairs: Count,
    delta: spaces.Components,
    is_pair: jax.Array,
    own: jax.Array,
    partner: jax.Array,
) -> Count:
    square = spaces.dot(delta, delta)
    distance = jnp.sqrt(square).astype(sum_dtype(square.dtype))
    width = jnp.asarray(reducer.cutoff).astype(distance.dtype) / reducer.bins
    place = jnp.floor(distance / width)
    # a distance of NaN is in no bin
    is_pair = is_pair & (place < reducer.bins)
    place = jnp.where(is_pair, place, 0).astype(jnp.int32)
    slot = (own * reducer.kinds + partner) * reducer.bins + place
    lost = reducer.kinds**2 * reducer.bins
    hits = jnp.zeros(lost, jnp.uint32).at[jnp.where(is_pair, slot, lost).reshape(-1)].add(jnp.uint32(1), mode="drop")
    return pairs + hits.reshape(pairs.low.shape)


def _ball(dimension: int) -> float:
    """Return the volume of the ball of radius 1."""
    return math.pi ** (dimension / 2) / math.gamma(dimension / 2 + 1)


def _position(state: Any) -> Any:
    return state.position
