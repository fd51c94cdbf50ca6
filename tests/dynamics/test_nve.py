"""Constant-energy dynamics: conserved quantities, order, reversibility and volume."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.dynamics.running import begin, harmonic
from treedyn.testing import convergence_order, log_volume, reversal_error


def anharmonic(x):
    """Return the energy of two coupled leaves of different shapes (Hénon-Heiles and a pendulum)."""
    a, b = x["xy"]
    return (a**2 + b**2) / 2 + a**2 * b - b**3 / 3 - jnp.cos(x["angle"] - a)


START = {"xy": jnp.array([0.3, -0.2]), "angle": jnp.array(0.7)}
MOMENTUM = {"xy": jnp.array([0.1, 0.25]), "angle": jnp.array(-0.4)}
MASS = {"xy": jnp.array([1.0, 2.0]), "angle": 0.7}


def anharmonic_nve(dt, order=2):
    return td.nve(anharmonic, dt, mass=MASS, order=order)


def start(dynamics):
    return begin(dynamics, START, momentum=MOMENTUM)


@partial(jax.jit, static_argnames=("steps", "record"))
def _series(dynamics, state, steps, record):
    return td.trajectory(dynamics, state, steps=steps, record=partial(record, dynamics)).records


def series(dynamics, state, steps, record):
    """Return `record(dynamics, state)` after every step; `[steps, ...]`."""
    return np.asarray(_series(dynamics, state, steps, record))


def energy(dynamics, state):
    return dynamics.conserved(state)


def test_velocity_verlet_conserves_its_shadow_hamiltonian_to_round_off():
    h = 0.5
    dynamics = td.nve(harmonic, dt=h)
    state = begin(dynamics, jnp.array([1.0]), momentum=jnp.array([0.3]))

    def shadow(dynamics, state):
        return jnp.sum(state.momentum**2) / 2 + (1 - h**2 / 4) * jnp.sum(state.position**2) / 2

    np.testing.assert_allclose(series(dynamics, state, 2000, shadow), 0.3**2 / 2 + (1 - h**2 / 4) / 2, rtol=1e-12)
    # the energy itself is off by a multiple of h^2
    assert np.ptp(series(dynamics, state, 100, energy)) > h**2 / 10


@pytest.mark.parametrize(("order", "dts"), [(2, (0.1, 0.05, 0.025)), (4, (0.1, 0.05, 0.025))])
def test_order_of_convergence_is_that_of_the_name(order, dts):
    found = convergence_order(lambda dt: anharmonic_nve(dt, order), start, time=4.0, dts=dts)
    np.testing.assert_allclose(found, order, atol=0.1)


def test_a_sequence_that_is_not_a_palindrome_is_of_first_order():
    def lopsided(dt):
        A, B = td.operators.drift(td.euclidean()), td.operators.kick()
        return td.compose(anharmonic, (A, B), dt, mass=MASS)

    np.testing.assert_allclose(convergence_order(lopsided, start, time=4.0, dts=(0.05, 0.025, 0.0125)), 1, atol=0.1)


@pytest.mark.parametrize("order", [2, 4])
def test_trajectory_is_reversible_to_round_off(order):
    dynamics = anharmonic_nve(0.2, order)
    assert reversal_error(dynamics, start(dynamics), steps=200) < 1e-10


@pytest.mark.parametrize("order", [2, 4])
def test_volume_of_phase_space_is_preserved(order):
    dynamics = anharmonic_nve(0.5, order)
    assert abs(log_volume(dynamics, start(dynamics))) < 1e-13


def test_friction_shrinks_volume_by_its_rate():
    gamma, h = 0.7, 0.3
    dynamics = td.langevin(anharmonic, dt=h, kT=1.0, gamma=gamma, mass=MASS)
    np.testing.assert_allclose(log_volume(dynamics, start(dynamics)), -3 * gamma * h, rtol=1e-12)


def test_kepler_orbit_keeps_energy_and_angular_momentum():
    eccentricity, steps, orbits = 0.5, 100, 100
    dt = 2 * np.pi / steps
    dynamics = td.nve(lambda x: -1 / jnp.linalg.norm(x), dt)
    state = begin(
        dynamics,
        jnp.array([1 - eccentricity, 0.0]),
        momentum=jnp.array([0.0, np.sqrt((1 + eccentricity) / (1 - eccentricity))]),
    )

    def energy_and_spin(dynamics, state):
        (x, y), (p, q) = state.position, state.momentum
        return jnp.stack([dynamics.conserved(state), x * q - y * p])

    total, spin = series(dynamics, state, steps * orbits, energy_and_spin).T
    np.testing.assert_allclose(spin, np.sqrt(1 - eccentricity**2), rtol=1e-11)
    error = np.abs(total + 0.5).reshape(orbits, steps).max(axis=1)
    assert error[-1] < 1.2 * error[0]


def test_infinite_mass_does_not_move():
    dynamics = td.nve(lambda x: jnp.sum((x[0] - x[1]) ** 2), dt=0.1, mass=jnp.array([jnp.inf, 1.0]))
    state = begin(dynamics, jnp.array([[0.0, 0.0], [1.0, 0.0]]), kT=1.0)
    assert td.degrees_of_freedom(state) == 2
    np.testing.assert_array_equal(state.momentum[0], 0)
    end = jax.jit(lambda s: td.trajectory(dynamics, s, steps=50).state)(state)
    np.testing.assert_array_equal(end.position[0], 0)
    assert np.all(end.position[1] != state.position[1])
    np.testing.assert_allclose(dynamics.conserved(end), dynamics.conserved(state), rtol=0.02)
    assert int(end.status) == 0
