"""Stochastic velocity rescaling samples the canonical ensemble; Berendsen relaxes to a temperature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import treedyn as td
from tests.dynamics.running import begin, nothing
from tests.helpers import assert_close
from treedyn import operators
from treedyn.particles.space._space import free
from treedyn.testing import sigmas

STIFFNESS = jnp.array([1.0, 0.5, 2.0])


def oscillators(x):
    """Return the energy of three oscillators in one leaf; the other leaf is free."""
    return jnp.sum(STIFFNESS * x["bound"] ** 2) / 2 + nothing(x["free"])


START = {"bound": jnp.array([1.0, -0.5, 0.2]), "free": jnp.zeros((2, 2))}
COUNT = 4000


@jax.jit
def run(dynamics, state, steps):
    """Return the last state of `COUNT` independent runs from one state."""

    def one(key):
        return jax.lax.fori_loop(0, steps, lambda _, s: dynamics.step(s), state.replace(key=key))

    return jax.vmap(one)(jax.random.split(state.key, COUNT))


def twice_kinetic(states):
    return np.asarray(jax.vmap(td.kinetic_energy)(states)) * 2


def is_chi_square(values, dof):
    """Return whether values have mean, variance and distribution of chi^2(dof); 5 sigma, and as rare a KS statistic."""
    mean, variance = sigmas(values, dof), sigmas((values - dof) ** 2, 2 * dof)
    return abs(mean) < 5 and abs(variance) < 5 and scipy.stats.kstest(values, "chi2", args=(dof,)).pvalue > 6e-7


def two_atoms(kT, tau):
    """Return a dynamics of two free atoms of different mass whose center of mass is held."""
    return td.csvr(nothing, dt=0.2, kT=kT, tau=tau, mass=jnp.array([1.0, 4.0]), space=free(), remove_drift=True)


@pytest.mark.slow
def test_two_atoms_with_held_center_have_three_degrees_of_freedom():
    kT = 1.7
    dynamics = two_atoms(kT, tau=0.3)
    # far from equilibrium: cold and drifting
    start = begin(dynamics, jnp.zeros((2, 3)), momentum=jnp.full((2, 3), 0.1).at[0, 1].set(0.05))
    states = run(dynamics, start, 40)
    assert np.all(states.status == 0)
    np.testing.assert_allclose(states.dof, 3)
    values = twice_kinetic(states) / kT
    assert is_chi_square(values, 3)
    assert not is_chi_square(values, 6)
    assert not is_chi_square(values, 4)
    assert not is_chi_square(values * 1.1, 3)


def test_one_degree_of_freedom_is_an_ornstein_uhlenbeck_process():
    kT, tau, mass, h = 1.3, 0.7, 2.0, 0.5
    rescale = operators.csvr(kT=kT, tau=tau)
    state = begin(td.compose(nothing, (operators.drift(td.euclidean()), rescale), h, mass=mass), jnp.zeros(1))
    c = np.exp(-h / (2 * tau))
    for momentum in (0.8, -1.1, 1e-3):
        for xi in (-3.0, -0.4, 0.0, 2.0):
            start = state.replace(momentum=jnp.array([momentum]))
            new, _ = rescale.apply(start, h, (jnp.array([xi]), jnp.zeros(1)), jnp.zeros(1))
            expected = c * momentum + np.sign(momentum) * np.sqrt(mass * kT * (1 - c**2)) * xi
            np.testing.assert_allclose(new.momentum, [expected], rtol=1e-12)


@pytest.mark.slow
def test_oscillators_and_free_leaves_each_have_their_own_temperature():
    # canonical in the momenta at any step, and <x^2> = kT/(k (1 - h^2 k/4)): the shadow energy of velocity Verlet
    h, kT = 0.8, {"bound": 2.0, "free": 0.5}
    dynamics = td.csvr(oscillators, dt=h, kT=kT, tau=1.0)
    start = begin(dynamics, START)
    states = run(dynamics, start, 100)
    bound, free = states.momentum["bound"], states.momentum["free"]
    x2 = states.position["bound"] ** 2
    assert np.all(np.abs(sigmas(x2, 2.0 / (STIFFNESS * (1 - h**2 * STIFFNESS / 4)))) < 5)
    assert np.all(np.abs(sigmas(x2, 2.0 / STIFFNESS))[[0, 2]] > 5)
    assert np.all(np.abs(sigmas(bound**2, 2.0)) < 5)
    assert np.all(np.abs(sigmas(bound**4, 3 * 2.0**2)) < 5)
    twice = [np.sum(np.asarray(p).reshape(COUNT, -1) ** 2, axis=1) for p in (bound / np.sqrt(2.0), free / np.sqrt(0.5))]
    assert is_chi_square(twice[0], 3) and is_chi_square(twice[1], 4)
    assert not is_chi_square(twice[0] * 1.1, 3)
    # two thermostats, each one factor for its group: independent, and the free leaf never turns
    assert abs(sigmas((twice[0] - 3) * (twice[1] - 4), 0)) < 5
    free, first = np.asarray(free).reshape(COUNT, -1), np.ravel(start.momentum["free"])
    np.testing.assert_allclose(np.abs(free @ first), np.linalg.norm(free, axis=1) * np.linalg.norm(first), rtol=1e-12)


@pytest.mark.slow
def test_conserved_quantity_counts_the_heat():
    # free particles: kinetic energy and heat cancel to round-off
    dynamics = two_atoms(kT=1.0, tau=0.2)
    start = begin(dynamics, jnp.zeros((2, 3)))
    ends = run(dynamics, start, 20)
    np.testing.assert_allclose(jax.vmap(dynamics.conserved)(ends), dynamics.conserved(start), rtol=1e-12)
    assert np.std(twice_kinetic(ends)) > 1


@pytest.mark.slow
def test_error_of_the_conserved_quantity_is_of_second_order():
    # kT = 0: no noise, so the same trajectory at every step length
    errors = []
    for n in (1, 2, 4):
        dynamics = td.csvr(oscillators, dt=0.2 / n, kT={"bound": 0.0, "free": 0.0}, tau=20.0)
        state, values = begin(dynamics, START, kT=1.0), []
        for _ in range(20):
            state = jax.tree.map(lambda x: x[0], run(dynamics, state, n))
            values.append(dynamics.conserved(state))
        errors.append(np.ptp(values))
    np.testing.assert_allclose(np.polyfit(np.log([1, 1 / 2, 1 / 4]), np.log(errors), 1)[0], 2, atol=0.1)


@pytest.mark.slow
def test_no_kinetic_energy_stays_finite():
    dynamics = two_atoms(kT=1.0, tau=1.0)
    ends = run(dynamics, begin(dynamics, jnp.zeros((2, 3)), momentum=jnp.zeros((2, 3))), 5)
    np.testing.assert_array_equal(ends.momentum, 0)
    assert np.all(ends.status == 0)

    @jax.jit
    @jax.grad
    def gradient(kT, momentum):
        rescale = operators.csvr(kT=kT, tau=1.0)
        state = start.replace(momentum=momentum)
        new, heat = rescale.apply(state, 0.1, (jnp.ones(1), jnp.ones(1)), jnp.zeros(1))
        return jnp.sum(new.momentum) + jnp.sum(heat)

    start = begin(dynamics, jnp.zeros((2, 3)))
    assert np.isfinite(gradient(1.0, jnp.zeros((2, 3))))
    assert np.isfinite(gradient(0.0, jnp.ones((2, 3))))


def test_zero_temperature_cools_exponentially():
    dynamics = two_atoms(kT=0.0, tau=0.5)
    start = begin(dynamics, jnp.zeros((2, 3)), kT=1.0)
    ends = run(dynamics, start, 10)
    np.testing.assert_allclose(ends.momentum[0], start.momentum * np.exp(-10 * 0.2 / 0.5 / 2), rtol=1e-12)


@pytest.mark.parametrize("kT", [2.0, 0.0])
def test_berendsen_relaxes_at_its_rate(kT):
    tau, time = 0.4, 1.0
    dynamics = td.berendsen(nothing, dt=0.1, kT=kT, tau=tau)
    start = begin(dynamics, jnp.zeros(5), momentum=jnp.full(5, 0.3))
    ends = run(dynamics, start, 10)
    expected = kT + (td.temperature(start) - kT) * np.exp(-time / tau)
    np.testing.assert_allclose(jax.vmap(td.temperature)(ends), expected, rtol=1e-12)


def test_berendsen_is_not_canonical():
    # oscillators of one frequency would stay in phase
    dynamics = td.berendsen(lambda x: jnp.sum(jnp.linspace(1, 3, 10) * x**2) / 2, dt=0.2, kT=1.0, tau=0.5)
    start = begin(dynamics, jnp.ones(10))

    @jax.jit
    def kinetic(state):
        return td.trajectory(dynamics, state, steps=4000, every=4, record=td.kinetic_energy).records

    values = 2 * np.asarray(kinetic(start))[100:]
    assert abs(np.mean(values) - 10) < 0.5
    assert np.var(values) < 0.5 * 2 * 10
    assert abs(sigmas((values - 10) ** 2, 2 * 10)) > 5


def test_uneven_numbers_in_one_group_are_an_error():
    dynamics = td.csvr(nothing, dt=0.1, kT={"a": 1.0, "b": 2.0}, tau=1.0, groups={"a": 0, "b": 0})
    with pytest.raises(ValueError, match="kT: the leaves of one thermostat share one number"):
        jax.eval_shape(dynamics.step, begin(dynamics, {"a": jnp.zeros(2), "b": jnp.zeros(2)}))


@pytest.mark.parametrize("labels", [{"a": 0, "b": 1}, {"a": "cold", "b": "hot"}, "all"])
def test_a_run_with_groups_is_the_loop_with_groups_also_in_an_ensemble(labels):
    position = {"a": jnp.ones(3), "b": jnp.zeros(2)}
    for dynamics in (
        td.nose_hoover(nothing, dt=0.1, kT=1.0, tau=1.0, groups=labels),
        td.ensemble(td.csvr(nothing, dt=0.1, kT=1.0, tau=1.0, groups=labels), 2),
    ):
        state = dynamics.init(jax.random.key(0), position)
        by_hand = dynamics.step(dynamics.step(state))
        assert_close(td.run(dynamics, state, steps=2).state.momentum, by_hand.momentum)
