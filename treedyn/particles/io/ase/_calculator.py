"""An energy as a calculator of ASE, for its optimizers and dynamics.

Energies are not converted. For the thermostats, pressures and time steps of ASE, an energy has to be in electronvolt
and angstrom.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn._target import call
from treedyn.particles.analysis._stress import virial
from treedyn.particles.io.ase._convert import space_of
from treedyn.particles.neighbors._list import NeighborList
from treedyn.particles.neighbors._spec import neighbor_list
from treedyn.particles.space._space import ParticleSpace

_calculator = require("ase.calculators.calculator", "ase")
Make = Callable[[ParticleSpace, np.ndarray], Callable[..., jax.Array]]


class TreedynCalculator(_calculator.Calculator):
    """A calculator of energy, forces and stress of `ase.Atoms` from an energy of this library.

    The box and the species are those of the atoms, also if they change. The neighbor list is rebuilt when atoms have
    moved too far, and allocated again when it has overflowed or the cell has changed too much.

    The signs and the order of the stress are those of ASE: positive under tension, `xx, yy, zz, yz, xz, xy`.

    Reference: A. H. Larsen et al., J. Phys.: Condens. Matter 29, 273002 (2017),
    [doi:10.1088/1361-648X/aa680e](https://doi.org/10.1088/1361-648X/aa680e)

    Example:
        >>> import ase.build
        >>> from treedyn import particles as tp
        >>> from treedyn.particles.io.ase import TreedynCalculator
        >>> u = tp.shifted(tp.lennard_jones(sigma=3.4, epsilon=0.0104), cutoff=8.5)
        >>> atoms = ase.build.bulk("Ar", "fcc", 5.26, cubic=True) * 4
        >>> atoms.calc = TreedynCalculator(lambda space, species: tp.pair_energy(u, space), cutoff=8.5)
        >>> print(f"{atoms.get_potential_energy() / len(atoms):.4f}")
        -0.0776
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress"]

    def __init__(self, energy: Make, *, cutoff: float | None = None, skin: float | None = None) -> None:
        """Make a calculator.

        Args:
            energy: `energy(space, species)` returns a function of `(position)` or `(position, env)` with a scalar
                result. It needs the keyword `strain=`, which the energies of the library have, only for the stress.
                `space` is the box, `species` the atomic numbers, `[N]`.
            cutoff: the cutoff of the neighbor list that the energy gets as `env`; without it `env` is `None`.
            skin: the skin of the neighbor list; by default 12 % of the cutoff, or less if the box is too small for it.

        Raises:
            ValueError: `energy` is not a function of two arguments, or a number is out of range.
        """
        super().__init__()
        check.function("energy", energy, "(space, species) that returns an energy", 2)
        if cutoff is None and skin is not None:
            raise ValueError("skin: there is no neighbor list without a cutoff. Pass cutoff=.")
        cutoff = None if cutoff is None else check.number("cutoff", cutoff, positive=True)
        skin = None if skin is None else check.number("skin", skin, nonnegative=True)
        self._energy, self._cutoff, self._skin = energy, cutoff, skin
        self._species: np.ndarray | None = None
        self._value: Any = None
        self._virial: Any = None
        self._list: NeighborList | None = None
        self._update = jax.jit(NeighborList.update)

    def calculate(
        self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = _calculator.all_changes
    ) -> None:
        """Compute the properties that ASE asks for."""
        super().calculate(atoms, properties, system_changes)
        atoms = self.atoms
        space, position = space_of(atoms), jnp.asarray(atoms.get_positions(), jnp.result_type(float))
        self._compile(atoms.get_atomic_numbers())
        env = None if self._cutoff is None else self._neighbors(space, position, self._cutoff)
        energy, gradient = self._value(space, position, env)
        # ASE returns what is in results without asking again, so NaN is never kept
        self.results = {}
        results = {"energy": float(energy), "free_energy": float(energy), "forces": -np.asarray(gradient)}
        if "stress" in properties:
            results["stress"] = self._stress(space, position, env)
        if bad := [name for name, x in results.items() if not np.all(np.isfinite(x))]:
            raise _calculator.CalculationFailed(
                f"{' and '.join(bad)}: NaN or infinite. Atoms may be on top of each other, or the energy may have a "
                f"larger range than the neighbor list, cutoff={self._cutoff}."
            )
        self.results = results

    def _compile(self, species: np.ndarray) -> None:
        """Compile for these species, which are constants for the energy."""
        if self._species is not None and np.array_equal(species, self._species):
            return
        self._species, self._list = np.array(species), None

        def value(space: ParticleSpace, position: jax.Array, env: Any) -> tuple[jax.Array, jax.Array]:
            energy = self._energy(space, np.array(species))
            return jax.value_and_grad(lambda x: call(energy, x, env))(position)

        def tensor(space: ParticleSpace, position: jax.Array, env: Any) -> jax.Array:
            return virial(self._energy(space, np.array(species)), position, env)

        self._value, self._virial = jax.jit(value), jax.jit(tensor)

    def _stress(self, space: ParticleSpace, position: jax.Array, env: Any) -> np.ndarray:
        if self.atoms.cell.rank < 3:
            raise _calculator.PropertyNotImplementedError("stress: the cell has no volume. Give it three vectors.")
        stress = -np.asarray(self._virial(space, position, env)) / self.atoms.get_volume()
        return stress[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]

    def _neighbors(self, space: ParticleSpace, position: jax.Array, cutoff: float) -> NeighborList:
        """Return a valid neighbor list of these atoms."""
        old, found = self._list, None
        same = old is not None and jax.tree.structure(old.space) == jax.tree.structure(space)
        if old is not None and same and old.reference.shape == position.shape:
            found = self._update(old, position, space=space)
        if found is None or int(found.status) != 0:
            found = neighbor_list(space, cutoff, skin=self._skin).allocate(position)
        self._list = found
        return found
