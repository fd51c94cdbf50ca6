"""Structures go to ASE and back unchanged, and the methods of ASE run with energies of this library."""

import ase
import ase.build
import ase.calculators.fd as fd
import ase.calculators.lj as lj
import ase.constraints
import ase.md.langevin
import ase.md.verlet
import ase.optimize
import ase.units
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.filters import FrechetCellFilter

import treedyn as td
from treedyn import particles as tp
from treedyn.particles.io.ase import TreedynCalculator, from_ase, to_ase

pytestmark = pytest.mark.slow

SIGMA, EPSILON, CUTOFF = 3.4, 0.0104, 6.5


def argon(space, species):
    assert set(np.unique(species)) <= {18}
    return tp.pair_energy(tp.shifted(tp.lennard_jones(sigma=SIGMA, epsilon=EPSILON), CUTOFF), space)


def smooth(space, species):
    """Return an energy that depends on the species and is smooth enough for finite differences."""
    sigma = tp.by_species([[3.4, 3.5], [3.5, 3.65]], np.searchsorted([18, 36], species))
    return tp.pair_energy(tp.smooth(tp.lennard_jones(sigma=sigma, epsilon=0.0104), 5.0, CUTOFF), space)


def crystal(kind="cubic"):
    atoms = ase.build.bulk("Ar", "fcc", 5.3, cubic=True) * 3
    if kind != "cubic":
        atoms.set_cell(
            np.asarray(atoms.cell) @ (np.eye(3) + np.array([[0.02, 0.05, 0], [0, -0.01, 0.04], [0.03, 0, 0.01]])), True
        )
    if kind == "slab":
        atoms.pbc = (True, True, False)
    if kind == "cluster":
        atoms.pbc, atoms.cell = False, None
    atoms.rattle(0.1, seed=1)
    return atoms


def warm(atoms, kelvin):
    spread = np.sqrt(atoms.get_masses() * ase.units.kB * kelvin)[:, None]
    atoms.set_momenta(spread * np.random.default_rng(7).normal(size=atoms.positions.shape))


KINDS = pytest.mark.parametrize("kind", ["cubic", "triclinic", "slab", "cluster"])


@KINDS
def test_energy_forces_and_stress_equal_those_of_ase(kind):
    atoms = crystal(kind)
    atoms.calc = lj.LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    stress = None if kind == "cluster" else atoms.get_stress()
    atoms.calc = TreedynCalculator(argon, cutoff=CUTOFF)
    np.testing.assert_allclose(atoms.get_potential_energy(), energy, rtol=1e-12)
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-12)
    if stress is None:
        with pytest.raises(PropertyNotImplementedError, match="volume"):
            atoms.get_stress()
    else:
        np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-13)


@pytest.mark.parametrize("kind", ["triclinic", "cubic"])
def test_forces_and_stress_equal_finite_differences(kind):
    atoms = crystal(kind)
    atoms.numbers[::3] = 36
    atoms.calc = TreedynCalculator(smooth, cutoff=CUTOFF)
    some = [0, 5, 50]
    numerical = fd.calculate_numerical_forces(atoms, eps=1e-4, iatoms=some)
    np.testing.assert_allclose(atoms.get_forces()[some], numerical, atol=1e-8)
    np.testing.assert_allclose(atoms.get_stress(), fd.calculate_numerical_stress(atoms, eps=1e-5), atol=1e-9)


def test_without_a_cutoff_all_pairs_are_summed():
    atoms = crystal("cluster")
    atoms.calc = TreedynCalculator(argon)
    alone = atoms.get_potential_energy()
    atoms.calc = TreedynCalculator(argon, cutoff=CUTOFF)
    np.testing.assert_allclose(atoms.get_potential_energy(), alone, rtol=1e-12)


