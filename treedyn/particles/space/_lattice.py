"""Crystals to start from, each built from the smallest rectangular cell that repeats."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from treedyn import _check as check
from treedyn._struct import Struct
from treedyn.particles.space._space import Periodic, periodic

Repeats = int | Sequence[int]
Number = Real[ArrayLike, ""]


class Lattice(Struct):
    """A crystal in a periodic box.

    The functions that build one (`sc`, `bcc`, `fcc`, `diamond`, `hcp`, `hexagonal`) all take the same arguments:

    - `repeats`: number of cells along every axis, one integer or one per axis;
    - `lattice_constant`: edge of the cubic cell; for `hcp` and `hexagonal` the distance of nearest neighbors;
    - `density`: particles per volume (per area in two dimensions), instead of the lattice constant.

    They raise a `ValueError` if both or neither of the last two are given, or if a number is not positive.

    Attributes:
        position: the sites, inside the box.
        box: side lengths.
    """

    position: Float[Array, "particles dimensions"]
    box: Float[Array, "dimensions"]

    @property
    def space(self) -> Periodic:
        """Return the periodic space of the box."""
        return periodic(self.box)

    @property
    def density(self) -> Float[Array, ""]:
        """Return the number of particles per volume."""
        return self.position.shape[0] / jnp.prod(self.box)


_FCC = ((0, 0, 0), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0))
_QUARTER = tuple(tuple(x + 0.25 for x in site) for site in _FCC)


def sc(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a simple cubic crystal: one particle per cubic cell.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.sc(3, lattice_constant=1.5).position.shape
        (27, 3)
    """
    return _crystal(((0, 0, 0),), (1, 1, 1), repeats, lattice_constant, density)


def bcc(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a body-centered cubic crystal: two particles per cubic cell.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.bcc((2, 2, 3), density=1.0).position.shape
        (24, 3)
    """
    return _crystal(((0, 0, 0), (0.5, 0.5, 0.5)), (1, 1, 1), repeats, lattice_constant, density)


def fcc(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a face-centered cubic crystal: four particles per cubic cell.

    Nearest neighbors are 1/sqrt(2) lattice constants apart.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> lattice = tp.fcc(20, density=0.8442)
        >>> print(lattice.position.shape, f"{lattice.box[0]:.4f}")
        (32000, 3) 33.5919
    """
    return _crystal(_FCC, (1, 1, 1), repeats, lattice_constant, density)


def diamond(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a diamond crystal: eight particles per cubic cell, four neighbors each.

    Nearest neighbors are sqrt(3)/4 lattice constants apart.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.diamond(2, lattice_constant=5.43).position.shape
        (64, 3)
    """
    return _crystal(_FCC + _QUARTER, (1, 1, 1), repeats, lattice_constant, density)


def hcp(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a hexagonal close-packed crystal with ideal c/a: four particles per cell.

    The rectangular cell measures 1 by sqrt(3) by sqrt(8/3) lattice constants.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.hcp((5, 3, 3), lattice_constant=1.09).position.shape
        (180, 3)
    """
    sites = ((0, 0, 0), (0.5, 0.5, 0), (0.5, 5 / 6, 0.5), (0, 1 / 3, 0.5))
    return _crystal(sites, (1, math.sqrt(3), math.sqrt(8 / 3)), repeats, lattice_constant, density)


def hexagonal(repeats: Repeats, *, lattice_constant: Number | None = None, density: Number | None = None) -> Lattice:
    """Build a two-dimensional hexagonal (triangular) crystal: two particles per cell.

    The rectangular cell measures 1 by sqrt(3) lattice constants.

    The arguments are described at `Lattice`.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.hexagonal((10, 6), lattice_constant=1.0).position.shape
        (120, 2)
    """
    return _crystal(((0, 0), (0.5, 0.5)), (1, math.sqrt(3)), repeats, lattice_constant, density)


def _crystal(
    sites: Sequence[Sequence[float]],
    shape: Sequence[float],
    repeats: Repeats,
    lattice_constant: Number | None,
    density: Number | None,
) -> Lattice:
    """Repeat a rectangular cell whose edges are `shape` lattice constants, with sites in units of the edges."""
    dimension = len(shape)
    wanted = f"one positive integer, or {dimension} of them"
    counts = np.asarray(check.array("repeats", repeats, wanted, (0, 1), positive=True))
    if counts.shape not in ((), (dimension,)) or counts.dtype.kind not in "iu":
        raise ValueError(f"repeats: expected {wanted}, got {repeats!r}.")
    if (lattice_constant is None) == (density is None):
        raise ValueError("lattice_constant, density: expected one of the two. Pass lattice_constant=... or density=...")
    name, given = ("density", density) if lattice_constant is None else ("lattice_constant", lattice_constant)
    given = check.number(name, given, positive=True)
    if lattice_constant is None:
        given = (len(sites) / (math.prod(shape) * given)) ** (1 / dimension)
    counts = np.broadcast_to(counts, (dimension,))
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 1, dimension)
    edge = np.asarray(shape)
    points = ((cells + np.asarray(sites)) * edge).reshape(-1, dimension)
    scale = jnp.asarray(given, dtype=jnp.result_type(float))
    position, box = (scale * jnp.asarray(x, scale.dtype) for x in (points, counts * edge))
    return Lattice(position=position, box=box)
