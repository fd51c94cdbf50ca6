"""What the host decides before a neighbor list is compiled: whether the request is valid, and all sizes.

Sizes are measured: the points are counted per cell, then per pair. Extra room covers changes while particles move. If
it is not enough, the status word reports it and the list is allocated again.
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
from treedyn.tree import PyTree

# Candidates for the width of a tile, and the measured cost of a word in addition to its comparisons, in units of one
# comparison. Widths that are not a multiple of the vector length of the processor are slow.
_LANES = (4, 8, 16, 24, 32)
_WORD_COST = 32
# The number of slots is a multiple of those that a sum processes at once: few different shapes, so few compilations.
_MULTIPLE = 8


def check_known(values: dict[str, PyTree]) -> None:
    """Refuse arguments, given by name, with traced numbers."""
    for name, value in values.items():
        if any(tree.known(leaf) is None for leaf in jax.tree.leaves(value)):
            raise ValueError(
                f"{name}: the sizes of a neighbor list depend on its numbers, which are not known inside jit, vmap or "
                "grad. Call allocate outside, and env.update(position) or env.rebuild(position) inside."
            )


def check_points(points: Any) -> jax.Array:
    """Return the points as an array; refuse anything but finite floating-point numbers `[N, d]`."""
    if not hasattr(points, "shape") or not hasattr(points, "dtype"):
        raise ValueError(
            f"position: expected an array of points [N, d], got {type(points).__name__}. If the points are a part of "
            "the position, select them with neighbor_list(..., select=lambda position: ...)."
        )
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f"position: expected points of shape [N, d] with N, d > 0, got shape {points.shape}.")
    if not jnp.issubdtype(points.dtype, jnp.floating):
        raise ValueError(f"position: expected floating-point numbers, got {points.dtype}. Use position.astype(float).")
    points = jnp.asarray(points)
    bad = np.flatnonzero(~np.isfinite(np.asarray(points)).all(axis=1))
    if len(bad):
        raise ValueError(
            f"position: {len(bad)} of {len(points)} points are NaN or infinite, the first of them number {bad[0]}. "
            "Minimize the start configuration, or reduce dt if this happened during a simulation."
        )
    return points


def check_skin(space: Space, cutoff: float, skin: float, points: jax.Array, fits: bool) -> float:
    """Return the skin, made smaller if it `fits` itself to the box; refuse a box that is too small for it.

    The skin has to fit into half the box, too. A pair is listed by its nearest image; beyond half a height another,
    unlisted image may be equally near and could come within the cutoff unnoticed.
    """
    dimension = points.shape[1]
    if not isinstance(space, ParticleSpace):
        return skin
    shapes = {leaf.shape for leaf in map(jnp.asarray, jax.tree.leaves(space)) if leaf.ndim}
    if any(n != dimension for shape in shapes for n in shape):
        raise ValueError(
            f"position: the points have {dimension} coordinates, but the box has shape {next(iter(shapes))}. Give "
            "points and box the same number of dimensions."
        )
    check_cutoff(space, cutoff, dimension)
    most = max(largest_skin(space, cutoff, points), 0.0)
    if fits:
        return min(skin, most)
    if skin > most + 4 * float(jnp.finfo(points.dtype).eps) * cutoff:
        raise ValueError(
            "skin: cutoff + skin must stay within half of the smallest box height. With a cutoff of "
            f"{cutoff:.6g} in this box the skin can be at most {most:.6g}, got {skin:.6g}. Pass a smaller skin, use a "
            "larger box, or replicate the cell."
        )
    return skin


def largest_skin(space: Space, cutoff: float, points: jax.Array) -> float:
    """Return the largest skin that the box allows; infinity without a box."""
    if not isinstance(space, ParticleSpace):
        return math.inf
    dimension = points.shape[1]
    periodic = space.periodic_axes(dimension)
    height = [float(h) for h, p in zip(heights(space, points, dimension), periodic, strict=True) if p]
    return min(height, default=math.inf) / 2 - cutoff


def measure_room(grid: Grid, space: Space, points: jax.Array, least: Room | None) -> Room:
    """Return sizes for these points with some room to spare, and not smaller than `least`."""
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
            f"position: {len(points)} points at this density need more than 2^31 words, the limit of 32-bit indices. "
            "Use a smaller cutoff, or divide the system."
        )
    return room


@jax.jit
def _survey(grid: Grid, space: Space, points: jax.Array) -> jax.Array:
    cell, _ = grid.locate(space, points)
    return jnp.zeros(grid.size, jnp.int32).at[cell].add(1)


def _room(count: np.ndarray, adjacent: np.ndarray, lanes: int) -> Room:
    number = -(-count // lanes)
    # at most all full tiles and one partial tile per cell
    limit = min(count.size, int(count.sum())) + int(count.sum()) // lanes
    around = np.append(number, 0)[adjacent].sum(axis=0)[number > 0].max()
    tiles, around = int(number.sum()), int(around)
    # while every cell is one tile, few more are expected, and 32 flags fit one word
    most = min(_more(around), 32) if count.max() <= lanes else _more(around)
    return Room(lanes=lanes, tiles=min(_more(tiles), limit), around=min(most, limit))


def _more(n: int) -> int:
    # counts fluctuate by less than their square root
    return n + max(n // 16, 2 * math.isqrt(n)) + 4


def _grown(needed: int, room: int) -> int:
    # A size that overflowed once keeps growing, and every new size recompiles, so it grows in large steps. Up to 32
    # tiles around a cell take one word of flags; one more would double it.
    if needed <= room:
        return room
    grown = needed + needed // 4
    return min(grown, 32) if needed <= 32 else grown


def choose_capacity(neighbors: int, points: int, headroom: float, least: int) -> int:
    """Return the slots per row for `headroom` times as many neighbors; `least` is kept if it is enough."""
    wanted = max(min(int(np.ceil(neighbors * headroom)), points - 1), 1)
    return least if neighbors <= least > 0 else -(-wanted // _MULTIPLE) * _MULTIPLE


def larger_capacity(capacity: int, points: int) -> int:
    """Return twice as many slots, but not more than there are other points."""
    return max(capacity, min(2 * capacity, -(-points // _MULTIPLE) * _MULTIPLE))
