"""Neighbor lists: which particles are near which, good for as long as nobody has moved too far.

A list holds all pairs up to `cutoff + skin`. While no pair can have come from beyond that to within `cutoff`, forces
that are computed from it are exact; `valid` says so, and is rigorous also when the box changes under the list.

A list is *symmetric*: every pair stands in it twice, once for each of its particles. Forces are then sums over one's
own neighbors, gathers without a scatter, which is faster and gives the same bits every time. Its rows are in the order
of the cells: what is near in space is near in memory. `order` and `rank` lead from rows to particles and back.
"""

import time
from collections.abc import Callable
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from treedyn import _check as check
from treedyn import tree
from treedyn._member import take
from treedyn._status import Status, word
from treedyn._struct import Struct, function, static
from treedyn.environment._parts import Pace, Refreshable, either, for_all
from treedyn.particles.neighbors._allocation import (
    check_known,
    check_points,
    check_reach,
    choose_capacity,
    larger_capacity,
    larger_room,
    largest_skin,
    measure_room,
)
from treedyn.particles.neighbors._tolerance import largest_spread
from treedyn.particles.neighbors._tuning import WORTH, best_skin
from treedyn.particles.neighbors._validity import holds, holds_in
from treedyn.particles.neighbors.cells._build import mark, write
from treedyn.particles.neighbors.cells._cells import Grid, make_grid
from treedyn.particles.neighbors.cells._masks import Room
from treedyn.particles.space._space import free
from treedyn.space import Euclidean, Space, as_space
from treedyn.tree import PyTree

_REGRIDS = 4  # how many times a batch may be divided into other cells, for the sake of another of its boxes
_POINTS = "points [N, d], or neighbor_list(..., select=lambda position: ...) that picks them out of the position"


class Recipe(Struct):
    """Hold what says how a list is to be made, and is known by the list that was made so.

    Attributes:
        space: the space of the points; in a list, what it was when the list was built.
        cutoff: largest distance at which pairs interact.
        skin: how much further the list reaches.
        headroom: factor between the neighbors that are found at first and those there is room for.
        auto: whether `run` may choose another skin.
        tolerance: the part of the pairs within the cutoff that a list may miss.
        select: picks the points out of the position; `None` where the position is the points.
    """

    space: Space
    cutoff: jax.Array | float
    skin: jax.Array | float
    headroom: float = static()
    auto: bool = static(default=False)
    tolerance: float = static(default=0.0)
    select: Callable[[PyTree], jax.Array] | None = function()

    def points(self, position: PyTree) -> Any:
        """Return the points in a position."""
        return position if self.select is None else self.select(position)


