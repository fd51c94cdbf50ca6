"""Neighbor lists: all pairs of particles within `cutoff + skin` of each other.

Forces from a list are exact while no pair can have come from beyond `cutoff + skin` to within `cutoff`. `valid` tells
when this holds; it is rigorous also when the box changes.

A list is *symmetric*: it holds every pair twice, once for each particle. Forces are then sums over a particle's own
neighbors, gathers without a scatter, which is faster and reproducible bit by bit. Rows follow the order of the cells:
particles that are near in space are near in memory. `order` and `rank` map rows to particles and back.
"""

import time
from collections.abc import Callable
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int32, UInt32

from treedyn import _check as check
from treedyn import tree
from treedyn._member import take
from treedyn._status import Status, word
from treedyn._struct import Struct, function, static
from treedyn.environment._parts import Pace, Refreshable, either, for_all
from treedyn.particles.neighbors._allocation import (
    check_known,
    check_points,
    check_skin,
    choose_capacity,
    larger_capacity,
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

_REGRIDS = 4  # how many grids of cells are tried for a batch of different boxes
_POINTS = "points [N, d], or neighbor_list(..., select=lambda position: ...) to select them from the position"

Points = Float[Array, "particles dimensions"]


class Recipe(Struct):
    """The settings of a neighbor list, which the list keeps.

    Attributes:
        space: the space of the points; in a list, the space in which it was built.
        cutoff: largest distance at which pairs interact.
        skin: distance beyond the cutoff up to which pairs are listed.
        headroom: ratio of the slots for neighbors to the number of neighbors at allocation.
        fits: whether the skin is made smaller where the box allows no larger one.
        auto: whether `run` may choose another skin.
        tolerance: fraction of the pairs within the cutoff that a list may miss.
        select: selects the points from the position; `None` if the position is the points.
    """

    space: Space
    cutoff: Float[Array, ""] | float
    skin: Float[Array, ""] | float
    headroom: float = static()
    fits: bool = static(default=False)
    auto: bool = static(default=False)
    tolerance: float = static(default=0.0)
    select: Callable[[PyTree], jax.Array] | None = function()

    def points(self, position: PyTree) -> Any:
        """Return the points in a position."""
        return position if self.select is None else self.select(position)


class NeighborList(Recipe, Refreshable):
    """The neighbors of every particle.

    Attributes:
        order: the particle in every row; rows from N on are padding.
        rank: the row of every particle.
        partners: the row of the k-th neighbor of row r at `[k, r]`; r itself in an empty slot.
        filled: the largest number of neighbors in any row. All later slots are empty.
        reference: the points for which the list was built.
        word: status word.
        spread: largest allowed standard deviation of the displacements along an axis, as a fraction of the skin;
            `None` if no pair may be missed.
        grid: the cells that the points are sorted into.
        room: sizes of the intermediate arrays.
        checks: whether an energy asks if the points have moved too far; a dynamics does so itself.
    """

    order: Int32[Array, "rows"]
    rank: Int32[Array, "particles"]
    partners: Int32[Array, "slots rows"]
    filled: Int32[Array, ""]
    reference: Points
    word: UInt32[Array, ""]
    spread: Float[Array, ""] | None
    grid: Grid
    room: Room = static()
    checks: bool = static(default=True)

    @property
    def status(self) -> UInt32[Array, ""]:
        """Return the status word. OVERFLOW, BOX and NONFINITE are set by a build and stay until `allocate`."""
        return self.word

    @property
    def capacity(self) -> int:
        """Return the number of slots for neighbors in a row."""
        return self.partners.shape[0]

    def valid(self, position: PyTree, margin: float = 1.0, space: Space | None = None) -> Bool[Array, ""]:
        r"""Return whether the list holds every pair within the cutoff at `position`.

        $$ 2 \max_i |u_i| + \lVert F - 1 \rVert\, (r_c + s) \le \mathrm{margin} \cdot s $$

        with the displacements $u$ since the list was built, relative to the deformation $F$ of the box, the cutoff
        $r_c$ and the skin $s$. If the list may miss some pairs (`tolerance`), the moments of $u$ decide instead.

        Args:
            position: the position.
            margin: fraction of the skin that may be used up, in (0, 1].
            space: the current space, if it has changed since the list was built.

        Returns:
            A boolean; False if a coordinate is NaN.
        """
        x = lax.stop_gradient(self._points(position))
        now = None if space is None else lax.stop_gradient(self._cast(space))
        room = jnp.asarray(margin).astype(x.dtype) * self.skin
        return holds(self.space, now, self.reference, x, room, self.cutoff + self.skin, self.spread)

    def serves(self, points: Points, space: Space) -> Bool[Array, ""]:
        """Return whether an energy in `space` may use this list: whether it holds every pair of `points`.

        A list that is `trusted` is only asked about a change of the box.

        Args:
            points: the current points.
            space: the space of the energy.

        Raises:
            ValueError: the space is of another kind or shape.
        """
        now = lax.stop_gradient(self._cast(free() if isinstance(space, Euclidean) else space))
        leaves = [*jax.tree.leaves(now), *jax.tree.leaves(self.space)]
        known = [number for leaf in leaves if (number := tree.known(leaf)) is not None]
        x = lax.stop_gradient(points).astype(self.reference.dtype)
        others = self.reference, x, self.skin, self.cutoff + self.skin, self.spread
        if len(known) == len(leaves) and all(map(np.array_equal, known, known[len(known) // 2 :])):
            # known without compiling anything
            return holds(self.space, None, *others) if self.checks else jnp.asarray(True)
        return holds_in(self.space, now, *others, moved=self.checks)

    def trusted(self) -> Self:
        """Return this list without checks of its own, for a caller that asks for `valid`."""
        return self.replace(checks=False)

    def rebuild(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with the same shapes: pure, safe under jit, without gradients.

        The status word reports failures: OVERFLOW if a row has too few slots, BOX if the box no longer allows cutoff
        and skin or is too small for the cells, NONFINITE if a coordinate is NaN.

        Args:
            position: the position.
            space: the current space, if it has changed since the list was built.
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
        """Return this list if it is valid at `position` and for one more step, else a rebuilt one.

        Args:
            position: the position.
            space: the current space, if it has changed since the list was built.
        """
        if space is None:
            return super().update(position)
        holds = for_all(self.valid(position, self.margin, space))
        return either(holds, self, lambda lists, x, s: lists.rebuild(x, s), position, self._cast(space))

    def allocate(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with at least the present sizes: on the host, never under jit.

        Args:
            position: the position.
            space: the current space, if it has changed since the list was built.

        Raises:
            ValueError: the points or the box are not accepted by `NeighborLists.allocate`.
        """
        recipe = self if space is None else self.replace(space=as_space(space))
        return cast(Self, make_list(recipe, position, self))

    def enlarged(self) -> Self:
        """Return a list for the same points with twice the slots: on the host."""
        rows = self.partners.shape[1]
        slots = jnp.broadcast_to(jnp.arange(rows, dtype=jnp.int32), (larger_capacity(self.capacity, rows), rows))
        room = self.room._replace(tiles=2 * self.room.tiles, around=2 * self.room.around)
        roomier = self.replace(partners=slots, room=room, word=jnp.zeros_like(self.word))
        return roomier._rebuilt(self.reference, self.space)

    def allocate_members(self, position: PyTree) -> Self:
        """Return lists for all members of an ensemble, with sizes that fit every member: on the host.

        Args:
            position: the positions; every leaf has a leading axis of members.

        Raises:
            ValueError: the points or a box are not accepted by `NeighborLists.allocate_members`.
        """
        first = jax.tree.map(lambda leaf: leaf[0], self)
        return cast(Self, make_batch(first, position, self.space, first))

    def tuned(self, position: PyTree, pace: Pace) -> Self:
        """Return a list with the fastest skin if the skin is free (`skin="auto"`), else this one: on the host.

        Args:
            position: the position.
            pace: speed and remaining length of the run.
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
                f"got {x.dtype}{list(x.shape)}. Call allocate(position) for the new position."
            )
        return x

    def _cast(self, space: Space) -> Space:
        space = as_space(space)
        new, old = jax.tree.leaves(space), jax.tree.leaves(self.space)
        if jax.tree.structure(space) != jax.tree.structure(self.space) or any(
            jnp.shape(a) not in ((), jnp.shape(b)) for a, b in zip(new, old, strict=True)
        ):
            raise ValueError(
                f"space: expected the same kind and shape as that of the neighbor list, {self.space}, got {space}. "
                "Make a new list with neighbor_list(space, ...)."
            )
        return jax.tree.map(lambda a, b: jnp.broadcast_to(jnp.asarray(a).astype(b.dtype), b.shape), space, self.space)


def make_list(
    recipe: Recipe, position: PyTree, old: NeighborList | None = None, grid: Grid | None = None
) -> NeighborList:
    """Make a list with measured sizes, not smaller than those of `old`: on the host, never under jit."""
    points = recipe.points(position)
    check_known({"position": points, "space": recipe.space, "cutoff": recipe.cutoff, "skin": recipe.skin})
    x = check_points(points)
    beyond = check_skin(recipe.space, float(recipe.cutoff), float(recipe.skin), x, recipe.fits)
    recipe = recipe.replace(skin=beyond)
    space = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf)), recipe.space)
    cutoff, skin = jnp.asarray(recipe.cutoff, x.dtype), jnp.asarray(beyond, x.dtype)
    grid = make_grid(space, x, float(recipe.cutoff) + beyond) if grid is None else grid
    room = measure_room(grid, space, x, None if old is None else old.room)
    # in two steps, because the first one tells the size of the second
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
        fits=recipe.fits,
        auto=recipe.auto,
        tolerance=recipe.tolerance,
        select=recipe.select,
    )


def make_batch(
    recipe: Recipe, position: PyTree, space: Space | None = None, old: NeighborList | None = None
) -> NeighborList:
    """Make one list per system of a batch, with sizes that fit every system and are not smaller than those of `old`."""
    tree.box((position, space), "position, space: leaf ")
    count = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((position, space)) if tree.is_array(leaf)}
    if len(count) != 1 or count <= {(), (0,)}:
        raise ValueError(
            f"position, space: expected one first axis for all leaves, the batch, got {sorted(count)}. "
            "Stack the systems along a new leading axis."
        )

    def member(k: int) -> tuple[PyTree, Space]:
        here, box = take((tree.traceable(position), space), jnp.asarray(k))
        return tree.unbox(here), recipe.space if space is None else box

    lists, grid, regrids, worst = old, None, 0, 0
    while regrids < _REGRIDS:
        here, box = member(worst)
        # a grid that fits all boxes is kept and sizes only grow, so this ends
        lists = make_list(recipe.replace(space=box), here, lists, grid)
        rebuild = jax.jit(jax.vmap(lambda x, box, lists=lists: lists.rebuild(tree.unbox(x), box)))
        batch = rebuild(tree.traceable(position), space)
        word = np.asarray(batch.word)
        if not np.any(word):
            return batch
        worst = int(np.argmax(word))
        fits = word[worst] == int(Status.OVERFLOW)
        grid, regrids = (lists.grid if fits else None), regrids + (not fits)
    raise ValueError("space: the boxes of the batch differ too much in shape for one grid of cells. Divide the batch.")


def _spread(recipe: Recipe, kind: DTypeLike, dimension: int) -> jax.Array | None:
    skin = float(recipe.skin)
    if recipe.tolerance == 0 or skin == 0:
        return None
    return jnp.asarray(largest_spread(recipe.tolerance, skin, float(recipe.cutoff), dimension) / skin, kind)
