"""The error budget: exact biases of harmonic targets, runs that agree with it, and targets unlike the model."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
import treedyn.particles as tp
from tests.montecarlo.posteriors import POSTERIORS
from treedyn.diagnostics import bias

KEY = jax.random.key(0)
STIFFNESS = np.array([[2, 0.3, -0.4], [0.3, 1, 0.2], [-0.4, 0.2, 0.5]])


def harmonic(x):
    z = jnp.concatenate([x["a"], x["b"][None]])
    return z @ STIFFNESS @ z / 2


def langevin(splitting, dt=0.4):
    mass, gamma = {"a": 1.0, "b": 4.0}, {"a": 0.5, "b": 2.0}
    dynamics = td.langevin(harmonic, dt=dt, kT=1.5, gamma=gamma, mass=mass, splitting=splitting)
    return dynamics, dynamics.init(KEY, {"a": jnp.zeros(2), "b": jnp.array(0.0)})


@pytest.mark.slow
@pytest.mark.parametrize("splitting", ["BAOAB", "OBABO", "OABAO"])
@pytest.mark.parametrize("noise", [None, {"a": 0.7, "b": 0.2}], ids=["quiet", "noisy"])
def test_the_biases_of_a_harmonic_target_are_exact(splitting, noise):
    dynamics, state = langevin(splitting)
    true = 1.5 * np.linalg.inv(STIFFNESS)
    quiet = td.certify(dynamics, state).position_covariance
    sampled = td.certify(dynamics, state, gradient_noise=noise).position_covariance
    step, grain, _ = bias(dynamics, state, state.moving, sampled, kT=1.5, gradient_noise=noise)
    np.testing.assert_allclose(step, quiet - true, atol=1e-6)
    np.testing.assert_allclose(grain, sampled - quiet, atol=1e-6)
    assert np.max(np.abs(grain)) > 0.1 or noise is None


def test_stochastic_gradients_of_an_oscillator_have_the_closed_form():
    # (2 h kT + h^2 V)/(1 - (1 - h k)^2) at h = 0.2, V = 4
    dynamics = td.brownian(td.from_energy(lambda x: x**2 / 2), dt=0.2, kT=1.0, method="euler_maruyama")
    state = dynamics.init(KEY, jnp.array(0.0))
    step, noise, _ = bias(dynamics, state, state.moving, np.array([[1.555555556]]), kT=1.0, gradient_noise=4.0)
    np.testing.assert_allclose(step, 0.4 / 0.36 - 1, atol=1e-6)
    np.testing.assert_allclose(noise, 0.16 / 0.36, atol=1e-6)


X, Y = jnp.array([0.5, -1, 1.5, 2, -0.5, 1]), jnp.array([0.8, -1.1, 1.2, 2.5, 0.1, 0.4])
SUBSETS, REPEATED = list(itertools.combinations(range(6), 2)), list(itertools.product(range(6), repeat=2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batches", "center", "h", "sampled"),
    [
        (SUBSETS, 0, 0.02, 0.089505277),
        (SUBSETS, 0, 0.005, 0.037605433),
        (REPEATED, 0, 0.02, 0.104136850),
        (REPEATED, 0, 0.005, 0.039294960),
        (SUBSETS, 1, 0.02, 0.053133904),
        (SUBSETS, 1, 0.005, 0.032110363),
    ],
)
def test_the_biases_of_minibatches_are_exact_with_the_noise_that_the_samples_see(batches, center, h, sampled):
    # the noise depends on the position, and counts with its mean over the samples; `center`: a control variate there
    mean, exact, chosen = 0.981560284, 0.028368794, np.array(batches)

    def force(t):
        parts = X[chosen] * (Y[chosen] - X[chosen] * t) / 0.25
        at_mode = X[chosen] * (Y[chosen] - X[chosen] * mean) / 0.25
        whole = jnp.sum(X * (Y - X * mean)) / 0.25
        return 3 * jnp.sum(parts - center * at_mode, axis=1) + center * whole - t / 4

    noise = np.var(force(mean)) + np.var(jax.jvp(force, (mean,), (1.0,))[1]) * sampled
    target = td.from_energy(lambda t: jnp.sum((Y - X * t) ** 2) / 0.5 + t**2 / 8)
    dynamics = td.brownian(target, dt=h, kT=1.0, method="euler_maruyama")
    state = dynamics.init(KEY, jnp.array(mean))
    step, grain, _ = bias(dynamics, state, state.moving, np.array([[sampled]]), kT=1.0, gradient_noise=noise)
    full = {0.02: 0.043812810, 0.005: 0.031110398}[h]
    np.testing.assert_allclose(step, full - exact, atol=1e-6)
    np.testing.assert_allclose(grain, sampled - full, atol=1e-6)


@pytest.fixture(scope="module")
def run():
    dynamics, _ = langevin("OBABO", dt=0.6)
    chains = td.ensemble(dynamics, 50)
    state = chains.init(KEY, {"a": jnp.zeros(2), "b": jnp.array(0.0)})
    return dynamics, td.run(chains, state, steps=2000, record=td.sample)


@pytest.mark.slow
def test_a_run_finds_its_own_biases(run):
    dynamics, out = run
    budget = td.error_budget(dynamics, out, skip=200)
    state = jax.tree.map(lambda x: x[0], out.state)
    exact = np.diag(td.certify(dynamics, state).position_covariance) / np.diag(1.5 * np.linalg.inv(STIFFNESS)) - 1
    np.testing.assert_allclose(budget.time_step["a"], np.mean(exact[:2]), rtol=0.05)
    np.testing.assert_allclose(budget.time_step["b"], exact[2], rtol=0.1)
    assert budget.trusted and budget.gradient_noise["b"] == 0 and budget.monte_carlo["a"] < 0.03
    for name in ("a", "b"):
        assert abs(budget.measured[name] - budget.predicted[name]) < 4 * budget.error[name]
    lines = repr(budget).splitlines()
    assert len({len(line) for line in lines}) == 1 and [line.split()[0] for line in lines[1:]] == ["a", "b"]


def test_a_suggested_step_has_the_accuracy(run):
    dynamics, out = run
    dt = td.suggest_dt(dynamics, out, accuracy=0.02, skip=200)
    state = jax.tree.map(lambda x: x[0], out.state)
    found = td.certify(dynamics.replace(dt=dt), state)
    worst = max(
        np.max(np.abs(np.diag(found.position_covariance) / np.diag(1.5 * np.linalg.inv(STIFFNESS)) - 1)),
        np.max(np.abs(np.diag(found.momentum_covariance) / np.array([1.5, 1.5, 6.0]) - 1)),
    )
    np.testing.assert_allclose(worst, 0.02, rtol=0.15)
    with pytest.raises(ValueError, match="accuracy: no time step is within 1e-15"):
        td.suggest_dt(dynamics, out, accuracy=1e-15, skip=200)
    with pytest.raises(ValueError, match="covariance: no quadratic target is sampled with it"):
        td.suggest_dt(dynamics, out, gradient_noise=1e9, skip=200)


@pytest.mark.slow
def test_a_target_that_is_not_like_the_model_is_not_trusted():
    # two wells: their distance is the width of the model, and their own width is that of the steps
    dynamics = td.langevin(td.from_energy(lambda x: 3 * (x**2 - 1) ** 2), dt=0.2, kT=1.0)
    chains = td.ensemble(dynamics, 100)
    starts = td.per_member(jnp.tile(jnp.array([-1.0, 1.0]), 50))
    out = td.run(chains, chains.init(KEY, starts), steps=500, record=td.sample)
    budget = td.error_budget(dynamics, out)
    assert not budget.trusted and any("the target is not like the model" in said for said in budget.doubts)
    short = td.run(dynamics, dynamics.init(KEY, 1.0), steps=50, record=td.sample)
    assert "effective draws of the variance are too few" in repr(td.error_budget(dynamics, short))


@pytest.mark.slow
def test_a_liquid_has_no_quadratic_model_and_the_report_says_so():
    lattice = tp.sc(8, density=0.8)
    space = tp.periodic(lattice.box)
    energy = tp.pair_energy(tp.force_shifted(tp.lennard_jones(), 2.5), space)
    dynamics = td.langevin(energy, dt=0.012, kT=1.5, gamma=1.0, space=space)
    env = tp.neighbor_list(space, cutoff=2.5, skin=0.4).allocate(lattice.position)
    state = dynamics.init(KEY, lattice.position, env)
    out = td.run(dynamics, state, env, steps=1500, record=td.sample, every=10)
    budget = td.error_budget(dynamics, out, skip=100)
    assert not budget.trusted and np.isnan(budget.time_step)
    assert "has no quadratic model" in repr(budget) and "nan" not in repr(budget)
    assert 1.3 < budget.measured < 1.6 and budget.predicted is None


@pytest.mark.slow
def test_fewer_draws_than_elements_have_no_model():
    dynamics = td.langevin(lambda x: jnp.sum(x**2), dt=0.1, kT=1.5)
    out = td.run(dynamics, dynamics.init(KEY, jnp.zeros((20, 3))), steps=50, record=td.sample)
    assert "got 50 of 60" in repr(td.error_budget(dynamics, out))
    with pytest.raises(ValueError, match="expected more draws than elements"):
        td.suggest_dt(dynamics, out)


def test_several_temperatures_are_refused():
    dynamics = td.langevin(lambda x: x["a"] ** 2 + x["b"] ** 2, dt=0.1, kT={"a": 1.0, "b": 2.0})
    out = td.run(dynamics, dynamics.init(KEY, {"a": 0.0, "b": 0.0}), steps=50, record=td.sample)
    with pytest.raises(ValueError, match=r"dynamics: expected one temperature, got \[1.0, 2.0\]"):
        td.error_budget(dynamics, out)


@pytest.mark.slow
def test_the_bias_of_a_posterior_is_predicted_and_that_of_a_funnel_is_not_trusted():
    posterior = POSTERIORS["gp_regr"]()
    start = posterior.target.unconstrain(posterior.start)

    def variances(dynamics, members, steps):
        chains = td.ensemble(dynamics, members)
        out = td.run(chains, chains.init(KEY, start), steps=steps, record=td.sample, every=3)
        draws = jax.tree.map(lambda x: x[steps // 30 :], out.records.position)
        return out, jax.tree.map(np.var, draws)

    langevin = td.langevin(posterior.target, dt=0.15, kT=1.0, splitting="OBABO")
    out, biased = variances(langevin, 200, 3000)
    _, exact = variances(td.hmc(posterior.target, dt=0.12, steps=(2, 6)), 200, 1500)
    budget = td.error_budget(langevin, out, skip=100)
    for name, predicted in budget.time_step.items():
        np.testing.assert_allclose(predicted, biased[name] / exact[name] - 1, rtol=0.3)
    assert budget.trusted and budget.time_step["rho"] > 0.1

    posterior = POSTERIORS["eight_schools"]()
    start = posterior.target.unconstrain(posterior.start)
    langevin = td.langevin(posterior.target, dt=0.5, kT=1.0, splitting="OBABO")
    doubts = td.error_budget(langevin, variances(langevin, 200, 1500)[0]).doubts
    assert any("tau: the kinetic temperature" in said for said in doubts)
