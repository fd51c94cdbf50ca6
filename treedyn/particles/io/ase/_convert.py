"""Structures from ASE and to it.

ASE measures in angstrom, electronvolt and atomic mass units; numbers are passed on as they are, so a simulation of a
structure from ASE has these units, and its unit of time is 1 Å (u/eV)^(1/2) = 10.18 fs (`1 / ase.units.fs` of them).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn._struct import Struct
from treedyn.particles.io._content import check_space, make_space, masses
from treedyn.particles.io._species import atomic_numbers, symbols
from treedyn.particles.space._space import ParticleSpace, Triclinic


class Structure(Struct):
    """Hold what a simulation needs of a structure.

    Attributes:
        position: `[N, 3]`; Å.
        space: the box.
        species: atomic numbers, `int32[N]`.
        mass: `[N]`; u.
        momentum: `[N, 3]`; u Å / (ASE's unit of time).
    """

    position: jax.Array
    space: ParticleSpace
    species: jax.Array
    mass: jax.Array
    momentum: jax.Array

    @property
    def symbols(self) -> list[str]:
        """Return the chemical symbol of every particle."""
        return symbols(np.asarray(self.species))


def from_ase(atoms: Any) -> Structure:
    """Take a structure over from ASE.

    Args:
        atoms: `ase.Atoms`.

    Returns:
        Position, space, species, mass and momentum, in the default precision of JAX.

    Raises:
        ValueError: the structure repeats along a lattice vector that it does not have.

    Example:
        >>> import ase.build
        >>> from treedyn.particles.io.ase import from_ase
        >>> argon = from_ase(ase.build.bulk("Ar", "fcc", 5.26, cubic=True))
        >>> print(argon.symbols, argon.space.box)
        ['Ar', 'Ar', 'Ar', 'Ar'] [5.26 5.26 5.26]
    """
    check.instance("atoms", atoms, require("ase", "ase").Atoms, "a structure of ASE, ase.Atoms")
    kind = jnp.result_type(float)
    return Structure(
        position=jnp.asarray(atoms.get_positions(), kind),
        space=space_of(atoms),
        species=jnp.asarray(atoms.get_atomic_numbers(), jnp.int32),
        mass=jnp.asarray(atoms.get_masses(), kind),
        momentum=jnp.asarray(atoms.get_momenta(), kind),
    )


def to_ase(
    position: Any,
    space: Any = None,
    *,
    species: Any = None,
    mass: Any = None,
    momentum: Any = None,
) -> Any:
    """Hand a structure over to ASE.

    Args:
        position: `[N, 3]`, or `[N, 2]`, which lies in the plane z = 0; in the units of the space.
        space: the box; open space by default. A simulation that keeps fractions of the cell has its own space here.
        species: chemical symbols or atomic numbers, one for all or one each; X by default.
        mass: one for all or one each; by default that of the elements.
        momentum: like the position.

    Returns:
        `ase.Atoms`.

    Raises:
        ValueError: something does not fit.
        ImportError: ase is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> from treedyn.particles.io.ase import to_ase
        >>> print(to_ase(jnp.ones((2, 3)), tp.periodic(5.0), species="Ar").get_chemical_formula())
        Ar2
    """
    ase = require("ase", "ase")
    space, x = check_space(space), check.array("position", position, "points [N, 3] or [N, 2]", (2,), finite=False)
    x = np.asarray(x, np.float64)
    if x.shape[1] not in (2, 3):
        raise ValueError(f"position: expected [N, 3] or [N, 2], got shape {x.shape}")
    count, dimension = x.shape
    cell = space.cell(dimension)
    if isinstance(space, Triclinic) and space.is_fractional:
        x = x @ np.asarray(space.matrix, np.float64)
    full = np.diag([0.0, 0.0, 1.0 if dimension == 2 and cell is not None else 0.0])
    if cell is not None:
        full[:dimension, :dimension] = cell
    return ase.Atoms(
        numbers=atomic_numbers(species, count),
        positions=_three(x),
        cell=full,
        pbc=(*space.periodic_axes(dimension), False)[:3],
        masses=None if mass is None else masses(mass, count),
        momenta=None if momentum is None else _three(_like(momentum, x)),
    )


def space_of(atoms: Any) -> ParticleSpace:
    """Return the box of a structure of ASE.

    Raises:
        ValueError: the structure repeats along a lattice vector that it does not have.
    """
    cell, axes = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    if np.any(axes & ~cell.any(axis=1)):
        raise ValueError(f"atoms: repeats along {axes.tolist()}, has the cell\n{cell}\ngive it a cell, or no pbc")
    # lattice vectors that are not there become unit vectors at right angles to the others
    return make_space(np.asarray(atoms.cell.complete()), axes)


def _like(momentum: Any, position: np.ndarray) -> np.ndarray:
    given = check.reals("momentum", momentum, "one vector per particle", (2,))
    if given.shape != position.shape:
        raise ValueError(f"momentum: expected shape {position.shape}, like the position, got {given.shape}")
    return given


def _three(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 3 - x.shape[1])))