def test_list_follows_atoms_and_cell():
    atoms, fresh = crystal(), crystal()
    atoms.calc = TreedynCalculator(argon, cutoff=CUTOFF)
    reference = lj.LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF)
    random = np.random.default_rng(0)

    def compare():
        copy = atoms.copy()
        copy.calc = reference
        np.testing.assert_allclose(atoms.get_potential_energy(), copy.get_potential_energy(), rtol=1e-11)

    for step in range(4):
        atoms.positions += random.normal(scale=0.2, size=atoms.positions.shape)  # beyond the skin
        atoms.set_cell(np.asarray(atoms.cell) * (1.02 - 0.002 * step), scale_atoms=True)
        compare()
    atoms.set_cell(np.asarray(fresh.cell) * 0.86, scale_atoms=True)  # more neighbors than the list can hold
    atoms.positions += atoms.cell[0]  # outside of the cell
    compare()
    atoms.pbc = (True, True, False)
    compare()
    del atoms[[3, 7]]
    compare()


def test_fire_of_ase_relaxes_atoms_and_cell():
    atoms = crystal("triclinic")
    atoms.calc = TreedynCalculator(smooth, cutoff=CUTOFF)
    with ase.optimize.FIRE(FrechetCellFilter(atoms), logfile=None) as optimizer:
        assert optimizer.run(fmax=2e-4, steps=250)
    assert np.abs(atoms.get_forces()).max() < 2e-4
    assert np.abs(atoms.get_stress()).max() < 2e-4 / atoms.get_volume() * len(atoms)


def test_velocity_verlet_of_ase_conserves_energy_and_equals_nve():
    atoms = crystal()
    warm(atoms, 40.0)
    atoms.calc = TreedynCalculator(smooth, cutoff=CUTOFF)
    found = from_ase(atoms)
    before = atoms.get_total_energy()
    dt = 2 * ase.units.fs
    with ase.md.verlet.VelocityVerlet(atoms, dt) as dynamics:
        dynamics.run(50)
    assert abs(atoms.get_total_energy() - before) < 1e-4 * len(atoms) * EPSILON
    energy = smooth(found.space, np.asarray(found.species))
    ours = td.nve(energy, dt=dt, space=found.space, mass=found.mass)
    state = ours.init(jax.random.key(0), found.position, momentum=found.momentum)
    state = td.run(ours, state, steps=50).state
    away = found.space.displacement(state.position, jnp.asarray(atoms.positions))
    assert float(jnp.abs(away).max()) < 1e-10
    np.testing.assert_allclose(state.momentum, atoms.get_momenta(), atol=1e-10)


def test_langevin_of_ase_keeps_its_temperature():
    atoms = crystal()
    atoms.calc = TreedynCalculator(smooth, cutoff=CUTOFF)
    friction, kelvin, seen = 0.05 / ase.units.fs, 30.0, []
    random = np.random.default_rng(0)
    warm(atoms, kelvin)
    options = {"temperature_K": kelvin, "friction": friction, "rng": random, "fixcm": False}
    with ase.md.langevin.Langevin(atoms, 5 * ase.units.fs, **options) as dynamics:
        dynamics.attach(lambda: seen.append(atoms.get_temperature()))
        dynamics.run(300)
    # kinetic energies decorrelate in 1/(2 friction) = 2 steps: 4 standard errors of 300/4 samples of 3N numbers
    error = kelvin * np.sqrt(2 / (3 * len(atoms)) / (len(seen) / 4))
    assert abs(np.mean(seen) - kelvin) < 4 * error


def test_wrong_calculators_are_refused():
    atoms = crystal()
    atoms.calc = TreedynCalculator(argon, cutoff=9.0)
    with pytest.raises(ValueError, match="half of the smallest box height"):
        atoms.get_potential_energy()
    atoms.calc = TreedynCalculator(argon, cutoff=5.0)  # shorter than the range of the energy
    with pytest.raises((CalculationFailed, ValueError), match="cutoff"):
        atoms.get_potential_energy()
    atoms.calc = TreedynCalculator(argon, cutoff=CUTOFF)
    atoms.positions[1] = atoms.positions[0]
    for ask in (
        atoms.get_potential_energy,
        atoms.get_potential_energy,
        atoms.get_forces,
    ):  # again, although ASE keeps results
        with pytest.raises(CalculationFailed, match="on top of each other"):
            ask()
    atoms = crystal()
    atoms.calc = TreedynCalculator(lambda space, species: lambda position: jnp.sum(position**2))
    assert atoms.get_potential_energy() > 0
    with pytest.raises(ValueError, match="strain"):
        atoms.get_stress()
    with pytest.raises(ValueError, match="energy"):
        TreedynCalculator(1.0)
    with pytest.raises(ValueError, match="skin"):
        TreedynCalculator(argon, skin=1.0)


