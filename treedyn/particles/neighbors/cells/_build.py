"""The build of a neighbor list: `mark` sorts points into rows and marks near pairs, `write` writes the neighbors.

The two steps are compiled separately, because the first one tells the sizes of the second.
"""

from functools import partial

import jax
import jax.numpy as jnp

from treedyn._status import Status, word
from treedyn._struct import Struct
from treedyn.particles.neighbors.cells._cells import Grid, sort_by_cell, to_real
from treedyn.particles.neighbors.cells._masks import Room, Tiles, Words, compare, cut, read_out
from treedyn.particles.space._space import Free, ParticleSpace, separation
from treedyn.particles.sums._kernel import rows_for
from treedyn.space import Space


class Rows(Struct):
    """The order of the particles.

    Attributes:
        order: the particle in every row, `int32[R]`; rows from N on are padding.
        rank: the row of every particle, `int32[N]`.
        tiles: the division of rows into tiles.
    """

    order: jax.Array
    rank: jax.Array
    tiles: Tiles


@partial(jax.jit, static_argnames="room")
def mark(grid: Grid, room: Room, space: Space, position: jax.Array, reach: jax.Array) -> tuple[Rows, Words, jax.Array]:
    """Sort points `[N, d]` into rows, mark pairs up to the distance `reach`, and return both with a status word."""
    cell, points = grid.locate(space, position)
    order = sort_by_cell(cell, grid.size)
    row = jnp.arange(len(order), dtype=jnp.int32)
    rank = jnp.zeros_like(row).at[order].set(row, unique_indices=True)
    tiles = cut(cell[order], grid.size, room)
    points = tuple(x[order] for x in points)
    if isinstance(space, ParticleSpace) and not grid.wraps:
        # the cells determine the image, so distances need no search for it
        words = compare(grid, tiles, room, points, reach, Free().separation, partial(to_real, space))
    else:
        words = compare(grid, tiles, room, points, reach, partial(separation, space), None)
    status = (
        word(Status.OVERFLOW, ~words.fits)
        | word(Status.BOX, ~grid.allows(space, reach))
        | word(Status.NONFINITE, ~jnp.all(jnp.isfinite(position)))
    )
    order = jnp.pad(order, (0, rows_for(len(order)) - len(order)))
    return Rows(order=order, rank=rank, tiles=tiles), words, status


write = jax.jit(read_out, static_argnames=("room", "capacity"))
