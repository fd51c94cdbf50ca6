"""Cells: a grid of points, so that neighbors are searched nearby only.

The grid divides fractional coordinates, so the same code serves open, rectangular and triclinic boxes of any dimension.
A cell is at least `reach` wide between opposite faces, so two points within `reach` of each other are in the same or in
adjacent cells. Along an open axis the grid covers the extent of the points when it was made, and points outside it
belong to the border cells. This is correct because clamping is monotone and never moves two points to more distant
cells.

A periodic axis has one cell or at least three. Two cells would be neighbors on both sides, and every pair would be
compared twice.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from treedyn._struct import Struct, static
from treedyn.particles.space._space import Components, ParticleSpace, Periodic, Triclinic, product, unstack
from treedyn.space import Space


class Grid(Struct):
    """A division of space into cells.

    Attributes:
        low: lower end of the grid along every axis, in fractional coordinates, `[d]`.
        extent: length of the grid along every axis, in fractional coordinates, `[d]`; 1 along periodic axes.
        adjacent: the cells around every cell, itself included, `int32[s, cells]`; the number of cells means "no cell".
        images: the periodic image in which each adjacent cell is seen, -1, 0 or 1, `int8[d, s, cells]`.
        counts: number of cells along every axis.
        periodic: which axes repeat.
    """

    low: jax.Array
    extent: jax.Array
    adjacent: jax.Array
    images: jax.Array
    counts: tuple[int, ...] = static()
    periodic: tuple[bool, ...] = static()

    @property
    def size(self) -> int:
        """Return the number of cells."""
        return math.prod(self.counts)

    @property
    def wraps(self) -> bool:
        """Return whether a periodic axis has a single cell, so that cells do not determine the image."""
        return any(n == 1 for n, periodic in zip(self.counts, self.periodic, strict=True) if periodic)

    def locate(self, space: Space, position: jax.Array) -> tuple[jax.Array, Components]:
        """Return the cell of every point, `int32[N]`, and the coordinates in which adjacent cells are compared.

        These are real coordinates inside the box, to which `images` must be added. If the grid `wraps`, they are the
        coordinates of the space, and distances must be computed in the space.
        """
        if not isinstance(space, ParticleSpace):
            return jnp.zeros(position.shape[:1], jnp.int32), unstack(position)
        # on accelerators, a matrix product of lower precision could put a point into the wrong cell
        with jax.default_matmul_precision("highest"):
            fraction = unstack(space.fractional(position))
        image = tuple(jnp.floor(f) if p else jnp.zeros_like(f) for f, p in zip(fraction, self.periodic, strict=True))
        inside = tuple(f - i for f, i in zip(fraction, image, strict=True))
        cell = jnp.zeros(position.shape[:1], jnp.int32)
        for x, low, extent, n in zip(inside, unstack(self.low), unstack(self.extent), self.counts, strict=True):
            place = jnp.floor((x - low) / extent * n)
            # NaN gets a valid index; the status word reports it
            place = jnp.where(jnp.isnan(place), 0, jnp.clip(place, 0, n - 1))
            cell = cell * n + place.astype(jnp.int32)
        if self.wraps:
            return cell, unstack(position)
        if isinstance(space, Triclinic) and space.is_fractional:
            return cell, to_real(space, inside)
        periods = to_real(space, image)
        return cell, tuple(x - shift for x, shift in zip(unstack(position), periods, strict=True))

    def allows(self, space: Space, reach: jax.Array) -> jax.Array:
        """Return whether the cells are at least `reach` wide and `reach` is at most half the current box."""
        if not isinstance(space, ParticleSpace):
            return jnp.asarray(True)
        height = heights(space, reach, len(self.counts))
        allowed = jnp.ones((), bool)
        for h, extent, n, periodic in zip(height, unstack(self.extent), self.counts, self.periodic, strict=True):
            if n > 1:
                allowed &= h * extent >= n * reach * (1 + 4 * n * float(jnp.finfo(reach.dtype).eps))
            if periodic:
                allowed &= reach <= h / 2 * (1 + 8 * float(jnp.finfo(reach.dtype).eps))
        return allowed


def make_grid(space: Space, position: jax.Array, reach: float) -> Grid:
    """Return the finest grid whose cells are `reach` wide, with at most as many cells as known points `[N, d]`.

    A space that is not a particle space gets a single cell.
    """
    number, dimension = position.shape
    low, span = np.zeros(dimension), np.ones(dimension)
    if not isinstance(space, ParticleSpace):
        counts, periodic = np.ones(dimension, int), (False,) * dimension
    else:
        periodic = space.periodic_axes(dimension)
        fraction = np.asarray(space.fractional(position), float)
        is_open = ~np.array(periodic)
        low[is_open] = fraction.min(axis=0)[is_open]
        span[is_open] = fraction.max(axis=0)[is_open] - low[is_open]
        length = span * np.array([float(h) for h in heights(space, position, dimension)])
        # The cells are wider by the rounding error of a coordinate as large as the box, so that rounding cannot put two
        # points within `reach` into cells that are not adjacent.
        ratio = length / reach
        counts = np.floor(ratio / (1 + 32 * float(jnp.finfo(position.dtype).eps) * ratio))
        counts = np.clip(counts, 1, number).astype(int)
        # a fourth axis is not divided: the directions around a cell must fit the bits of one word
        counts[3:] = 1
        counts = _coarsen(counts, np.array(periodic), number)
    counts = tuple(int(n) for n in counts)
    adjacent, images = _surroundings(counts, periodic)
    return Grid(
        low=jnp.asarray(low, position.dtype),
        extent=jnp.asarray(np.where(span > 0, span, 1), position.dtype),
        adjacent=jnp.asarray(adjacent),
        images=jnp.asarray(images),
        counts=counts,
        periodic=periodic,
    )


def _surroundings(counts: tuple[int, ...], periodic: tuple[bool, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the cells around every cell and the images in which they are seen, without repetitions."""
    places = np.stack(np.unravel_index(np.arange(math.prod(counts), dtype=np.int32), counts))
    offsets = np.array(list(itertools.product(*((0,) if n == 1 else (-1, 0, 1) for n in counts))), np.int32)
    index, exists, images = np.int32(0), True, []
    for place, offset, n, repeats in zip(places, offsets.T, counts, periodic, strict=True):
        place = place.astype(np.int32) + offset[:, None]
        image = place // n
        images.append(image.astype(np.int8) * repeats)
        exists = exists & (repeats | (image == 0))
        index = index * n + place % n
    return np.where(exists, index, math.prod(counts)).astype(np.int32), np.stack(images)