@KINDS
def test_structures_go_to_ase_and_come_back(kind):
    atoms = crystal(kind)
    atoms.numbers[::2] = 36
    atoms.set_masses(np.linspace(1, 2, len(atoms)))
    atoms.set_momenta(np.random.default_rng(0).normal(size=(len(atoms), 3)))
    found = from_ase(atoms)
    back = to_ase(found.position, found.space, species=found.species, mass=found.mass, momentum=found.momentum)
    assert back.get_chemical_symbols() == atoms.get_chemical_symbols() == found.symbols
    for name in ("positions", "momenta", "masses"):
        np.testing.assert_array_equal(back.arrays[name], atoms.arrays[name])
    assert np.array_equal(back.pbc, atoms.pbc) and np.array_equal(np.asarray(back.cell), np.asarray(atoms.cell))


def test_fractions_and_two_dimensions_become_points_in_space():
    fractional = tp.triclinic([[4.0, 0, 0], [1, 4, 0], [0, 1, 5]], fractional=True)
    atoms = to_ase(jnp.full((1, 3), 0.5), fractional)
    np.testing.assert_allclose(atoms.positions, [[2.5, 2.5, 2.5]])
    flat = to_ase(jnp.ones((4, 2)), tp.periodic([5.0, 6.0]), momentum=jnp.ones((4, 2)))
    assert flat.pbc.tolist() == [True, True, False] and flat.positions[0].tolist() == [1, 1, 0]
    assert flat.cell.lengths().tolist() == [5, 6, 1] and flat.get_momenta()[0].tolist() == [1, 1, 0]


def test_a_surface_without_a_third_vector_is_a_slab():
    surface = ase.build.fcc111("Ar", (2, 2, 2), a=5.3, orthogonal=True)
    surface.pbc, surface.cell[2] = (True, True, False), 0
    found = from_ase(surface)
    assert found.space.periodic_axes(3) == (True, True, False)
    surface.pbc = True
    with pytest.raises(ValueError, match="periodic axis"):
        from_ase(surface)
    with pytest.raises(ValueError, match="position"):
        to_ase(jnp.ones(3))


def test_fixed_atoms_stay_where_they_are_and_other_constraints_are_refused():
    atoms = crystal()
    warm(atoms, 40)
    atoms.set_constraint([ase.constraints.FixAtoms([0, 5]), ase.constraints.FixAtoms(mask=atoms.positions[:, 2] < 1)])
    fixed = np.union1d([0, 5], np.flatnonzero(atoms.positions[:, 2] < 1))
    found = from_ase(atoms)
    assert np.array_equal(np.flatnonzero(np.isinf(found.mass)), fixed) and not np.any(found.momentum[fixed])
    energy = tp.pair_energy(tp.shifted(tp.lennard_jones(sigma=SIGMA, epsilon=EPSILON), CUTOFF), found.space)
    dynamics = td.nve(energy, dt=0.1, mass=found.mass, space=found.space)
    end = td.run(dynamics, dynamics.init(jax.random.key(0), found.position, momentum=found.momentum), steps=20).state
    moved = np.asarray(found.space.distance(end.position, found.position)) > 1e-12
    assert np.array_equal(np.flatnonzero(~moved), fixed)
    again = to_ase(found.position, found.space, species=found.species, mass=found.mass, momentum=found.momentum)
    assert np.array_equal(again.constraints[0].index, fixed)
    np.testing.assert_allclose(again.get_masses(), atoms.get_masses())
    atoms.set_constraint(ase.constraints.FixBondLength(0, 1))
    with pytest.raises(ValueError, match="expected FixAtoms as the only kind of constraint, got FixBondLengths"):
        from_ase(atoms)
