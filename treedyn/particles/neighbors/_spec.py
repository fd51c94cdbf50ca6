"""How neighbor lists are to be made, for one system or for a batch of them."""

from collections.abc import Callable
from typing import Any

import jax

from treedyn import _check as check
from treedyn.particles.neighbors._list import NeighborList, Recipe, make_batch, make_list
from treedyn.particles.space._space import free
from treedyn.space import Euclidean, Space, as_space
from treedyn.tree import PyTree

_MOST_TOLERANCE = 0.1  # with fewer pairs forces are another model's
DEFAULT_SKIN = 0.12  # of the cutoff: 0.3 sigma for a Lennard-Jones cutoff of 2.5 sigma


class NeighborLists(Recipe):
    """Say how neighbor lists are to be made; `allocate` makes one."""

    def allocate(self, position: PyTree) -> NeighborList:
        """Make a list for `position` with room for it and some more: on the host, never under jit.

        Args:
            position: the position; its points are `[N, d]`.

        Returns:
            A list that holds at `position`.

        Raises:
            ValueError: the points are no floating-point array `[N, d]` of known, finite numbers, or the box does not
                allow the cutoff or the skin.
        """
        return make_list(self, position)

    def allocate_batch(self, position: PyTree, space: Space | None = None) -> NeighborList:
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
        return make_batch(self, position, space)


def neighbor_list(
    space: Any,
    cutoff: float,
    *,
    skin: float | str | None = None,
    tolerance: float = 0.0,
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
        tolerance: the part of the pairs within the cutoff that a list may miss by the time it is rebuilt, estimated
            from how far particles have moved; those missed are the furthest apart. By default none, ever. 1e-4 lets a
            list live two to three times as long.
        select: picks the points `[N, d]` out of the position; by default the position is the points.
        headroom: room for this many times the neighbors that are found at first. More costs memory, hardly time.

    Returns:
        A recipe; its `allocate(position)` makes a list.

    Raises:
        ValueError: cutoff, skin, tolerance or headroom is out of range, or `space` is not one space.

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
    cutoff = check.number("cutoff", cutoff, "one length (without a cutoff use no list)", positive=True)
    beyond = check.number("skin", DEFAULT_SKIN * cutoff if skin is None or auto else skin, nonnegative=True)
    headroom = float(check.number("headroom", headroom))
    if not headroom >= 1:
        raise ValueError(f"headroom: must be at least 1, got {headroom}")
    tolerance = float(check.number("tolerance", tolerance, "the part of the pairs that may be missed"))
    if not 0 <= tolerance <= _MOST_TOLERANCE:
        raise ValueError(
            "tolerance: expected the part of the pairs that may be missed, at least 0 and at most "
            f"{_MOST_TOLERANCE}, got {tolerance}"
        )
    if select is not None:
        check.function("select", select, "the position that returns the points [N, d]")
    return NeighborLists(
        space=space,
        cutoff=cutoff,
        skin=beyond,
        headroom=headroom,
        auto=auto,
        tolerance=tolerance,
        select=select,
    )


__all__ = ["NeighborLists", "neighbor_list"]
