"""Recipes for neighbor lists of one system or of a batch."""

from collections.abc import Callable
from typing import Literal

import jax
from jax.typing import ArrayLike
from jaxtyping import Real

from treedyn import _check as check
from treedyn.particles.neighbors._list import NeighborList, Recipe, make_batch, make_list
from treedyn.particles.space._space import SpaceLike, free
from treedyn.space import Euclidean, Space, as_space
from treedyn.tree import PyTree

_MOST_TOLERANCE = 0.1  # a list that misses more pairs describes another model
DEFAULT_SKIN = 0.12  # of the cutoff: 0.3 sigma for a Lennard-Jones cutoff of 2.5 sigma


class NeighborLists(Recipe):
    """A recipe for neighbor lists; `allocate` makes one."""

    def allocate(self, position: PyTree) -> NeighborList:
        """Make a list for `position` with room for more neighbors: on the host, never under jit.

        Args:
            position: the position; its points are `[N, d]`.

        Raises:
            ValueError: the points are not a floating-point array `[N, d]` of known, finite numbers, or the box does not
                allow the cutoff or the skin.
        """
        return make_list(self, position)

    def allocate_members(self, position: PyTree, space: Space | None = None) -> NeighborList:
        """Make one list per system of a batch, with sizes that fit every system: on the host.

        Args:
            position: the positions; every leaf has a leading axis, so the points are `[B, N, d]`.
            space: the spaces, every leaf with a leading axis, if the systems have different boxes.

        Returns:
            A batch of lists, for `jax.vmap`.

        Raises:
            ValueError: the points or a box are not accepted by `allocate`, or the systems differ in their number of
                points.

        Example:
            >>> import jax, jax.numpy as jnp
            >>> from treedyn import particles as tp
            >>> position = jnp.array([[[0.0], [1.0], [5.0]], [[0.0], [1.0], [1.5]]])
            >>> lists = tp.neighbor_list(tp.free(), cutoff=1.2, skin=0.1).allocate_members(position)
            >>> jax.vmap(lambda env: env.filled)(lists).tolist()
            [1, 2]
        """
        return make_batch(self, position, space)


def neighbor_list(
    space: SpaceLike,
    cutoff: Real[ArrayLike, ""],
    *,
    skin: Real[ArrayLike, ""] | Literal["auto"] | None = None,
    tolerance: float = 0.0,
    select: Callable[[PyTree], jax.Array] | None = None,
    headroom: float = 1.25,
) -> NeighborLists:
    """Make a recipe for neighbor lists.

    Args:
        space: the space of the points. A particle space is searched by cells, in time proportional to the number of
            points; in any other space all pairs are compared.
        cutoff: largest distance at which pairs interact; length.
        skin: distance beyond the cutoff up to which pairs are listed, so that a list is valid until particles have
            moved by half of it; length. A larger skin makes lists live longer and forces slower. By default 12 % of
            the cutoff, or less where the box requires it; 0 for positions that do not move. With "auto", `run` measures
            the costs and chooses the best skin; the trajectory is unchanged up to round-off.
        tolerance: fraction of the pairs within the cutoff that a list may miss by the time it is rebuilt, estimated
            from the displacements; the missed pairs are the most distant ones. 0 by default. With 1e-4 a list lives
            two to three times as long.
        select: selects the points `[N, d]` from the position; by default the position is the points.
        headroom: ratio of the slots for neighbors to the number of neighbors at allocation. A larger one costs memory
            and hardly any time.

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
            f"space: expected the space of the points, got a tree of spaces {space!r}. Pass the space of the points, "
            "and select=lambda position: ... to select them from the position."
        )
    auto = isinstance(skin, str)
    if auto and skin != "auto":
        raise ValueError(f'skin: expected a number or "auto", got {skin!r}.')
    reach = check.number("cutoff", cutoff, "one length (without a cutoff use no list)", positive=True)
    beyond = check.number("skin", DEFAULT_SKIN * reach if skin is None or auto else skin, nonnegative=True)
    headroom = float(check.number("headroom", headroom))
    if not headroom >= 1:
        raise ValueError(f"headroom: must be at least 1, got {headroom}.")
    tolerance = float(check.number("tolerance", tolerance, "the fraction of the pairs that may be missed"))
    if not 0 <= tolerance <= _MOST_TOLERANCE:
        raise ValueError(
            f"tolerance: expected the fraction of the pairs that may be missed, from 0 to {_MOST_TOLERANCE}, got "
            f"{tolerance}."
        )
    if select is not None:
        check.function("select", select, "the position that returns the points [N, d]")
    return NeighborLists(
        space=free() if isinstance(space, Euclidean) else space,
        cutoff=reach,
        skin=beyond,
        headroom=headroom,
        fits=skin is None or auto,
        auto=auto,
        tolerance=tolerance,
        select=select,
    )
