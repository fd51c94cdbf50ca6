"""Exact stationary moments of every splitting on quadratic targets, from the Jacobians of the real step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import operators

KEY = jax.random.key(0)
EXACT = 1e-10


def harmonic(x):
    return jnp.sum(x**2) / 2


def moments(dynamics, position=None):
    state = dynamics.init(KEY, jnp.ones(1) if position is None else position)
    exact = td.certify(dynamics, state)
    x2 = exact.position_covariance[0, 0]
    return x2, None if exact.momentum_covariance is None else exact.momentum_covariance[0, 0]


# <x^2> and <p^2> at m = k = kT = gamma = 1 as functions of the step h
UNDERDAMPED = {
    "BAOAB": (lambda h: 1, lambda h: 1 - h**2 / 4),
    "BAOA": (lambda h: 1, lambda h: 1),
    "ABOBA": (lambda h: 1, lambda h: 1 / (1 - h**2 / 4)),
    "OBABO": (lambda h: 1 / (1 - h**2 / 4), lambda h: 1),
    "OABAO": (lambda h: 1 - h**2 / 4, lambda h: 1),
}
OVERDAMPED = {"euler_maruyama": lambda h: 1 / (1 - h / 2), "leimkuhler_matthews": lambda h: 1}


@pytest.mark.parametrize("splitting", mostly_slow(UNDERDAMPED, "BAOAB", "OBABO"))
def test_splitting_has_its_exact_moments(splitting):
    x2, p2 = UNDERDAMPED[splitting]
    for h in (0.5, 1.0):
        found = moments(td.langevin(harmonic, dt=h, kT=1.0, gamma=1.0, splitting=splitting))
        np.testing.assert_allclose(found, (x2(h), p2(h)), rtol=EXACT)


@pytest.mark.parametrize("method", OVERDAMPED)
def test_brownian_method_has_its_exact_variance(method):
    for h in (0.5, 1.0):
        x2, p2 = moments(td.brownian(harmonic, dt=h, kT=1.0, gamma=1.0, method=method))
        np.testing.assert_allclose(x2, OVERDAMPED[method](h), rtol=EXACT)
        assert p2 is None


def by_hand(splitting, h, gamma=1.0):
    """Return <x^2>, <p^2> from 2x2 matrices written down here."""
    A, Q = np.eye(2), np.zeros((2, 2))
    for letter in splitting:
        t = h / splitting.count(letter)
        c = np.exp(-gamma * t)
        M = {"A": [[1, t], [0, 1]], "B": [[1, 0], [-t, 1]], "O": [[1, 0], [0, c]]}[letter]
        noise = np.diag([0, 1 - c**2]) if letter == "O" else 0
        A, Q = M @ A, M @ Q @ np.transpose(M) + noise
    return np.diag(scipy.linalg.solve_discrete_lyapunov(A, Q))


@pytest.mark.parametrize(("h", "table"), [(0.5, (1.097945, 1.004116)), (1.0, (1.448841, 1.077351))])
def test_boaob_agrees_with_matrices_written_by_hand(h, table):
    found = moments(td.langevin(harmonic, dt=h, kT=1.0, gamma=1.0, splitting="BOAOB"))
    np.testing.assert_allclose(found, by_hand("BOAOB", h), rtol=EXACT)
    np.testing.assert_allclose(found, table, atol=6e-7)


def test_a_wrong_method_is_detected():
    # half the noise, as with a missing factor of two in the fluctuation-dissipation relation
    class Wrong(operators.OrnsteinUhlenbeck):
        def apply(self, state, h, noise, memory):
            return super().apply(state, h, jax.tree.map(lambda xi: xi / 2, noise), memory)

    A, B = operators.drift(td.euclidean()), operators.kick()
    x2, _ = moments(td.compose(harmonic, (B, A, Wrong(kT=1.0, gamma=1.0), A, B), dt=0.5))
    np.testing.assert_allclose(x2, 0.25, rtol=EXACT)


def test_correlated_target_with_masses_and_temperature():
    K = jnp.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
    center, mass, h, kT = jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 2.0, 5.0]), 0.7, 0.3

    def energy(x):
        return (x - center) @ K @ (x - center) / 2

    dynamics = td.langevin(energy, dt=h, kT=kT, gamma=0.8, mass=mass)
    exact = td.certify(dynamics, dynamics.init(KEY, jnp.zeros(3)))
    np.testing.assert_allclose(exact.position_covariance, kT * np.linalg.inv(K), rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(
        exact.momentum_covariance, kT * (np.diag(mass) - h**2 / 4 * np.asarray(K)), rtol=EXACT, atol=EXACT
    )
    np.testing.assert_allclose(exact.cross_covariance, 0, atol=EXACT)
    np.testing.assert_allclose(exact.position_mean, center, rtol=EXACT)
    np.testing.assert_allclose(exact.momentum_mean, 0, atol=EXACT)
    assert 0 < exact.spectral_radius < 1


def test_tree_with_two_frequencies_temperatures_frictions_masses_and_steps():
    stiffness, kT, mass, dt = {"a": 1.0, "b": 4.0}, {"a": 0.5, "b": 2.0}, {"a": 1.0, "b": 3.0}, {"a": 0.5, "b": 0.9}
    gamma = {"a": 0.1, "b": 2.0}

    def energy(x):
        return stiffness["a"] * jnp.sum(x["a"] ** 2) / 2 + stiffness["b"] * x["b"] ** 2 / 2

    dynamics = td.langevin(energy, dt=dt, kT=kT, gamma=gamma, mass=mass)
    exact = td.certify(dynamics, dynamics.init(KEY, {"a": jnp.zeros(2), "b": jnp.array(0.0)}))

    def diagonal(leaf):
        k, m, h = stiffness[leaf], mass[leaf], dt[leaf]
        return kT[leaf] / k, m * kT[leaf] * (1 - h**2 * k / m / 4)

    (xa, pa), (xb, pb) = diagonal("a"), diagonal("b")
    np.testing.assert_allclose(exact.position_covariance, np.diag([xa, xa, xb]), rtol=EXACT, atol=EXACT)
    np.testing.assert_allclose(exact.momentum_covariance, np.diag([pa, pa, pb]), rtol=EXACT, atol=EXACT)
    assert exact.position_mean["a"].shape == (2,)
    assert exact.position_mean["b"].shape == ()


@pytest.mark.slow
@pytest.mark.parametrize("method", OVERDAMPED)
def test_brownian_with_mass_friction_and_temperature(method):
    k, m, gamma, kT, h = 2.0, 3.0, 0.5, 0.7, 0.4
    dynamics = td.brownian(lambda x: k * harmonic(x), dt=h, kT=kT, gamma=gamma, mass=m, method=method)
    effective = h * k / (m * gamma)
    np.testing.assert_allclose(moments(dynamics)[0], kT / k * OVERDAMPED[method](effective), rtol=EXACT)


def test_env_and_step_of_a_schedule_are_used():
    # the stiffness comes from the environment, the temperature from a schedule at the step of the state
    dynamics = td.langevin(
        lambda x, env: env * harmonic(x), dt=0.5, kT=lambda step: 1.0 + step.astype(float), gamma=1.0
    )
    state = dynamics.init(KEY, jnp.ones(1), 2.0).replace(step=jnp.int32(3))
    np.testing.assert_allclose(td.certify(dynamics, state, 2.0).position_covariance, [[4 / 2]], rtol=EXACT)


@pytest.mark.slow
def test_single_precision_gives_single_precision():
    dynamics = td.langevin(harmonic, dt=1.0, kT=1.0, gamma=1.0)
    x2, p2 = moments(dynamics, jnp.ones(1, jnp.float32))
    np.testing.assert_allclose((x2, p2), (1, 0.75), rtol=1e-5)


def circle():
    return (lambda a, b: a - b, lambda x, dx: (x + dx) % 1.0)


WITHOUT_COVARIANCE = {
    "csvr": (lambda: td.csvr(harmonic, dt=0.1, kT=1.0, tau=1.0), "noise"),
    "andersen": (lambda: td.andersen(harmonic, dt=0.1, kT=1.0, rate=1.0), "noise"),
    "nose_hoover": (lambda: td.nose_hoover(harmonic, dt=0.1, kT=1.0, tau=1.0, length=1, order=1), "not affine"),
    "anharmonic": (lambda: td.langevin(lambda x: jnp.sum(x**4), dt=0.1, kT=1.0), "not affine"),
    "periodic": (lambda: td.langevin(harmonic, dt=0.1, kT=1.0, space=circle()), "not affine"),
    "nve": (lambda: td.nve(harmonic, dt=0.1), "spectral radius 1"),
    "unstable": (lambda: td.langevin(harmonic, dt=3.0, kT=1.0), "spectral radius"),
    "free": (lambda: td.brownian(lambda x: 0 * jnp.sum(x), dt=0.1, kT=1.0), "spectral radius 1"),
}


@pytest.mark.parametrize("case", mostly_slow(WITHOUT_COVARIANCE, "nose_hoover", "anharmonic", "periodic", "nve"))
def test_methods_without_a_certificate_are_refused(case):
    make, message = WITHOUT_COVARIANCE[case]
    with pytest.raises(ValueError, match=f"dynamics: .*({message})"):
        moments(make(), jnp.full(2, 0.9))


@pytest.mark.slow
def test_noise_that_is_used_twice_is_refused():
    class Same(operators.OrnsteinUhlenbeck):
        def draw(self, key, state):
            return super().draw(KEY, state)

    A, B, bath = operators.drift(td.euclidean()), operators.kick(), Same(kT=1.0, gamma=1.0)
    with pytest.raises(ValueError, match="not independent standard normal"):
        moments(td.compose(harmonic, (bath, B, A, B, bath), dt=0.5))
