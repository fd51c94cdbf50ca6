"""Certificates of runs and of noisy gradients, compared with tables and simulations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import minimize
from treedyn.testing import sigmas

KEY = jax.random.key(0)

# One oscillator with k = m = gamma = kT = 1, h = 0.2, variance 4 of the gradient: <xx>, <pp> fresh, <xx>, <pp> held
NOISY = {
    "BAOAB": (1.20269315, 1.19267972, 1.40538631, 1.35535944),
    "OBABO": (1.21480766, 1.19867286, 1.41548732, 1.36133244),
    "ABOBA": (1.40133244, 1.41548732, 1.40133244, 1.41548732),
    "BAOA": (1.40538631, 1.32860522, 1.40538631, 1.32860522),
}
K = jnp.array([[2.0, 0.3, -0.4], [0.3, 1.0, 0.2], [-0.4, 0.2, 0.5]])


def harmonic(x):
    return jnp.sum(x**2) / 2


def coupled(x):
    z = jnp.append(x["a"], x["b"])
    return z @ K @ z / 2


def three(splitting="BAOAB", kT=1.5):
    dynamics = td.langevin(
        coupled, dt=0.4, kT=kT, gamma={"a": 0.5, "b": 2.0}, mass={"a": 1.0, "b": 4.0}, splitting=splitting
    )
    return dynamics, dynamics.init(
        KEY, {"a": jnp.array([1.0, -1.0]), "b": jnp.array(2.0)}, momentum={"a": jnp.ones(2), "b": jnp.array(0.0)}
    )


def rows(matrix):
    """Return the diagonal, and the elements 01, 02, 12."""
    return np.append(np.diag(matrix), [matrix[0, 1], matrix[0, 2], matrix[1, 2]])


EXACT = [1.034482759, 1.889055472, 4.295352324, -0.517241379, 1.034482759, -1.169415292]
MASSES = [1.5, 1.5, 6, 0, 0, 0]
SPLITTINGS = {
    "BAOAB": (EXACT, [1.38, 1.44, 5.97, -0.018, 0.024, -0.012], 0),
    "BAOA": (EXACT, MASSES, 0.3),
    "ABOBA": (EXACT, [1.630813275, 1.562779632, 6.030668217, 0.020330873, -0.026060669, 0.012238134], 0),
    "OABAO": ([0.974482759, 1.829055472, 4.280352324, *EXACT[3:]], MASSES, 0),
    "OBABO": ([1.09971529, 1.951566658, 4.310428994, -0.516428144, 1.034222152, -1.169292911], MASSES, 0),
}


@pytest.mark.parametrize("splitting", mostly_slow(SPLITTINGS, "ABOBA"))
def test_masses_and_frictions_of_leaves_have_their_exact_covariance(splitting):
    xx, pp, xp = SPLITTINGS[splitting]
    found = td.certify(*three(splitting))
    np.testing.assert_allclose(rows(found.position_covariance), xx, atol=2e-9)
    np.testing.assert_allclose(rows(found.momentum_covariance), pp, atol=2e-9)
    np.testing.assert_allclose(np.diag(found.cross_covariance), xp, atol=2e-9)


def test_two_temperatures_have_a_heat_current():
    found = td.certify(*three(kT={"a": 1.0, "b": 0.25}))
    xx = [0.559743119, 1.087961466, 0.735652636, -0.19934418, 0.176546406, -0.204883112]
    np.testing.assert_allclose(rows(found.position_covariance), xx, atol=2e-9)
    np.testing.assert_allclose(np.diag(found.momentum_covariance), [0.909672665, 0.947558644, 1.019031052], atol=2e-9)
    current = found.cross_covariance[0, 2], found.cross_covariance[2, 0]
    np.testing.assert_allclose(current, (0.072193606, -0.016973756), atol=2e-9)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("splitting", mostly_slow(NOISY, "BAOAB"))
def test_gradient_noise_heats_by_its_part_in_the_kicks(splitting, fresh):
    dynamics = td.langevin(harmonic, dt=0.2, kT=1.0, gamma=1.0, splitting=splitting)
    state = dynamics.init(KEY, jnp.zeros(1))
    found = td.certify(dynamics, state, gradient_noise=4.0, fresh=fresh)
    right = NOISY[splitting][:2] if fresh else NOISY[splitting][2:]
    np.testing.assert_allclose((found.position_covariance[0, 0], found.momentum_covariance[0, 0]), right, atol=1.1e-8)
    cross = 0.13649823 if splitting == "BAOA" else found.cross_covariance[0, 0]
    np.testing.assert_allclose(found.cross_covariance[0, 0], cross, atol=1e-8)
    # a long run forgets its start
    late = td.certify(dynamics, state, gradient_noise=4.0, fresh=fresh, steps=400)
    np.testing.assert_allclose(late.position_covariance, found.position_covariance, rtol=1e-12)


def test_gradient_noise_in_overdamped_dynamics_is_stochastic_gradient_langevin():
    for h, V in ((0.1, 4.0), (0.2, 4.0)):
        dynamics = td.brownian(harmonic, dt=h, kT=1.0, gamma=1.0, method="euler_maruyama")
        found = td.certify(dynamics, dynamics.init(KEY, jnp.zeros(1)), gradient_noise=V)
        np.testing.assert_allclose(found.position_covariance, (2 * h + h**2 * V) / (1 - (1 - h) ** 2), rtol=1e-12)
    np.testing.assert_allclose(found.position_covariance, 1.555555556, rtol=1e-9)


class Noise(td.Advancing):
    """Fresh noise of a given covariance for every step."""

    key: jax.Array
    root: jax.Array
    now: jax.Array

    def advance(self, state):
        drawn = jax.random.normal(jax.random.fold_in(self.key, state.step), (3,))
        return self.replace(now=self.root @ drawn)


def push(x, env):
    z = jnp.append(x["a"], x["b"])
    force = -K @ z + env.now
    return {"a": force[:2], "b": force[2]}


@pytest.mark.slow
def test_a_run_with_correlated_gradient_noise_agrees_with_its_certificate():
    # the noise of the force is drawn once per step and held at the start of the next step, as in compose
    root = jnp.array([[1.0, 0.0, 0.0], [0.5, 0.7, 0.0], [-0.3, 0.2, 0.4]])
    _, start = three()
    dynamics = td.langevin(push, dt=0.4, kT=1.5, gamma={"a": 0.5, "b": 2.0}, mass={"a": 1.0, "b": 4.0})
    steps = 5

    def end(key):
        env = Noise(key=key, root=root, now=root @ jax.random.normal(jax.random.fold_in(key, 99), (3,)))
        state = dynamics.init(jax.random.fold_in(key, 7), start.position, env, momentum=start.momentum)
        return td.trajectory(dynamics, state, env, steps=steps).state

    ends = jax.jit(jax.vmap(end))(jax.random.split(KEY, 100_000))
    exact = td.certify(*three(), steps=steps, gradient_noise=root @ root.T)
    x = jnp.concatenate([ends.position["a"], ends.position["b"][:, None]], axis=1)
    p = jnp.concatenate([ends.momentum["a"], ends.momentum["b"][:, None]], axis=1)
    mean = np.append(exact.position_mean["a"], exact.position_mean["b"])
    assert np.all(np.abs(sigmas(x, mean)) < 5)
    away = x - mean[None]
    products = away[:, :, None] * away[:, None, :]
    assert np.all(np.abs(sigmas(products, exact.position_covariance)) < 5)
    momenta = p - jnp.mean(p, axis=0, keepdims=True)
    assert np.all(np.abs(sigmas(momenta[:, :, None] * momenta[:, None, :], exact.momentum_covariance)) < 5)
    silent = td.certify(*three(), steps=steps)
    assert np.max(np.abs(sigmas(products, silent.position_covariance))) > 5


def test_a_run_is_the_sequence_of_its_steps():
    dynamics, state = three()
    found = td.certify(dynamics, state, steps=1)
    # the mean is that of a step without noise
    noise = jax.tree.map(jnp.zeros_like, dynamics.draw(state))
    quiet = dynamics.apply(state, None, noise)
    np.testing.assert_allclose(found.position_mean["a"], quiet.position["a"], rtol=1e-12)
    nothing = td.certify(dynamics, state, steps=0)
    np.testing.assert_array_equal(nothing.position_covariance, 0)
    np.testing.assert_array_equal(nothing.position_mean["a"], state.position["a"])
    assert nothing.spectral_radius is None


class Pull(td.Timed):
    def at(self, time):
        return jnp.sin(3 * time)


@pytest.mark.slow
def test_a_driven_and_annealed_run_has_its_exact_moments():
    def energy(x, env):
        return harmonic(x) - env * jnp.sum(x)

    dynamics = td.langevin(energy, dt=0.1, kT=lambda step: 1.0 - 0.02 * step.astype(float), gamma=2.0)
    state = dynamics.init(KEY, jnp.ones(1), Pull(), momentum=jnp.zeros(1))
    exact = td.certify(dynamics, state, Pull(), steps=40)

    def end(key):
        return td.trajectory(dynamics, state.replace(key=key), Pull(), steps=40).state.position[0]

    ends = jax.jit(jax.vmap(end))(jax.random.split(KEY, 40_000))
    assert abs(sigmas(ends, exact.position_mean[0])) < 5
    assert abs(sigmas((ends - exact.position_mean[0]) ** 2, exact.position_covariance[0, 0])) < 5
    # the variance without the schedule is different
    steady = td.certify(td.langevin(energy, dt=0.1, kT=1.0, gamma=2.0), state, Pull(), steps=40)
    assert abs(sigmas((ends - exact.position_mean[0]) ** 2, steady.position_covariance[0, 0])) > 5


class Own(td.Targeted):
    """A custom dynamics: stochastic Heun, with two forces per step."""

    dt: float

    def init(self, key, position, env=None):
        return self.begin(key, position, env)

    def draw(self, state):
        return jax.random.normal(jax.random.fold_in(state.stream, state.step), state.position.shape)

    def apply(self, state, env, noise):
        kick = jnp.sqrt(2 * self.dt) * noise
        guess = self.evaluate(state.replace(position=state.position + self.dt * state.force + kick), env)
        force = (state.force + guess.force) / 2
        new = state.replace(position=state.position + self.dt * force + kick)
        return self.evaluate(new, env)


@pytest.mark.slow
def test_a_custom_dynamics_can_be_certified():
    h = 0.3
    dynamics = Own(target=harmonic, space=td.euclidean(), dt=h)
    state = dynamics.init(KEY, jnp.ones(2))
    a = 1 - h + h**2 / 2
    variance = 2 * h * (1 - h / 2) ** 2 / (1 - a**2)
    np.testing.assert_allclose(td.certify(dynamics, state).position_covariance, variance * np.eye(2), rtol=1e-10)
    # both forces have independent noise; the first of a step is the last of the previous step
    noisy = td.certify(dynamics, state, gradient_noise=1.0)
    A = np.array([[a, h / 2 * (1 - h)], [0, 0]])
    first, last = h / 2, 0
    Q = np.array([[2 * h * (1 - h / 2) ** 2 + first**2, last], [0, 1.0]])
    C = np.linalg.solve(np.eye(4) - np.kron(A, A), Q.ravel()).reshape(2, 2)
    np.testing.assert_allclose(noisy.position_covariance, C[0, 0] * np.eye(2), rtol=1e-10)


@pytest.mark.slow
def test_a_minimizer_contracts_to_the_minimum():
    dynamics = td.gradient_descent(lambda x: harmonic(x - 3), rate=0.1)
    found = td.certify(dynamics, dynamics.init(KEY, jnp.zeros(2)))
    np.testing.assert_allclose(found.position_mean, 3, rtol=1e-12)
    np.testing.assert_allclose(found.position_covariance, 0, atol=1e-15)
    np.testing.assert_allclose(found.spectral_radius, 0.9, rtol=1e-12)
    assert found.momentum_mean is None
    # a search that accepts every first trial is the same map; an exact line search is not affine
    first = td.minimizer(lambda x: harmonic(x - 3), minimize.Steepest(rate=0.1), minimize.Armijo())
    found = td.certify(first, first.init(KEY, jnp.zeros(2)))
    np.testing.assert_allclose([found.spectral_radius, *found.position_mean], [0.9, 3, 3], rtol=1e-12)
    searching = td.minimizer(
        lambda x: harmonic(x * jnp.array([1.0, 2.0])), minimize.Steepest(rate=0.1), minimize.StrongWolfe(curvature=0.01)
    )
    with pytest.raises(ValueError, match="not affine"):
        td.certify(searching, searching.init(KEY, jnp.ones(2)))


@pytest.mark.parametrize(
    "options, match",
    [
        ({"gradient_noise": -1.0}, "gradient_noise"),
        ({"gradient_noise": {"c": 1.0}}, "gradient_noise does not fit"),
        ({"gradient_noise": -np.eye(3)}, "gradient_noise: a covariance matrix must be symmetric"),
        ({"steps": -1}, "steps: expected an integer"),
        ({"fresh": "no"}, "fresh: expected True or False"),
    ],
)
def test_invalid_options_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        td.certify(*three(), **options)


def test_members_of_an_ensemble_are_certified_one_by_one():
    dynamics, state = three()
    many = td.ensemble(dynamics, 2)
    with pytest.raises(ValueError, match="state: expected one of a single system"):
        td.certify(many, many.adopt(state))