def _coarsen(counts: np.ndarray, periodic: np.ndarray, most: int) -> np.ndarray:
    counts = np.where(periodic & (counts < 3), 1, counts)
    while np.prod(counts.astype(float)) > most:
        axis = int(np.argmax(counts))
        counts[axis] = counts[axis] // 2
        counts = np.where(periodic & (counts < 3), 1, counts)
    return counts


def heights(space: ParticleSpace, like: jax.Array, dimension: int) -> Components:
    """Return the distances between opposite faces of the cell, along open axes too, in the dtype of `like`."""
    if isinstance(space, Periodic):
        return space.sides(like, dimension)
    cell = space.cell(dimension)
    if cell is None:
        return unstack(jnp.ones(dimension, like.dtype))
    return unstack((1 / jnp.linalg.norm(jnp.linalg.inv(cell), axis=0)).astype(like.dtype))


def to_real(space: ParticleSpace, multiples: Components) -> Components:
    """Return sums of lattice vectors, `multiples @ cell`, component by component."""
    cell = space.cell(len(multiples))
    return multiples if cell is None else product(multiples, cell.astype(multiples[0].dtype))


def sort_by_cell(cell: jax.Array, cells: int) -> jax.Array:
    """Return the points sorted by cell and then by number, `int32[N]`, from the cell of every point, `int32[N]`.

    Sorting one packed integer (cell << bits | point) is several times faster than sorting keys with values. If cell and
    point do not fit one integer, the digits of the cell are sorted one after the other, least significant first.
    """
    number = cell.shape[0]
    bits = max(number - 1, 0).bit_length()
    digit = 32 - bits
    index = jnp.arange(number, dtype=jnp.uint32)
    order = index
    for shift in range(0, max((cells - 1).bit_length(), 1), digit):
        part = (cell.astype(jnp.uint32) >> shift) & jnp.uint32((1 << digit) - 1)
        part = part if shift == 0 else part[order]
        place = jax.lax.sort((part << bits) | index, is_stable=False) & jnp.uint32((1 << bits) - 1)
        order = place if shift == 0 else order[place]
    return order.astype(jnp.int32)
