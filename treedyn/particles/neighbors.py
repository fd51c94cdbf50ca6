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

from treedyn import tree
from treedyn.environment import Pace, Refreshable, for_all
from treedyn.particles.allocation import (
    check_known,
    check_points,
    check_reach,
    choose_capacity,
    largest_skin,
    measure_room,
)
from treedyn.particles.build import mark, write
from treedyn.particles.cells import Grid, make_grid
from treedyn.particles.masks import Room
from treedyn.particles.skin import WORTH, best_skin
from treedyn.particles.space import free
from treedyn.particles.validity import holds
from treedyn.space import Euclidean, Space, as_space
from treedyn.status import Status, word
from treedyn.struct import Struct, function, static
from treedyn.tree import PyTree

_REGRIDS = 4  # how many times a batch may be divided into cells anew, for the sake of another of its boxes
DEFAULT_SKIN = 0.12  # of the cutoff: 0.3 sigma for a Lennard-Jones cutoff of 2.5 sigma


class NeighborLists(Struct):
    """Say how neighbor lists are to be made; `allocate` makes one.

    Attributes:
        space: the space of the points.
        cutoff: largest distance at which pairs interact.
        skin: how much further the list reaches.
        headroom: factor between the neighbors that are found at first and those there is room for.
        auto: whether `run` may choose another skin.
        select: picks the points out of the position; `None` where the position is the points.
    """

    space: Space
    cutoff: jax.Array | float
    skin: jax.Array | float
    headroom: float = static()
    auto: bool = static(default=False)
    select: Callable[[PyTree], jax.Array] | None = function()

    def allocate(self, position: PyTree) -> "NeighborList":
        """Make a list for `position` with room for it and some more: on the host, never under jit.

        Args:
            position: the position; its points are `[N, d]`.

        Returns:
            A list that holds at `position`.

        Raises:
            ValueError: the points are no floating-point array `[N, d]` of known, finite numbers, or the box does not
                allow the cutoff or the skin.
        """
        return _allocate(self, _points(position, self.select), None, None)

    def allocate_batch(self, position: PyTree, space: Space | None = None) -> "NeighborList":
        """Make a list for every system of a batch, of sizes that are large enough for all: on the host.

        Args:
            position: the positions, every leaf with one more axis in front; the points are `[B, N, d]`.
            space: the spaces, every leaf with one more axis in front, where the systems have boxes of their own.

        Returns:
            A batch of lists, for `jax.vmap`.

        Raises:
            ValueError: as for `allocate`; the systems differ in their number of points, or one box is too small.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from treedyn import particles as tp
            >>> position = jnp.array([[[0.0], [1.0], [5.0]], [[0.0], [1.0], [1.5]]])
            >>> lists = tp.neighbor_list(tp.free(), cutoff=1.2, skin=0.1).allocate_batch(position)
            >>> jax.vmap(lambda env: env.filled)(lists).tolist()
            [1, 2]
        """
        count = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((position, space))}
        if len(count) != 1 or count <= {(), (0,)}:
            raise ValueError(f"position, space: expected one first axis for all leaves, the batch; got {sorted(count)}")

        def member(k: int) -> tuple[PyTree, Space]:
            here, box = jax.tree.map(lambda leaf: jnp.asarray(leaf)[k], (position, space))
            return here, self.space if space is None else box

        lists, grid, regrids = None, None, 0
        worst = 0
        while regrids < _REGRIDS:
            here, box = member(worst)
            recipe = self.replace(space=box)
            # Cells that fit all boxes stay, and sizes only ever grow, so this ends.
            lists = _allocate(recipe, _points(here, self.select), lists, grid)
            batch = jax.jit(jax.vmap(lists.rebuild))(position, space)
            word = np.asarray(batch.word)
            if not np.any(word):
                return batch
            worst = int(np.argmax(word))
            fits = word[worst] == int(Status.OVERFLOW)
            grid, regrids = (lists.grid if fits else None), regrids + (not fits)
        raise ValueError(
            "space: no one grid of cells fits all boxes of the batch, they are too different in shape; divide the batch"
        )


