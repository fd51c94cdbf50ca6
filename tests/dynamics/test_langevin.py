"""Langevin and Brownian dynamics: equilibrium of anharmonic systems, and numbers that differ between leaves."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import treedyn as td
from tests.dynamics.running import begin, nothing, run
from treedyn import operators as to
from treedyn.testing import sigmas

COUNT = 20_000


def double_well(x):
    """Return the energy of a lopsided double well in every element; all elements are replicas."""
    return jnp.sum(x**4 / 4 - x**2 / 2 + x / 4)


def exact_moment(power, kT):
    def weight(x):
        return np.exp(-(x**4 / 4 - x**2 / 2 + x / 4) / kT)

    return scipy.integrate.quad(lambda x: x**power * weight(x), -8, 8)[0] / scipy.integrate.quad(weight, -8, 8)[0]


def assert_samples_the_double_well(dynamics, steps, kT, wrong):
    end = run(dynamics, begin(dynamics, jnp.zeros(COUNT)), steps)
    assert int(end.status) == 0
    for power in (1, 2, 4):
        assert abs(sigmas(end.position**power, exact_moment(power, kT))) < 5
        assert abs(sigmas(end.position**power, exact_moment(power, wrong))) > 5


@pytest.mark.parametrize(("splitting", "dt"), [("BAOAB", 0.2), pytest.param("BAOA", 0.1, marks=pytest.mark.slow)])
def test_langevin_samples_a_double_well(splitting, dt):
    dynamics = td.langevin(double_well, dt=dt, kT=0.8, gamma=1.0, splitting=splitting)
    assert_samples_the_double_well(dynamics, round(40 / dt), kT=0.8, wrong=0.5)


@pytest.mark.slow
def test_brownian_samples_a_double_well():
    assert_samples_the_double_well(td.brownian(double_well, dt=0.02, kT=0.8, gamma=1.0), 1000, 0.8, wrong=0.5)


def test_brownian_motion_diffuses_at_the_einstein_rate():
    mass, gamma, kT, h, steps = 2.0, 0.5, 0.3, 0.1, 50
    dynamics = td.brownian(nothing, dt=h, kT=kT, gamma=gamma, mass=mass, method="euler_maruyama")
    end = run(dynamics, begin(dynamics, jnp.zeros(COUNT)), steps)
    assert abs(sigmas(end.position**2, 2 * kT / (mass * gamma) * h * steps)) < 5


@pytest.mark.slow
def test_no_friction_is_velocity_verlet():
    langevin, nve = td.langevin(double_well, dt=0.1, kT=1.0, gamma=0.0), td.nve(double_well, dt=0.1)
    start = begin(langevin, jnp.ones(5))
    other = begin(nve, jnp.ones(5), kT=1.0)
    np.testing.assert_allclose(run(langevin, start, 50).position, run(nve, other, 50).position, rtol=1e-12)


@pytest.mark.slow
def test_infinite_mass_feels_no_noise():
    dynamics = td.langevin(double_well, dt=0.1, kT=1.0, gamma=1.0, mass=jnp.array([1.0, jnp.inf]))
    end = run(dynamics, begin(dynamics, jnp.array([0.5, 0.5])), 20)
    assert float(end.position[1]) == 0.5 != float(end.position[0])
    assert float(td.degrees_of_freedom(end)) == 1
    assert int(end.status) == 0


@pytest.mark.slow
def test_friction_of_an_ornstein_uhlenbeck_process_is_the_rate_of_its_memory():
    gamma, h, steps = 0.7, 0.5, 3
    dynamics = td.langevin(lambda x: 0 * jnp.sum(x), dt=h, kT=1.0, gamma=gamma)
    start = begin(dynamics, jnp.zeros(COUNT))
    end = run(dynamics, start, steps)
    assert abs(sigmas(start.momentum * end.momentum, np.exp(-gamma * h * steps))) < 5
    assert abs(sigmas(end.momentum**2, 1)) < 5


@pytest.mark.slow
def test_two_temperatures_in_one_tree():
    def wells(x):
        return double_well(x["cold"]) + double_well(x["hot"])

    dynamics = td.langevin(
        wells, dt=0.2, kT={"cold": 0.5, "hot": 1.5}, gamma={"cold": 1.0, "hot": 0.5}, mass={"cold": 1.0, "hot": 2.0}
    )
    end = run(dynamics, begin(dynamics, {"cold": jnp.zeros(COUNT), "hot": jnp.zeros(COUNT)}), 300)
    for leaf, kT, other in (("cold", 0.5, 1.5), ("hot", 1.5, 0.5)):
        assert abs(sigmas(end.position[leaf] ** 2, exact_moment(2, kT))) < 5
        assert abs(sigmas(end.position[leaf] ** 2, exact_moment(2, other))) > 5


@pytest.mark.parametrize("kind", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_a_bath_keeps_its_temperature_however_its_factor_is_rounded(kind):
    eps = float(jnp.finfo(kind).eps)
    for h in (0.3, 0.01, 3e-3, 1e-4):
        one, zero = jnp.ones(1, kind), jnp.zeros(1, kind)
        bath = to.ornstein_uhlenbeck(kT=1.0, gamma=1.0)
        still = begin(td.compose(nothing, (to.drift(td.euclidean()), bath), 0.1), zero, momentum=zero)
        keep = float(bath.apply(still.replace(momentum=one), h, zero, None)[0].momentum[0])
        spread = float(bath.apply(still, h, one, None)[0].momentum[0])
        bound = 2 * eps * (1 - keep**2 if jnp.finfo(kind).bits < 32 else 1)
        np.testing.assert_allclose(1 - spread**2, keep**2, rtol=0, atol=bound)
        rescale = to.csvr(kT=1.0, tau=1.0)
        moving = still.replace(momentum=one)
        normal, squares = rescale.draw(still.key, moving)
        noise = jnp.zeros_like(normal), jnp.ones_like(squares)
        mean, _ = rescale.apply(moving, h, noise, rescale.init(moving))
        np.testing.assert_allclose(float(mean.momentum[0]), 1, rtol=0, atol=eps)
