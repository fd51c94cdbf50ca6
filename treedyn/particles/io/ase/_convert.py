"""Structures from and to ASE.

The units of ASE are angstrom, electronvolt and atomic mass units. Numbers are not converted, so a simulation of a
structure from ASE has these units, and its unit of time is 1 Å (u/eV)^(1/2) = 10.18 fs.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int, Real

from treedyn import _check as check
from treedyn._extras import require
from treedyn._struct import Struct
from treedyn.particles.io._content import check_space, in_space, make_space, masses
from treedyn.particles.io._species import SYMBOLS, Species, atomic_numbers
from treedyn.particles.space._space import ParticleSpace, Triclinic


class Structure(Struct):
    """A structure from ASE, with all that a simulation needs.

    Attributes:
        position: positions; Å.
        space: the box.
        species: atomic numbers.
        mass: masses, infinite for atoms that are fixed; u.
        momentum: momenta; u Å / (ASE's unit of time).
    """

    position: Float[jax.Array, "particles 3"]
    space: ParticleSpace
    species: Int[jax.Array, " particles"]
    mass: Float[jax.Array, " particles"]
    momentum: Float[jax.Array, "particles 3"]

    @property
    def symbols(self) -> list[str]:
        """Return the chemical symbol of every particle."""
        return SYMBOLS[np.asarray(self.species)].tolist()


def from_ase(atoms: Any) -> Structure:
    """Convert a structure from ASE. Atoms fixed by `ase.constraints.FixAtoms` have an infinite mass.

    Args:
        atoms: `ase.Atoms`.

    Returns:
        Position, space, species, mass and momentum, in the default precision of JAX.

    Raises:
        ValueError: the structure is periodic along a lattice vector that it does not have, or has other constraints.

    Example:
        >>> import ase.build
        >>> from treedyn.particles.io.ase import from_ase
        >>> argon = from_ase(ase.build.bulk("Ar", "fcc", 5.26, cubic=True))
        >>> print(argon.symbols, argon.space.box)
        ['Ar', 'Ar', 'Ar', 'Ar'] [5.26 5.26 5.26]
    """
    check.instance("atoms", atoms, require("ase", "ase").Atoms, "a structure of ASE, ase.Atoms")
    kind, fixed = jnp.result_type(float), _fixed(atoms)
    return Structure(
        position=jnp.asarray(atoms.get_positions(), kind),
        space=space_of(atoms),
        species=jnp.asarray(atoms.get_atomic_numbers(), jnp.int32),
        mass=jnp.asarray(np.where(fixed, np.inf, atoms.get_masses()), kind),
        momentum=jnp.asarray(np.where(fixed[:, None], 0, atoms.get_momenta()), kind),
    )


def to_ase(
    position: Real[ArrayLike, "particles dimensions"],
    space: ParticleSpace | None = None,
    *,
    species: Species = None,
    mass: Real[ArrayLike, "*particles"] | None = None,
    momentum: Real[ArrayLike, "particles dimensions"] | None = None,
) -> Any:
    """Convert a structure to ASE.

    Args:
        position: positions in two or three dimensions, in the units of the space; two dimensions are the plane z = 0.
        space: the box; open space by default. Positions in a fractional space are fractions.
        species: chemical symbols or atomic numbers, one for all or one each; X by default.
        mass: one mass for all or one each; by default those of the elements. Atoms of infinite mass become fixed.
        momentum: momenta, of the shape of the position.

    Returns:
        `ase.Atoms`.

    Raises:
        ValueError: an argument has a wrong shape or value.
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
        raise ValueError(f"position: expected points [N, 3] or [N, 2], got shape {x.shape}")
    count, dimension = x.shape
    cell = space.cell(dimension)
    if isinstance(space, Triclinic) and space.is_fractional:
        x = x @ np.asarray(space.matrix, np.float64)
    full = np.diag([0.0, 0.0, 1.0 if dimension == 2 and cell is not None else 0.0])
    if cell is not None:
        full[:dimension, :dimension] = cell
    given = masses(mass, count)
    fixed = np.zeros(count, bool) if given is None else np.isinf(given)
    return ase.Atoms(
        numbers=atomic_numbers(species, count),
        positions=in_space(x),
        cell=full,
        pbc=(*space.periodic_axes(dimension), False)[:3],
        masses=None if given is None else [m if np.isfinite(m) else None for m in given],
        constraint=require("ase.constraints", "ase").FixAtoms(mask=fixed) if np.any(fixed) else None,
        momenta=None if momentum is None else in_space(_like(momentum, x)),
    )


def space_of(atoms: Any) -> ParticleSpace:
    """Return the box of a structure of ASE."""
    cell, axes = np.asarray(atoms.cell), np.asarray(atoms.pbc)
    if np.any(axes & ~cell.any(axis=1)):
        raise ValueError(
            f"atoms: expected a lattice vector for every periodic axis, got pbc={axes.tolist()} and the cell\n{cell}\n"
            "Give it a cell, or no pbc."
        )
    # missing lattice vectors become unit vectors orthogonal to the others
    return make_space(np.asarray(atoms.cell.complete()), axes)


def _fixed(atoms: Any) -> np.ndarray:
    """Return which atoms are fixed; refuse every other constraint."""
    fixed, constraint = np.zeros(len(atoms), bool), require("ase.constraints", "ase").FixAtoms
    for one in atoms.constraints:
        if not isinstance(one, constraint):
            raise ValueError(
                f"atoms: expected FixAtoms as the only kind of constraint, got {type(one).__name__}. Remove it by "
                "atoms.set_constraint(), and put it into the energy or the dynamics."
            )
        fixed[one.get_indices()] = True
    return fixed


def _like(momentum: ArrayLike, position: np.ndarray) -> np.ndarray:
    given = check.reals("momentum", momentum, "one vector per particle", (2,))
    if given.shape != position.shape:
        raise ValueError(f"momentum: expected shape {position.shape}, like the position, got {given.shape}")
    return given
