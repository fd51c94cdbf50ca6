"""Andersen: collisions at random times sample the canonical ensemble, and redraw a whole point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import treedyn as td
from tests.dynamics.running import begin, harmonic, nothing, run
from treedyn.particles.space._space import free
from treedyn.testing import sigmas


@pytest.mark.slow
def test_points_collide_with_the_probability_of_the_rate():
    rate, h = 0.8, 0.5
    space = {"atoms": free(), "weights": td.euclidean()}
    position = {"atoms": jnp.zeros((4000, 3)), "weights": jnp.zeros((2000, 3))}
    dynamics = td.andersen(nothing, dt=h, kT=1.0, rate=rate, space=space)
    start = begin(dynamics, position)
    end = run(dynamics, start, 1)
    changed = jax.tree.map(lambda a, b: np.asarray(a != b), end.momentum, start.momentum)
    hit, miss = changed["atoms"].all(axis=1), ~changed["atoms"].any(axis=1)
    # a particle is hit as a whole, an element of any other leaf on its own
    assert np.all(hit | miss)
    assert not np.all(changed["weights"].all(axis=1) | ~changed["weights"].any(axis=1))
    expected = 1 - np.exp(-rate * h)
    for found in (hit, changed["weights"].ravel()):
        assert abs(sigmas(found, expected)) < 5
        assert abs(sigmas(found, rate * h)) > 5


def test_two_atoms_have_all_six_degrees_of_freedom():
    # collisions move the center of mass, so nothing is held
    mass, kT = jnp.array([1.0, 4.0]), 1.7
    dynamics = td.andersen(nothing, dt=0.2, kT=kT, rate=2.0, mass=jnp.tile(mass, 3000), space=free())
    start = begin(dynamics, jnp.zeros((6000, 3)), momentum=jnp.full((6000, 3), 0.1))
    end = run(dynamics, start, 40)
    energies = np.asarray(jnp.sum(end.momentum**2, axis=1)).reshape(3000, 2) / np.asarray(mass) / kT
    np.testing.assert_allclose(end.dof, 18_000)
    values = np.sum(energies, axis=1)
    assert scipy.stats.kstest(values, "chi2", args=(6,)).pvalue > 6e-7
    assert abs(sigmas(values, 6)) < 5
    assert abs(sigmas((values - 6) ** 2, 12)) < 5
    assert abs(sigmas(values, 5)) > 5


@pytest.mark.slow
def test_oscillators_have_gaussian_moments_of_the_shadow_energy():
    # velocity Verlet conserves p^2/2 + (1 - h^2/4) x^2/2, and collisions keep the momenta canonical
    h, kT = 1.0, 2.0
    dynamics = td.andersen(harmonic, dt=h, kT=kT, rate=0.5)
    end = run(dynamics, begin(dynamics, jnp.ones(20_000)), 60)
    x2, p2 = end.position**2, end.momentum**2
    assert abs(sigmas(x2, kT / (1 - h**2 / 4))) < 5
    assert abs(sigmas(x2, kT)) > 5
    assert abs(sigmas(x2**2, 3 * (kT / (1 - h**2 / 4)) ** 2)) < 5
    assert abs(sigmas(p2, kT)) < 5
    assert abs(sigmas(p2**2, 3 * kT**2)) < 5
    assert abs(sigmas(x2 * p2, kT**2 / (1 - h**2 / 4))) < 5


@pytest.mark.slow
def test_temperature_and_rate_by_leaf():
    kT, rate = {"a": 0.5, "b": 2.0}, {"a": 1.0, "b": 5.0}
    dynamics = td.andersen(nothing, dt=0.5, kT=kT, rate=rate, mass={"a": 1.0, "b": 3.0})
    end = run(dynamics, begin(dynamics, {"a": jnp.zeros(5000), "b": jnp.zeros(5000)}, kT=1.0), 30)
    assert abs(sigmas(end.momentum["a"] ** 2, 0.5)) < 5
    assert abs(sigmas(end.momentum["b"] ** 2 / 3, 2.0)) < 5


@pytest.mark.slow
def test_rate_zero_is_constant_energy():
    free_of_bath, nve = td.andersen(harmonic, dt=0.1, kT=1.0, rate=0.0), td.nve(harmonic, dt=0.1)
    start = begin(free_of_bath, jnp.ones(20_000))
    np.testing.assert_array_equal(
        run(free_of_bath, start, 10).position, run(nve, begin(nve, jnp.ones(20_000), kT=1.0), 10).position
    )
