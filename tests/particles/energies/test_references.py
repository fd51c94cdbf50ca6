"""Published numbers: NIST, LAMMPS, and the Lennard-Jones crystals at zero temperature."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import mostly_slow
from tests.particles.lists import hand_made
from treedyn.particles.analysis._stress import pressure, virial
from treedyn.particles.energies._bonds import bond_energy
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._potentials import lennard_jones
from treedyn.particles.energies._tail import long_range_correction
from treedyn.particles.energies._truncation import cut, force_shifted
from treedyn.particles.space._lattice import bcc, fcc, hcp
from treedyn.particles.space._space import free, periodic

NIST = Path(__file__).parent / "data" / "nist_lennard_jones_4.txt"


@pytest.mark.parametrize("listed", mostly_slow([False, True], True))
@pytest.mark.parametrize(
    ("u", "energy", "trace", "correction", "digits"),
    [
        (cut(lennard_jones(), 3.0), -16.790321, -46.249, -0.5451660, (6, 3, 7)),
        (cut(lennard_jones(), 4.0), -17.060, -47.869, -0.23008, (3, 3, 5)),
        (force_shifted(lennard_jones(), 3.0), -15.001, -43.096, None, (3, 3, 0)),
    ],
    ids=["cut at 3", "cut at 4", "force-shifted at 3"],
)
def test_energy_virial_and_correction_are_those_of_nist(u, energy, trace, correction, digits, listed):
    """NIST Standard Reference Simulation Website, Lennard-Jones reference configuration 4."""
    position = jnp.asarray(np.loadtxt(NIST, skiprows=2, usecols=(1, 2, 3)))
    box = 8.0
    of_pairs = pair_energy(u, periodic(box))
    env = hand_made(position, box, u.cutoff) if listed else None
    np.testing.assert_allclose(of_pairs(position, env), energy, rtol=0, atol=0.6 * 10.0 ** -digits[0])
    np.testing.assert_allclose(jnp.trace(virial(of_pairs, position, env)), trace, rtol=0, atol=0.6 * 10.0 ** -digits[1])
    if correction is not None:
        tail = 30 * long_range_correction(u, 30 / box**3).energy
        np.testing.assert_allclose(tail, correction, rtol=0, atol=0.6 * 10.0 ** -digits[2])


def test_energy_and_pressure_of_the_starting_crystal_are_those_of_lammps():
    """LAMMPS, bench/in.lj, step 0: 32,000 atoms, cut at 2.5, temperature 1.44 of N - 1 particles' worth of motion."""
    crystal = fcc(20, density=0.8442)
    count = crystal.position.shape[0]
    energy = pair_energy(cut(lennard_jones(), 2.5), crystal.space)
    neighbors = hand_made(crystal.position, np.asarray(crystal.box), 2.5)
    np.testing.assert_allclose(energy(crystal.position, neighbors) / count, -6.7733681, rtol=0, atol=0.6e-7)
    momentum = np.random.default_rng(0).normal(size=(count, 3))
    momentum -= momentum.mean(axis=0)
    momentum *= np.sqrt(3 * (count - 1) * 1.44 / np.sum(momentum**2))
    total = pressure(energy, crystal.position, neighbors, space=crystal.space, momentum=jnp.asarray(momentum), mass=1.0)
    np.testing.assert_allclose(total, -5.0197073, rtol=0, atol=0.6e-7)


def environment(make, distance, reach):
    """Return the sites of a crystal within `reach` of one of them, that one first, and its density."""
    unit = make(1, lattice_constant=1.0)
    nearest = {fcc: np.sqrt(0.5), bcc: np.sqrt(0.75), hcp: 1.0}[make]
    scale = distance / nearest
    repeats = 2 * np.ceil(reach / (scale * np.asarray(unit.box))).astype(int) + 1
    crystal = make(tuple(int(n) for n in repeats), lattice_constant=scale)
    position = np.asarray(crystal.position)
    centre = position[np.argmin(np.sum((position - np.asarray(crystal.box) / 2) ** 2, axis=1))]
    delta = position - centre
    square = np.sum(delta**2, axis=1)
    delta = delta[(square > 0) & (square < reach**2)]
    return jnp.asarray(np.concatenate([np.zeros((1, 3)), delta])), float(crystal.density)


def site_energy(make, distance, reach=24.0):
    """Return the energy per particle as a function of strain, the density, and the tail beyond the sum."""
    position, density = environment(make, distance, reach)
    bonds = np.stack([np.zeros(len(position) - 1, int), np.arange(1, len(position))], axis=1)
    energy = bond_energy(lennard_jones(), bonds, free())
    beyond = cut(lennard_jones(), reach)

    def of_strain(strain):
        return energy(position, strain=strain) / 2

    return of_strain, density, long_range_correction(beyond, density).energy


@pytest.mark.parametrize(
    ("make", "distance", "expected"),
    mostly_slow([(fcc, 1.090173, -8.610200), (hcp, 1.090167, -8.611070), (bcc, 1.068432, -8.237292)]),
)
def test_crystals_have_their_energy_at_zero_temperature(make, distance, expected):
    """With the lattice sums L of r^-6 and r^-12: -L6^2 / (2 L12), at rest at the distance (2 L12 / L6)^(1/6)."""
    energy, _, tail = site_energy(make, distance)
    np.testing.assert_allclose(energy(None) + tail, expected, rtol=0, atol=2.5e-6)


def test_elastic_constants_of_the_crystal_are_second_derivatives_with_respect_to_strain():
    energy, density, _ = site_energy(fcc, 1.090173)
    second = density * jax.jit(jax.jacfwd(jax.grad(energy)))(jnp.zeros((3, 3)))
    c11, c12, c44 = (second[i, j, k, m] for i, j, k, m in ((0, 0, 0, 0), (0, 0, 1, 1), (0, 1, 0, 1)))
    # the part beyond the sum has a relative size of 1e-4
    np.testing.assert_allclose([c11, c12, c44], [105.182, 60.187, 60.187], rtol=1e-4)
