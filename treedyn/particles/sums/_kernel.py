"""The sum over the partners of every particle, by gathers alone.

This module contains the memory layout and no physics. The layout follows from the machine:

- Scatters are serial on a CPU and unordered on a GPU. So every particle sums over *its own* partners, and every pair is
  visited from both sides.
- Components are separate 1-D arrays, because stacking them inside a fusion breaks its vectorization.
- Particles, not partners, are the vector axis: a tile is `[slots, particles]`, and sums run over its first axis.
- Tiles are small enough for the cache and large enough to be divided among several cores.
- XLA fuses everything that leads to *one* result into one loop, and stores whatever several results share. A pair has
  several results (an energy, a force per axis), so one reduction sums all of them over the slots.
- A neighbor list sorts particles in space, so neighboring rows gather from neighboring memory. Quantities are permuted
  to that order at the start and back at the end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import lax

from treedyn._struct import Struct
from treedyn.tree import PyTree

# All numbers were measured on two cores. The largest number of rows in a single block, and the size of the blocks of
# more rows (not a power of two: such columns compete for the same cache lines).
_ROWS, _ROWS_OF_BLOCK = 2**16, 24_000
# Divisors of the number of rows. The compiler divides a loop among threads; if their shares differ, it does not
# vectorize, which costs a factor of 3. Small systems, which often come in batches, need smaller divisors or none: there
# padding rows cost most.
_MULTIPLES = {2**11: 64, 2**6: 16, 0: 1}
# The number of slots that are reduced together, the longest term (in operations) for which that holds, and the number
# for longer terms. The compiler unrolls that many copies of the term; if they become too long, it does not vectorize
# over particles, which costs a factor of 3.
_TOGETHER, _SHORT, _TOGETHER_LONG = 4, 160, 2
# The number of slots in a tile: small, so that tiles stay in fast caches, but larger for few particles, where starting
# a tile takes longer than summing it, and for derivatives of the sum. It does not depend on the list, so a sum is
# rounded in the same way for any number of slots.
_SLOTS_OF_FEW, _FEW = 16, 2**13
_SLOTS_TO_DIFFERENTIATE = 16
# The largest number of pairs in a tile if all particles are partners, used for more particles than the second number.
_TILE, _SMALL = 2**18, 2**6


@runtime_checkable
class PartnerList(Protocol):
    """The part of a neighbor list that energies read.

    Attributes:
        order: the particle in every row, `int[R]`, in spatial order. There may be padding rows (`rows_for`), which hold
            any particle and have no partners.
        rank: the row of every particle, `int[N]`.
        partners: the rows of the partners of every row, `int[M, R]`; the row itself in an empty slot. Every pair is in
            the columns of both its rows.
        cutoff: pairs up to this distance are in the list.
    """

    order: jax.Array
    rank: jax.Array
    partners: jax.Array
    cutoff: Any


class Partners(Struct):
    """The part of a `PartnerList` that a sum reads; all slots from `filled` on are empty, if it is known."""

    order: jax.Array
    rank: jax.Array
    partners: jax.Array
    filled: jax.Array | None = None


def rows_for(particles: int) -> int:
    """Return the number of rows for so many particles: the next multiple of a round number."""
    multiple = next(multiple for least, multiple in _MULTIPLES.items() if particles >= least)
    return -(-particles // multiple) * multiple


def sum_over_partners(
    first: Callable[[PyTree, PyTree], PyTree],
    f: Callable[[PyTree, PyTree, PyTree, jax.Array], PyTree],
    particles: PyTree,
    partners: Partners | None,
    *,
    once: bool = False,
) -> PyTree:
    """Sum a function of two particles over the partners of every particle.

    Args:
        first: `first(own, partner)` returns a tree of arrays `[slots, n]` that `f` uses more than once and that is
            stored with the gathered quantities. `own` has leaves `[1, n]`, `partner` leaves `[slots, n]` or
            `[slots, 1]`.
        f: `f(own, partner, shared, is_pair)` returns a tree of arrays `[slots, n]`, the contribution of every partner.
            `shared` is the result of `first`; `is_pair` is `[slots, n]` and false for an empty slot.
        particles: a tree of arrays `[N]`, one entry per particle.
        partners: the partners of every particle; `None` for all particles.
        once: whether the sum is only evaluated. If not, the loop is one that reverse mode can differentiate.

    Returns:
        The tree that `f` returns, with leaves `[N]` in the order of the particles.
    """
    if partners is None:
        return _in_blocks(first, f, particles, None, None, once)
    rows = jax.tree.map(lambda x: _take(x, partners.order), particles)
    sums = _in_blocks(first, f, rows, partners.partners, partners.filled, once)
    return jax.tree.map(lambda x: _take(x, partners.rank), sums)


def _in_blocks(
    first: Callable[..., PyTree],
    f: Callable[..., PyTree],
    rows: PyTree,
    partners: jax.Array | None,
    filled: jax.Array | None,
    once: bool,
) -> PyTree:
    count = jax.tree.leaves(rows)[0].shape[0]
    blocks, size = (1, count) if count <= _ROWS else _split(count, _ROWS_OF_BLOCK)
    size = min(rows_for(size), count)

    def block(start: Any) -> PyTree:
        own = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, start, size), rows)
        # copied for the block: a gather by indices sliced along both axes compiles to half the speed
        columns = None if partners is None else lax.dynamic_slice_in_dim(partners, start, size, axis=1)
        together = _how_many_together(first, f, own)
        height = _SLOTS_TO_DIFFERENTIATE
        if once:
            height = _SLOTS_OF_FEW if size <= _FEW else together
        tiles = _Tiles(first, f, *_tiles_of(own, start, rows, columns, height), together)
        return _over_tiles(tiles, filled, once)

    if blocks == 1:
        return block(0)

    def one(index: jax.Array, out: PyTree) -> PyTree:
        # the last block starts early enough to be full; rows in two blocks are computed twice, with equal results
        start = jnp.minimum(index * size, count - size)
        return jax.tree.map(lambda x, s: lax.dynamic_update_slice_in_dim(x, s, start, 0), out, block(start))

    like = jax.eval_shape(block, 0)
    return lax.fori_loop(0, blocks, one, jax.tree.map(lambda x: jnp.zeros((count,), x.dtype), like))


class _Tiles(NamedTuple):
    """The pairs of a block of rows, cut into tiles.

    Attributes:
        first: the function that is computed for all slots of a tile at once.
        terms: the function to sum.
        pairs: `pairs(k)` returns own quantities, those of the partners, and `is_pair` in the k-th tile.
        total: number of tiles.
        height: number of slots in a tile.
        together: number of slots that are reduced together.
    """

    first: Callable[..., PyTree]
    terms: Callable[..., PyTree]
    pairs: Callable[[Any], tuple[PyTree, PyTree, jax.Array]]
    total: int
    height: int
    together: int

    def tile(self, number: Any) -> PyTree:
        """Return the terms of a tile, `[slots, n]`."""
        own, other, is_pair = self.pairs(number)
        return self.terms(own, other, self.first(own, other), is_pair)

    def sums(self, number: Any) -> PyTree:
        """Return the terms of a tile summed over its slots, `[n]`."""
        own, other, is_pair = self.pairs(number)
        tile = other, self.first(own, other), is_pair
        together = jax.jit(lambda own, some: _sum_together(self.terms(own, *some)))  # traced once, not for every piece
        total = None
        for slot in range(0, self.height, self.together):
            some = jax.tree.map(lambda x, slot=slot: x[slot : slot + self.together], tile)
            part = together(own, some)
            total = part if total is None else jax.tree.map(jnp.add, total, part)
        return total


def _sum_together(terms: PyTree) -> PyTree:
    """Sum all leaves over their first axis in one reduction."""
    leaves, structure = jax.tree.flatten(terms)
    zeros = [jnp.zeros((), x.dtype) for x in leaves]
    return structure.unflatten(
        lax.reduce(leaves, zeros, lambda a, b: [x + y for x, y in zip(a, b, strict=True)], dimensions=(0,))
    )


def _how_many_together(first: Callable[..., PyTree], f: Callable[..., PyTree], own: PyTree) -> int:
    """Return the best number of slots to reduce together."""

    def term(own: PyTree, other: PyTree, is_pair: jax.Array) -> PyTree:
        return f(own, other, first(own, other), is_pair)

    one = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), own)
    is_pair = jax.ShapeDtypeStruct((1, *jax.tree.leaves(own)[0].shape), bool)
    length = _length(jax.make_jaxpr(term)(one, one, is_pair).jaxpr)
    return _TOGETHER if length <= _SHORT else _TOGETHER_LONG


def _length(program: Any) -> int:
    """Return the number of operations in a jaxpr and in the jaxprs that it calls."""
    length = 0
    for operation in program.eqns:
        called = [getattr(x, "jaxpr", x) for x in operation.params.values()]
        called = [x for x in called if hasattr(x, "eqns")]
        length += sum(map(_length, called)) if called else 1
    return length


def _tiles_of(
    own: PyTree, start: Any, rows: PyTree, partners: jax.Array | None, height: int
) -> tuple[Callable[..., Any], int, int]:
    """Cut the partners of a block of rows into tiles, those of a list into tiles of the given height."""
    size = jax.tree.leaves(own)[0].shape[0]
    slots = jax.tree.leaves(rows)[0].shape[0] if partners is None else partners.shape[0]
    index = (start + lax.iota(jnp.int32, size))[None]
    if partners is None and slots > _SMALL:
        count, height = _split(slots, max(height, _TILE // max(1, size)))
    else:
        height = min(height, slots)
        count = -(-slots // height) if slots else 1

    def pairs(number: Any) -> tuple[PyTree, PyTree, jax.Array]:
        first = jnp.minimum(number * height, slots - height)
        slot = first + lax.iota(jnp.int32, height)
        if partners is None:
            # a column of partners against a row of particles, without gathers
            row = slot[:, None]
            other = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, height)[:, None], rows)
        else:
            row = lax.dynamic_slice_in_dim(partners, first, height)
            other = jax.tree.map(lambda x: _take(x, row), rows)
        is_pair = row != index
        if slots < count * height:
            # the last tile starts early enough to be full, but no pair may be counted twice
            is_pair = is_pair & (slot[:, None] >= number * height)
        return jax.tree.map(lambda x: x[None], own), other, is_pair

    return pairs, count, height


def _over_tiles(tiles: _Tiles, filled: jax.Array | None, once: bool) -> PyTree:
    """Sum tiles over their slots."""

    def over_slots(x: PyTree) -> PyTree:
        return jax.tree.map(lambda x: jnp.sum(x, axis=0), x)

    if once and 0 < tiles.height <= _SLOTS_OF_FEW:
        stop = tiles.total if filled is None else jnp.minimum(-(-filled // tiles.height), tiles.total)
        return _loop(stop, tiles.sums)
    if tiles.total == 1:
        return over_slots(tiles.tile(0))
    if once:
        return _loop(tiles.total, lambda k: over_slots(tiles.tile(k)))
    # Reverse mode recomputes tiles instead of storing all of them, since [slots, N] is large. A derivative of f is so
    # long that XLA would not vectorize its sum over slots, so the slots are summed at the end.
    return over_slots(_loop(tiles.total, jax.checkpoint(tiles.tile, prevent_cse=False)))


def _loop(stop: Any, term: Callable[[Any], PyTree]) -> PyTree:
    """Return the sum of `term(k)` over k from 0 to `stop`."""
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: term(0)))
    return lax.fori_loop(0, stop, lambda k, sums: jax.tree.map(jnp.add, sums, term(k)), zeros)


def _split(length: int, most: int) -> tuple[int, int]:
    """Return how many equal pieces of at most `most` cover `length`, and their size."""
    pieces = max(1, -(-length // most))
    return pieces, -(-length // pieces)


def _take(x: jax.Array, index: jax.Array) -> jax.Array:
    return x.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False)
