"""The long-range correction of a homogeneous fluid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from treedyn.particles.energies._parameters import by_species
from treedyn.particles.energies._potentials import lennard_jones, morse
from treedyn.particles.energies._tail import long_range_correction
from treedyn.particles.energies._truncation import cut


@pytest.mark.parametrize("cutoff", [1.5, 2.5, 4.0])
def test_correction_of_lennard_jones_is_the_textbook_one(cutoff):
    epsilon, sigma, density = 1.3, 0.9, 0.7
    correction = long_range_correction(cut(lennard_jones(epsilon, sigma), cutoff), density)
    x = (sigma / cutoff) ** 3
    energy = 8 / 3 * np.pi * density * epsilon * sigma**3 * (x**3 / 3 - x)
    pressure = 32 / 9 * np.pi * density**2 * epsilon * sigma**3 * (x**3 - 1.5 * x)
    np.testing.assert_allclose([correction.energy, correction.pressure], [energy, pressure], rtol=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize(
    "u", [morse(1.0, 2.0, 1.2), lambda r: jnp.exp(-r) / r, lambda r: r**-3.5], ids=["morse", "yukawa", "slow"]
)
def test_correction_is_the_integral_for_any_decaying_potential(u, dimension):
    surface = {1: 2, 2: 2 * np.pi, 3: 4 * np.pi}[dimension]
    slope = jax.jit(jax.grad(u))
    energy, _ = quad(lambda r: float(u(r)) * r ** (dimension - 1), 2.0, np.inf, limit=200)
    outward, _ = quad(lambda r: float(slope(r)) * r**dimension, 2.0, np.inf, limit=200)
    expected = [0.5 * 0.5 * surface * energy, -(0.5**2) / (2 * dimension) * surface * outward]
    correction = long_range_correction(cut(u, 2.0), 0.5, dimension)
    np.testing.assert_allclose([correction.energy, correction.pressure], expected, rtol=1e-6, atol=1e-9)


def test_pressure_is_the_volume_derivative_of_the_energy():
    u, count = cut(lennard_jones(), 2.5), 100
    # P = -dU/dV for U = N e(N/V), plus the surface term of a sharp cutoff, which the convention omits
    volume = 150.0
    slope = jax.jit(jax.grad(lambda v: count * long_range_correction(u, count / v).energy))(volume)
    density = count / volume
    surface = 2 * np.pi / 3 * density**2 * 2.5**3 * lennard_jones()(2.5)
    np.testing.assert_allclose(long_range_correction(u, density).pressure, -slope + surface, rtol=1e-12)


def test_single_precision_is_enough():
    u = cut(lennard_jones(), jnp.float32(2.5))
    correction = jax.jit(long_range_correction)(u, jnp.float32(0.8))
    reference = long_range_correction(cut(lennard_jones(), 2.5), 0.8)
    assert correction.energy.dtype == correction.pressure.dtype == jnp.float32
    np.testing.assert_allclose(correction.energy, reference.energy, rtol=1e-5)
    np.testing.assert_allclose(correction.pressure, reference.pressure, rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda u: long_range_correction(u, jnp.float32(0.8)).energy))(u)
    assert all(jnp.isfinite(x) for x in jax.tree.leaves(gradient))


def test_potentials_without_a_correction_are_refused():
    with pytest.raises(ValueError, match="u: expected the same numbers for all pairs"):
        long_range_correction(cut(lennard_jones(by_species([[1.0]], [0])), 2.5), 0.5)
    with pytest.raises(ValueError, match="u: expected a potential that decays"):
        long_range_correction(cut(lambda r: r**-3.0, 2.5), 0.5)
    assert jnp.isnan(jax.jit(lambda n: long_range_correction(cut(lambda r: r**-n, 2.5), 0.5).energy)(3.0))