class NeighborList(Recipe, Refreshable):
    """Hold the neighbors of every particle.

    Attributes:
        order: the particle in every row, `int32[R]`; rows from N on, there to make it a round number, are empty.
        rank: the row of every particle, `int32[N]`.
        partners: row of the k-th neighbor of row r at `[k, r]`; r itself where there is none, `int32[M, R]`.
        filled: the largest number of neighbors in any row: slots from there on are empty in all of them.
        reference: the points when the list was built, `[N, d]`.
        word: status word.
        spread: standard deviation that displacements may have along every axis, as a part of the skin; `None` where no
            pair may be missed.
        grid: the cells that the points are sorted into.
        room: sizes of the intermediate arrays.
    """

    order: jax.Array
    rank: jax.Array
    partners: jax.Array
    filled: jax.Array
    reference: jax.Array
    word: jax.Array
    spread: jax.Array | None
    grid: Grid
    room: Room = static()

    @property
    def status(self) -> jax.Array:
        """Return the status word: OVERFLOW, BOX and NONFINITE are set while building and stay until `allocate`."""
        return self.word

    @property
    def capacity(self) -> int:
        """Return the number of neighbors that there is room for in a row."""
        return self.partners.shape[0]

    def valid(self, position: PyTree, margin: float = 1.0, space: Space | None = None) -> jax.Array:
        r"""Tell whether the list holds every pair within the cutoff at `position`.

        $$ 2 \max_i |u_i| + \lVert F - 1 \rVert\, (r_c + s) \le \mathrm{margin} \cdot s $$

        with the displacements $u$ since the list was built, on top of the deformation $F$ of the box, cutoff $r_c$ and
        skin $s$. Where the list may miss a part of the pairs (`tolerance`), the moments of $u$ are what counts instead.

        Args:
            position: the position.
            margin: the part of the skin that may be used up, in (0, 1].
            space: the space as it is now, where it may have changed; by default the one the list was built in.

        Returns:
            A boolean; False where a coordinate is NaN.
        """
        x = lax.stop_gradient(self._points(position))
        now = None if space is None else lax.stop_gradient(self._cast(space))
        room = jnp.asarray(margin).astype(x.dtype) * self.skin
        return holds(self.space, now, self.reference, x, room, self.cutoff + self.skin, self.spread)

    def serves(self, points: jax.Array, space: Space) -> jax.Array:
        """Tell whether an energy in `space` may use this list.

        Where the box is the one that the list was built in, only motion can invalidate it, and that `valid` tells.
        Where it is another one, the list has to hold under the deformation that leads there.

        Args:
            points: the points now, `[N, d]`.
            space: the space of the energy.

        Raises:
            ValueError: the space is of another kind or shape.
        """
        now = lax.stop_gradient(self._cast(free() if isinstance(space, Euclidean) else space))
        leaves = [*jax.tree.leaves(now), *jax.tree.leaves(self.space)]
        known = [number for leaf in leaves if (number := tree.known(leaf)) is not None]
        if len(known) == len(leaves) and all(map(np.array_equal, known, known[len(known) // 2 :])):
            return jnp.asarray(True)  # nothing to compile where the answer is known
        x = lax.stop_gradient(points).astype(self.reference.dtype)
        return holds_in(self.space, now, self.reference, x, self.skin, self.cutoff + self.skin, self.spread)

    def rebuild(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with the same shapes; safe under jit, and without gradients.

        What does not work out is reported in the status word: OVERFLOW where there is no room for all neighbors, BOX
        where the box allows cutoff and skin no longer or became too small for the cells, NONFINITE for NaN.

        Args:
            position: the position.
            space: the space as it is now, where it may have changed; by default the one the list was built in.
        """
        x = lax.stop_gradient(self._points(position))
        return self._rebuilt(x, self.space if space is None else lax.stop_gradient(self._cast(space)))

    def _rebuilt(self, x: jax.Array, space: Space) -> Self:
        rows, words, status = mark(self.grid, self.room, space, x, self.cutoff + self.skin)
        return self.replace(
            order=rows.order,
            rank=rows.rank,
            partners=write(words, rows.tiles, self.room, self.capacity),
            filled=jnp.minimum(words.most, self.capacity),
            reference=x,
            word=self.word | status | word(Status.OVERFLOW, words.most > self.capacity),
            space=space,
        )

    def update(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list that holds at `position` and for a step beyond: this one where it does, else rebuilt.

        Args:
            position: the position.
            space: the space as it is now, where it may have changed; by default the one the list was built in.
        """
        if space is None:
            return super().update(position)
        holds = for_all(self.valid(position, self.margin, space))
        return either(holds, self, lambda lists, x, s: lists.rebuild(x, s), position, self._cast(space))

    def allocate(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with at least the old sizes: on the host, never under jit.

        Args:
            position: the position; its points are `[N, d]`.
            space: the space as it is now, where it may have changed; by default the one the list was built in.

        Raises:
            ValueError: as for the `allocate` that made the list.
        """
        recipe = self if space is None else self.replace(space=as_space(space))
        return cast(Self, make_list(recipe, position, self))

    def enlarged(self) -> Self:
        """Return a list for the same points with twice the room: on the host."""
        rows = self.partners.shape[1]
        slots = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (larger_capacity(self.capacity, rows), rows))
        roomier = self.replace(partners=slots, room=larger_room(self.room), word=jnp.zeros_like(self.word))
        return roomier._rebuilt(self.reference, self.space)

    def allocate_members(self, position: PyTree) -> Self:
        """Return lists for all members of an ensemble, of sizes that are large enough for each: on the host.

        Args:
            position: the positions, every leaf with the members in front.

        Raises:
            ValueError: as for the `allocate` that made the lists.
        """
        first = jax.tree.map(lambda leaf: leaf[0], self)
        return cast(Self, make_batch(first, position, self.space, first))

    def tuned(self, position: PyTree, pace: Pace) -> Self:
        """Return a list with the skin at which a run is fastest, where it was left open (`skin="auto"`): on the host.

        Args:
            position: the position; its points are `[N, d]`.
            pace: how fast the run is now, and how long it still takes.
        """
        if not self.auto or pace.left * pace.seconds < WORTH:
            return self
        points = self._points(position)
        rebuild = jax.jit(type(self).rebuild)
        jax.block_until_ready(rebuild(self, position))
        began = time.perf_counter()
        jax.block_until_ready(rebuild(self, position))
        build = min((time.perf_counter() - began) / pace.life, pace.seconds / 2)
        now, cutoff = float(self.skin), float(self.cutoff)
        most = min(largest_skin(self.space, cutoff, points), cutoff)
        skin, gain = best_skin(now, most, cutoff, points.shape[1], pace.seconds - build, build)
        if gain * pace.left < WORTH:
            return self
        return self.replace(skin=jnp.asarray(skin, points.dtype)).allocate(position)

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all pairs of particles in the list, every pair twice: on the host.

        Returns:
            Particle numbers `(i, j)`, each `[pairs]`: `j` is a neighbor of `i`.

        Example:
            >>> import jax.numpy as jnp
            >>> from treedyn import particles as tp
            >>> lists = tp.neighbor_list(tp.free(), cutoff=1.0, skin=0.5).allocate(jnp.array([[0.0], [1.2], [2.4]]))
            >>> sorted(zip(*(side.tolist() for side in lists.pairs())))
            [(0, 1), (1, 0), (1, 2), (2, 1)]
        """
        order, partners = np.asarray(self.order), np.asarray(self.partners)
        slot, row = np.nonzero(partners != np.arange(len(order)))
        return order[row], order[partners[slot, row]]

    def _points(self, position: PyTree) -> jax.Array:
        points = check.array("position", self.points(position), _POINTS, (2,), finite=False)
        x = jnp.asarray(points)
        if x.shape != self.reference.shape or x.dtype != self.reference.dtype:
            raise ValueError(
                f"position: this neighbor list was allocated for {self.reference.dtype}{list(self.reference.shape)}, "
                f"got {x.dtype}{list(x.shape)}; call allocate(position) for it"
            )
        return x

    def _cast(self, space: Any) -> Space:
        space = as_space(space)
        new, old = jax.tree.leaves(space), jax.tree.leaves(self.space)
        if jax.tree.structure(space) != jax.tree.structure(self.space) or any(
            jnp.shape(a) not in ((), jnp.shape(b)) for a, b in zip(new, old, strict=True)
        ):
            raise ValueError(
                f"space: expected one of the same kind and shape as that of the list, {self.space}, got {space}; "
                "make a new list with neighbor_list(space, ...)"
            )
        return jax.tree.map(_like, space, self.space)


def make_list(
    recipe: Recipe, position: PyTree, old: NeighborList | None = None, grid: Grid | None = None
) -> NeighborList:
    """Make a list with room for what is measured: on the host, never under jit.

    Args:
        recipe: how it is to be made.
        position: the position.
        old: a list whose sizes are enough as far as they go.
        grid: the cells, if they are to be these.

    Raises:
        ValueError: the points are no floating-point array `[N, d]` of known, finite numbers, or the box does not allow
            the cutoff or the skin.
    """
    points = recipe.points(position)
    check_known({"position": points, "space": recipe.space, "cutoff": recipe.cutoff, "skin": recipe.skin})
    x = check_points(points)
    if recipe.auto:
        most = largest_skin(recipe.space, float(recipe.cutoff), x)
        recipe = recipe.replace(skin=min(float(recipe.skin), most) if most > 0 else recipe.skin)
    reach = check_reach(recipe.space, recipe.cutoff, recipe.skin, x)
    space = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf)), recipe.space)
    cutoff, skin = (jnp.asarray(value, x.dtype) for value in (recipe.cutoff, recipe.skin))
    grid = make_grid(space, x, reach) if grid is None else grid
    room = measure_room(grid, space, x, None if old is None else old.room)
    # in two steps, since the first one tells the size of the second
    rows, words, status = mark(grid, room, space, x, cutoff + skin)
    capacity = choose_capacity(int(words.most), len(x), recipe.headroom, 0 if old is None else old.capacity)
    return NeighborList(
        order=rows.order,
        rank=rows.rank,
        partners=write(words, rows.tiles, room, capacity),
        filled=words.most,
        reference=x,
        word=status,
        spread=_spread(recipe, x.dtype, x.shape[1]),
        cutoff=cutoff,
        skin=skin,
        space=space,
        grid=grid,
        room=room,
        headroom=recipe.headroom,
        auto=recipe.auto,
        tolerance=recipe.tolerance,
        select=recipe.select,
    )


def make_batch(
    recipe: Recipe, position: PyTree, space: Space | None = None, old: NeighborList | None = None
) -> NeighborList:
    """Make a list for every system of a batch, of sizes that are large enough for all: on the host.

    Args:
        recipe: how they are to be made.
        position: the positions, every leaf with one more axis in front.
        space: the spaces, likewise, where the systems have boxes of their own.
        old: a list whose sizes are enough as far as they go.

    Raises:
        ValueError: as for `make_list`; the leaves have no first axis in common, or the boxes are too different.
    """
    tree.box((position, space), "position, space: what is at ")
    count = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((position, space)) if tree.is_array(leaf)}
    if len(count) != 1 or count <= {(), (0,)}:
        raise ValueError(f"position, space: expected one first axis for all leaves, the batch; got {sorted(count)}")

    def member(k: int) -> tuple[PyTree, Space]:
        here, box = take((tree.traceable(position), space), jnp.asarray(k))
        return tree.unbox(here), recipe.space if space is None else box

    lists, grid, regrids, worst = old, None, 0, 0
    while regrids < _REGRIDS:
        here, box = member(worst)
        # Cells that fit all boxes stay, and sizes only ever grow, so this ends.
        lists = make_list(recipe.replace(space=box), here, lists, grid)
        rebuild = jax.jit(jax.vmap(lambda x, box, lists=lists: lists.rebuild(tree.unbox(x), box)))
        batch = rebuild(tree.traceable(position), space)
        word = np.asarray(batch.word)
        if not np.any(word):
            return batch
        worst = int(np.argmax(word))
        fits = word[worst] == int(Status.OVERFLOW)
        grid, regrids = (lists.grid if fits else None), regrids + (not fits)
    raise ValueError(
        "space: no one grid of cells fits all boxes of the batch, they are too different in shape; divide the batch"
    )


def _spread(recipe: Recipe, kind: Any, dimension: int) -> jax.Array | None:
    skin = float(recipe.skin)
    if recipe.tolerance == 0 or skin == 0:
        return None
    return jnp.asarray(largest_spread(recipe.tolerance, skin, float(recipe.cutoff), dimension) / skin, kind)


def _like(new: Any, old: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(new).astype(old.dtype), old.shape)


__all__ = ["NeighborList", "Recipe", "make_batch", "make_list"]
