"""Microcanonical Langevin dynamics: the kick in numbers, what is conserved, and exact samples by Metropolis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_close
from treedyn import operators as to
from treedyn.testing import sigmas

KEY = jax.random.key(0)


def quartic(x):
    return sum(jnp.sum(leaf**4 / 4 + leaf**2 / 2 + leaf) for leaf in jax.tree.leaves(x))


@pytest.mark.parametrize("split", [False, True], ids=["one leaf", "three leaves"])
def test_a_kick_has_the_closed_form(split):
    force, u = np.array([1.0, -2.0, 0.5]), np.array([0.6, 0.0, 0.8])
    part = (lambda x: tuple(jnp.asarray(x))) if split else jnp.asarray
    dynamics = td.compose(lambda x: -sum(a * b for a, b in zip(force, x, strict=True)), (to.isokinetic_kick(1.0),), 1.0)
    state = dynamics.init(KEY, part(np.zeros(3)))
    # two degrees of freedom at kT = 1, so that the speed is sqrt(2)
    state = state.replace(momentum=jax.tree.map(lambda x: np.sqrt(2) * x, part(u)))
    new, work = dynamics.operators[0].apply(state, 0.3 / np.sqrt(2), None, jnp.zeros(()))
    found = np.array(new.momentum) / np.sqrt(2)
    np.testing.assert_allclose(found, [0.63031602, -0.27103664, 0.72748942], atol=1e-8)
    np.testing.assert_allclose(work, 0.3855613491, atol=1e-9)


def run(dt, steps, gamma=0.0):
    dynamics = td.mclmc(quartic, dt=dt, kT=0.7, gamma=gamma, mass={"a": 2.0, "b": 0.5})
    state = dynamics.init(KEY, {"a": jnp.ones((2, 2)), "b": jnp.array(-0.3)})
    return dynamics, state, td.trajectory(dynamics, state, steps=steps).state


@pytest.mark.slow
def test_energy_and_contraction_are_conserved_to_second_order_and_the_speed_exactly():
    errors = []
    for dt in (0.02, 0.01, 0.005):
        dynamics, start, end = run(dt, round(2.0 / dt))
        errors.append(abs(float(dynamics.conserved(end) - dynamics.conserved(start))))
        np.testing.assert_allclose(td.temperature(end), 0.7, rtol=1e-12)
        assert td.degrees_of_freedom(end) == 4
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    np.testing.assert_allclose(ratios, 4, rtol=0.1)


def test_reversing_the_momenta_retraces_the_path():
    dynamics, start, end = run(0.1, 50)
    back = td.trajectory(dynamics, dynamics.reverse(end), steps=50).state
    assert_close(back.position, start.position, tol=1e-10)
    np.testing.assert_allclose(back.memory["isokinetic_kick"], start.memory["isokinetic_kick"], atol=1e-10)


def test_a_strong_force_and_none_are_finite():
    for scale in (0.0, 1e6):
        dynamics = td.mclmc(lambda x, scale=scale: scale * jnp.sum(x**2), dt=1.0)
        state = dynamics.step(dynamics.init(KEY, jnp.ones(3)))
        assert state.status == 0 and np.all(np.isfinite(state.position)) and np.all(np.isfinite(state.momentum))


def moment(kT, power):
    grid = np.linspace(-8, 8, 100_001)
    weight = np.exp(-(grid**4 / 4 + grid**2 / 2 + grid) / kT)
    return np.sum(weight * grid**power) / np.sum(weight)


@pytest.mark.slow
@pytest.mark.parametrize("kT", [0.3, 2.0])
def test_metropolized_trajectories_are_exact_at_large_steps(kT):
    splitting = td.mclmc(quartic, dt=0.6, kT=kT, gamma=0.7, mass={"a": 2.0, "b": 0.5})
    chains = td.ensemble(td.metropolize(splitting, kT, steps=(1, 4)), 4000)
    state = chains.init(KEY, {"a": jnp.zeros(2), "b": jnp.array(0.0)})
    out = td.run(chains, state, steps=60, every=60, record=lambda s: s.info.acceptance)
    assert 0.3 < np.mean(out.records) < 0.97
    for leaf in (out.state.position["a"][:, 1], out.state.position["b"]):
        for power in (1, 2, 4):
            assert abs(sigmas(leaf**power, moment(kT, power))) < 4


@pytest.mark.slow
def test_the_samples_of_many_leaves_have_a_small_bias():
    dynamics = td.mclmc(quartic, dt=0.15, gamma=1.0)
    out = td.run(dynamics, dynamics.init(KEY, jnp.zeros(1000)), steps=20_000, record=lambda s: jnp.mean(s.position**2))
    series = out.records[500:]
    exact = moment(1.0, 2)
    assert abs(np.mean(series) - exact) < 4 * td.standard_error(series) + 0.01 * exact


def test_a_warm_up_tunes_the_metropolized_dynamics():
    chain = td.warm_up(td.metropolize(td.mclmc(lambda x: 50 * jnp.sum(x**2), dt=0.01), 1.0, steps=3), steps=300)
    out = td.run(chain, chain.init(KEY, jnp.ones(4)), steps=500, record=lambda s: s.info.acceptance)
    assert abs(np.mean(out.records[300:]) - 0.8) < 0.1
    np.testing.assert_allclose(chain.tuned(out.state).splitting.mass, 100, rtol=1e-6)


def test_what_has_no_sphere_of_momenta_is_refused():
    for call, said in [
        (lambda: td.mclmc(quartic, dt=0.1).init(KEY, jnp.zeros(1)), "expected at least 2 degrees of freedom"),
        (lambda: td.mclmc(quartic, dt=0.1, kT={"a": 1.0}), "kT: expected one number or schedule for all leaves"),
        (lambda: td.mclmc(quartic, dt=0.1, kT=0.0), "kT: must be positive and finite"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