class NeighborList(Refreshable):
    """Hold the neighbors of every particle.

    Attributes:
        order: the particle in every row, `int32[N]`.
        rank: the row of every particle, `int32[N]`.
        partners: row of the k-th neighbor of row r at `[k, r]`; r itself where there is none, `int32[M, N]`.
        filled: the largest number of neighbors in any row: slots from there on are empty in all of them.
        reference: the points when the list was built, `[N, d]`.
        word: status word.
        cutoff: largest distance at which pairs interact.
        skin: how much further the list reaches.
        space: the space of the points when the list was built.
        grid: the cells that the points are sorted into.
        room: sizes of the intermediate arrays.
        headroom: how much `allocate` leaves above what it needs.
        auto: whether `run` may choose another skin.
        select: picks the points out of the position; `None` where the position is the points.
    """

    order: jax.Array
    rank: jax.Array
    partners: jax.Array
    filled: jax.Array
    reference: jax.Array
    word: jax.Array
    cutoff: jax.Array
    skin: jax.Array
    space: Space
    grid: Grid
    room: Room = static()
    headroom: float = static()
    auto: bool = static(default=False)
    select: Callable[[PyTree], jax.Array] | None = function()

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
        skin $s$.

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
        return holds(self.space, now, self.reference, x, room, self.cutoff + self.skin)

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
        equal = [jnp.all(a == b) for a, b in zip(jax.tree.leaves(now), jax.tree.leaves(self.space), strict=True)]
        x = lax.stop_gradient(points).astype(self.reference.dtype)
        return lax.cond(
            jnp.all(jnp.array(equal, bool)),
            lambda: jnp.asarray(True),
            lambda: holds(self.space, now, self.reference, x, self.skin, self.cutoff + self.skin),
        )

    def rebuild(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with the same shapes; safe under jit, and without gradients.

        What does not work out is reported in the status word: OVERFLOW where there is no room for all neighbors, BOX
        where the box allows cutoff and skin no longer or became too small for the cells, NONFINITE for NaN.

        Args:
            position: the position.
            space: the space as it is now, where it may have changed; by default the one the list was built in.
        """
        x = lax.stop_gradient(self._points(position))
        space = self.space if space is None else lax.stop_gradient(self._cast(space))
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
        return lax.cond(
            for_all(self.valid(position, self.margin, space)),
            lambda lists, *_: lists,
            lambda lists, x, s: lists.rebuild(x, s),
            self,
            position,
            self._cast(space),
        )

    def allocate(self, position: PyTree, space: Space | None = None) -> Self:
        """Return a list for `position` with at least the old sizes: on the host, never under jit.

        Args:
            position: the position; its points are `[N, d]`.
            space: the space as it is now, where it may have changed; by default the one the list was built in.

        Raises:
            ValueError: as for the `allocate` that made the list.
        """
        recipe = NeighborLists(
            space=self.space if space is None else as_space(space),
            cutoff=self.cutoff,
            skin=self.skin,
            headroom=self.headroom,
            auto=self.auto,
            select=self.select,
        )
        return cast(Self, _allocate(recipe, _points(position, self.select), self, None))

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
        return self.replace(skin=jnp.asarray(skin, self.skin.dtype)).allocate(position)

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
        x = jnp.asarray(_points(position, self.select))
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


def neighbor_list(
    space: Any,
    cutoff: float,
    *,
    skin: float | str | None = None,
    select: Callable[[PyTree], jax.Array] | None = None,
    headroom: float = 1.25,
) -> NeighborLists:
    """Say how neighbor lists are to be made.

    Args:
        space: the space of the points. Boxes of this library are searched by cells, in time proportional to the number
            of points; for any other space all pairs are compared.
        cutoff: largest distance at which pairs interact; length.
        skin: how much further the list reaches, so that it holds until particles have moved by half of that; length.
            A larger one makes lists live longer and forces cost more. By default 12 % of the cutoff. 0 is for positions
            that do not move. With "auto", `run` measures what builds and forces cost and chooses the best one; the
            trajectory stays the same to round-off.
        select: picks the points `[N, d]` out of the position; by default the position is the points.
        headroom: room for this many times the neighbors that are found at first. More costs memory, hardly time.

    Returns:
        A recipe; its `allocate(position)` makes a list.

    Raises:
        ValueError: cutoff, skin or headroom is out of range, or `space` is not one space.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> position = jnp.array([[0.0, 0.0], [1.0, 0.0], [9.5, 0.0], [5.0, 5.0]])
        >>> env = tp.neighbor_list(tp.periodic(10.0), cutoff=1.5, skin=0.3).allocate(position)
        >>> i, j = env.pairs()
        >>> sorted(zip(i.tolist(), j.tolist()))
        [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)]
        >>> moved = position.at[3].set(jnp.array([2.0, 0.0]))
        >>> bool(env.valid(moved))
        False
        >>> sorted(set(jax.jit(env.update)(moved).pairs()[0].tolist()))
        [0, 1, 2, 3]
    """
    space = as_space(space)
    if not isinstance(space, Space):
        raise ValueError(
            f"space: expected the space of the points, got a tree of spaces {space!r}; pass the one for the points, "
            "and select=lambda position: ... to pick them out of the position"
        )
    if isinstance(space, Euclidean):
        space = free()
    auto = isinstance(skin, str)
    if auto and skin != "auto":
        raise ValueError(f'skin: expected a number or "auto", got {skin!r}')
    if skin is None or auto:
        skin = DEFAULT_SKIN * cutoff
    for name, value, least in (("cutoff", cutoff, "positive"), ("skin", skin, "zero or positive")):
        if jnp.ndim(value):
            raise ValueError(f"{name}: expected one number, got shape {jnp.shape(value)}")
        number = tree.known(value)
        if number is not None and (not np.isfinite(number) or number < 0 or (name == "cutoff" and number == 0)):
            raise ValueError(f"{name}: must be {least} and finite, got {number}; without a cutoff use no list")
    if not headroom >= 1:
        raise ValueError(f"headroom: must be at least 1, got {headroom}")
    if select is not None and not callable(select):
        raise ValueError(f"select: expected a function of the position that returns the points [N, d], got {select!r}")
    return NeighborLists(space=space, cutoff=cutoff, skin=skin, headroom=float(headroom), auto=auto, select=select)


def _points(position: PyTree, select: Callable[[PyTree], jax.Array] | None) -> Any:
    return position if select is None else select(position)


def _like(new: Any, old: Any) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(new).astype(old.dtype), old.shape)


def _allocate(recipe: NeighborLists, points: Any, old: NeighborList | None, grid: Grid | None) -> NeighborList:
    """Make a list with room for what was measured; in two steps, since the first one tells the size of the second."""
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
    rows, words, status = mark(grid, room, space, x, cutoff + skin)
    capacity = choose_capacity(int(words.most), len(x), recipe.headroom, 0 if old is None else old.capacity)
    return NeighborList(
        order=rows.order,
        rank=rows.rank,
        partners=write(words, rows.tiles, room, capacity),
        filled=words.most,
        reference=x,
        word=status,
        cutoff=cutoff,
        skin=skin,
        space=space,
        grid=grid,
        room=room,
        headroom=recipe.headroom,
        auto=recipe.auto,
        select=recipe.select,
    )


__all__ = ["NeighborList", "NeighborLists", "neighbor_list"]
