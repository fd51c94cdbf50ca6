"""What the host has to decide before a neighbor list can be compiled: is the request sound, and how large is it all.

Sizes are measured, never guessed: the points are counted cell by cell, then pair by pair. The room left above that
covers what changes while particles move; where it does not, the status word says so and the list is allocated again.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn.particles.neighbors.cells._cells import Grid, heights
from treedyn.particles.neighbors.cells._masks import Room
from treedyn.particles.space._space import ParticleSpace, check_cutoff
from treedyn.space import Space

# Widths of a tile to choose from, and what a word costs besides the comparisons that it is made of, in comparisons:
# measured. Widths that are no multiple of the vectors of the processor are slow.
_LANES = (4, 8, 16, 24, 32)
_WORD_COST = 32
# Slots come in multiples of what a sum takes at a time: few different shapes, for each of which all is compiled anew.
_MULTIPLE = 8


def check_known(values: dict[str, Any]) -> None:
    """Refuse to go on inside of a transformation.

    Args:
        values: arguments by their names.

    Raises:
        ValueError: a number in one of them is not known yet.
    """
    for name, value in values.items():
        if any(tree.known(leaf) is None for leaf in jax.tree.leaves(value)):
            raise ValueError(
                f"{name}: the sizes of a neighbor list depend on its numbers, which are not known inside jit, vmap or "
                "grad; call allocate outside, and env.update(position) or env.rebuild(position) inside"
            )


def check_points(points: Any) -> jax.Array:
    """Return the points as an array, or refuse them.

    Raises:
        ValueError: they are no floating-point array `[N, d]`, or not finite.
    """
    if not hasattr(points, "shape") or not hasattr(points, "dtype"):
        raise ValueError(
            f"position: expected an array of points [N, d], got {type(points).__name__}; where the points are a part "
            "of the position, pick them out with neighbor_list(..., select=lambda position: ...)"
        )
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"position: expected points of shape [N, d] with N, d > 0, got shape {points.shape}")
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(f"position: expected floating-point numbers, got {points.dtype}; use position.astype(float)")
    points = jnp.asarray(points)
    bad = np.flatnonzero(~np.isfinite(np.asarray(points)).all(axis=1))
    if len(bad):
        raise ValueError(
            f"position: {len(bad)} of {len(points)} points are NaN or infinite, the first of them number {bad[0]}; "
            "minimize the start configuration, or reduce dt if they became so in a simulation"
        )
    return points


def check_reach(space: Space, cutoff: Any, skin: Any, points: jax.Array) -> float:
    """Return the distance up to which pairs are listed, or refuse it.

    The skin, too, has to fit into half of the box. A pair is listed by its nearest image; beyond half a height another
    image, not listed, may be as near, and could come within the cutoff unseen.

    Raises:
        ValueError: the box does not fit the points, or does not allow cutoff and skin.
    """
    dimension = points.shape[1]
    if not isinstance(space, ParticleSpace):
        return float(cutoff) + float(skin)
    shapes = {leaf.shape for leaf in map(jnp.asarray, jax.tree.leaves(space)) if leaf.ndim}
    if any(n != dimension for shape in shapes for n in shape):
        raise ValueError(
            f"position: the points have {dimension} coordinates, but the box has shape {next(iter(shapes))}; give "
            "points and box the same number of dimensions"
        )
    check_cutoff(space, cutoff, dimension)
    most = largest_skin(space, float(cutoff), points)
    allowance = 4 * float(jnp.finfo(points.dtype).eps) * float(cutoff)
    if float(skin) > most + allowance:
        raise ValueError(
            "skin: cutoff + skin must stay within half of the smallest box height: with a cutoff of "
            f"{float(cutoff):.6g} in this box the skin can be at most {max(most, 0):.6g}, got {float(skin):.6g}. Pass "
            "a smaller skin, use a larger box, or replicate the cell"
        )
    return float(cutoff) + float(skin)


def largest_skin(space: Space, cutoff: float, points: jax.Array) -> float:
    """Return the largest skin that the box allows; infinity where there is no box."""
    if not isinstance(space, ParticleSpace):
        return math.inf
    dimension = points.shape[1]
    periodic = space.periodic_axes(dimension)
    height = [float(h) for h, p in zip(heights(space, points, dimension), periodic, strict=True) if p]
    return min(height, default=math.inf) / 2 - cutoff


def measure_room(grid: Grid, space: Space, points: jax.Array, least: Room | None) -> Room:
    """Return the sizes that are needed for these points and some more, and at least `least`."""
    count, adjacent = np.asarray(_survey(grid, space, points)), np.asarray(grid.adjacent)
    full = next((lanes for lanes in _LANES if lanes >= count.max()), _LANES[-1])
    rooms = [_room(count, adjacent, lanes) for lanes in _LANES if lanes <= full]
    room = min(rooms, key=lambda r: r.tiles * r.around * r.lanes * (r.lanes + _WORD_COST))
    if least is not None:
        if room.lanes < least.lanes:
            room = _room(count, adjacent, least.lanes)
        room = Room(lanes=room.lanes, tiles=_grown(room.tiles, least.tiles), around=_grown(room.around, least.around))
    if max(len(points), room.around * room.tiles * room.lanes) >= 2**31:
        raise ValueError(
            f"position: {len(points)} points at this density need more than 2^31 words, the most that 32-bit indices "
            "reach; use a smaller cutoff, or divide the system"
        )
    return room


@jax.jit
def _survey(grid: Grid, space: Space, points: jax.Array) -> jax.Array:
    cell, _ = grid.locate(space, points)
    return jnp.zeros(grid.size, jnp.int32).at[cell].add(1)


def _room(count: np.ndarray, adjacent: np.ndarray, lanes: int) -> Room:
    number = -(-count // lanes)
    # never more than full tiles and one begun in every cell
    limit = min(count.size, int(count.sum())) + int(count.sum()) // lanes
    around = np.append(number, 0)[adjacent].sum(axis=0)[number > 0].max()
    tiles, around = int(number.sum()), int(around)
    # As long as every cell is one tile, few more are to be expected, and 32 flags fit one word.
    most = min(_more(around), 32) if count.max() <= lanes else _more(around)
    return Room(lanes=lanes, tiles=min(_more(tiles), limit), around=min(most, limit))


def _more(n: int) -> int:
    # what is counted fluctuates by less than its square root
    return n + max(n // 16, 2 * math.isqrt(n)) + 4


def _grown(needed: int, room: int) -> int:
    # What overflowed once is growing: every new size compiles anew, so it grows by a good part at a time. Up to 32
    # tiles around a cell are one word of flags, which one more would double.
    if needed <= room:
        return room
    grown = needed + needed // 4
    return min(grown, 32) if needed <= 32 else grown


def choose_capacity(neighbors: int, points: int, headroom: float, least: int) -> int:
    """Return the number of slots of a row.

    Args:
        neighbors: the largest number of neighbors that was found.
        points: number of points.
        headroom: how many times that there is to be room for.
        least: what there was before, 0 for nothing; kept as long as it is enough.
    """
    wanted = max(min(int(np.ceil(neighbors * headroom)), points - 1), 1)
    return least if neighbors <= least > 0 else -(-wanted // _MULTIPLE) * _MULTIPLE


def larger_capacity(capacity: int, points: int) -> int:
    """Return twice as many slots, but not more than there are others."""
    return max(capacity, min(2 * capacity, -(-points // _MULTIPLE) * _MULTIPLE))


def larger_room(room: Room) -> Room:
    """Return twice as large sizes of the intermediate arrays."""
    return Room(lanes=room.lanes, tiles=2 * room.tiles, around=2 * room.around)


__all__ = ["check_known", "check_points", "check_reach", "choose_capacity", "larger_capacity", "larger_room"]
__all__ += ["largest_skin", "measure_room"]
