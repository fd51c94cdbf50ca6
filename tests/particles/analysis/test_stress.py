"""Virial, stress and pressure from derivatives with respect to strain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.particles.lists import hand_made, scattered
from treedyn.particles.analysis._radial import radial_distribution
from treedyn.particles.analysis._stress import pressure, stress, virial
from treedyn.particles.energies._bonds import bond_energy
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._potentials import harmonic, lennard_jones
from treedyn.particles.energies._truncation import force_shifted, shifted, smooth
from treedyn.particles.space._space import free, periodic, triclinic

BOX = 6.0
U = force_shifted(lennard_jones(), 2.5)
POSITION = scattered(20, 3, BOX)
ENERGY = pair_energy(U, periodic(BOX))


def test_virial_is_the_sum_over_pairs_of_force_times_distance():
    i, j = np.triu_indices(20, 1)
    delta = np.asarray(POSITION)[i] - np.asarray(POSITION)[j]
    delta = delta - BOX * np.round(delta / BOX)
    r = np.linalg.norm(delta, axis=1)
    slope = jax.jit(jax.vmap(jax.grad(U)))(r)
    expected = -np.einsum("p,pa,pb->ab", slope / r, delta, delta)
    np.testing.assert_allclose(virial(ENERGY, POSITION), expected, rtol=1e-11)
    np.testing.assert_allclose(virial(ENERGY, POSITION, hand_made(POSITION, BOX, 2.5)), expected, rtol=1e-11)


def test_pressure_is_minus_the_derivative_of_the_energy_with_respect_to_volume():
    def of_volume(volume):
        side = volume ** (1 / 3)
        return pair_energy(U, periodic(side))(POSITION * side / BOX)

    expected = -jax.jit(jax.grad(of_volume))(BOX**3)
    np.testing.assert_allclose(pressure(ENERGY, POSITION, space=periodic(BOX)), expected, rtol=1e-11)
    assert expected > 0


@pytest.mark.slow
def test_stress_is_the_derivative_with_respect_to_the_cell_in_fractional_coordinates():
    cell = jnp.array([[6.0, 0.0, 0.0], [1.0, 6.2, 0.0], [-0.5, 1.2, 5.8]])
    fraction = jnp.asarray(np.asarray(POSITION) @ np.linalg.inv(cell))

    def strained(strain):
        return pair_energy(U, triclinic(cell @ (jnp.eye(3) + strain).T, fractional=True))(fraction)

    expected = jax.jit(jax.grad(strained))(jnp.zeros((3, 3))) / np.linalg.det(cell)
    space = triclinic(cell)
    np.testing.assert_allclose(stress(pair_energy(U, space), POSITION, space=space), expected, atol=1e-12)


@pytest.mark.slow
def test_stress_and_forces_are_those_of_ase():
    ase = pytest.importorskip("ase")
    calculator = pytest.importorskip("ase.calculators.lj")
    cell = np.array([[6.0, 0.0, 0.0], [1.0, 6.2, 0.0], [-0.5, 1.2, 5.8]])
    for switched in (False, True):
        atoms = ase.Atoms(f"Ar{len(POSITION)}", positions=np.asarray(POSITION), cell=cell, pbc=True)
        atoms.calc = calculator.LennardJones(epsilon=1.3, sigma=0.95, rc=2.5, ro=2.0, smooth=switched)
        u = lennard_jones(1.3, 0.95)
        space = triclinic(cell)
        energy = pair_energy(smooth(u, 2.0, 2.5) if switched else shifted(u, 2.5), space)
        value, gradient = jax.value_and_grad(energy)(POSITION)
        scale = np.max(np.abs(atoms.get_forces()))
        np.testing.assert_allclose(value, atoms.get_potential_energy(), rtol=1e-11)
        np.testing.assert_allclose(-gradient / scale, atoms.get_forces() / scale, atol=1e-12)
        expected = atoms.get_stress(voigt=False)
        np.testing.assert_allclose(stress(energy, POSITION, space=space), expected, rtol=1e-9, atol=1e-9)


def test_stress_of_an_ideal_gas_is_that_of_its_momenta():
    rng = np.random.default_rng(0)
    momentum, mass = jnp.asarray(rng.normal(size=(20, 3))), jnp.asarray(rng.uniform(1, 2, 20))
    gas = pair_energy(lambda r: 0 * r, free())
    expected = -np.einsum("ia,ib,i->ab", momentum, momentum, 1 / np.asarray(mass)) / 10.0
    np.testing.assert_allclose(stress(gas, POSITION, volume=10.0, momentum=momentum, mass=mass), expected, rtol=1e-12)
    kinetic = np.sum(np.asarray(momentum) ** 2 / (2 * np.asarray(mass)[:, None]))
    actual = pressure(gas, POSITION, volume=10.0, momentum=momentum, mass=mass)
    np.testing.assert_allclose(actual, 2 * kinetic / (3 * 10.0), rtol=1e-12)


def test_a_sum_of_energies_has_the_sum_of_their_stresses():
    bonds = bond_energy(harmonic(30.0, 1.0), [[0, 1], [1, 2], [5, 9]], periodic(BOX))

    def both(position, env=None, *, strain=None):
        return ENERGY(position, env, strain=strain) + bonds(position, strain=strain)

    def alone(position, *, strain):
        return bonds(position, strain=strain)

    neighbors = hand_made(POSITION, BOX, 2.5)
    expected = virial(ENERGY, POSITION) + virial(alone, POSITION)
    np.testing.assert_allclose(virial(both, POSITION, neighbors), expected, rtol=1e-11)


def test_a_box_and_a_volume_together_are_refused():
    with pytest.raises(ValueError, match="space, volume: expected one of the two"):
        pressure(ENERGY, POSITION, space=periodic(BOX), volume=1.0)


@pytest.mark.parametrize("space", [periodic(8.0, axes=[True, True, False]), free()])
def test_pressure_and_density_of_an_open_space_need_a_volume(space):
    energy, position = pair_energy(lambda r: 1 / r**2, free()), jnp.asarray(np.eye(3))
    with pytest.raises(ValueError, match="volume: expected a space that repeats along every axis"):
        pressure(energy, position, space=space)
    with pytest.raises(ValueError, match="volume: expected a space that repeats along every axis"):
        radial_distribution(space, bins=4, cutoff=1.0, select=lambda x: x).init(position)
    assert pressure(energy, position, volume=2.0) == 2 * pressure(energy, position, volume=4.0)
