"""Dynamics without a Metropolis step: their energy error, and a warm-up that tunes them by it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_close, assert_same_bits
from treedyn.montecarlo import low_rank, unadjusted

KEY = jax.random.key(0)
WIDTH = {"a": jnp.geomspace(0.01, 100, 20), "b": jnp.full((2, 3), 5, jnp.float32)}
PLACE = {"a": jnp.zeros(20), "b": jnp.zeros((2, 3), jnp.float32), "name": "inert"}
METHODS = {
    "mclmc": lambda dt, kT: td.mclmc(wells, dt=dt, kT=kT),
    "langevin": lambda dt, kT: td.langevin(wells, dt=dt, kT=kT, gamma=1.0),
}


def wells(x):
    return sum(jnp.sum((x[name] / WIDTH[name]) ** 2).astype(float) for name in WIDTH) / 2


@pytest.mark.parametrize("method", METHODS)
def test_the_error_is_the_change_of_the_conserved_quantity(method):
    dynamics = METHODS[method](0.005, 2.0)
    chain = unadjusted(dynamics)
    state = chain.init(KEY, PLACE)
    new = chain.step(state)
    if method == "mclmc":
        change = dynamics.conserved(new) - dynamics.conserved(state)
        assert_close(new.info.error, change / (2 * jnp.sqrt(25.0)), tol=1e-6)
    assert_same_bits(new.moving, dynamics.step(dynamics.init(KEY, PLACE)).moving)
    assert 0 < new.info.acceptance <= 1 and not new.info.refused


@pytest.mark.parametrize("dt", [1e-4, 1e3])
@pytest.mark.parametrize("method", METHODS)
def test_a_warm_up_finds_time_step_and_masses_from_any_start(method, dt):
    chain = td.warm_up(METHODS[method](dt, 2.0), steps=400)
    out = td.run(chain, chain.init(KEY, PLACE), steps=1000, record=lambda s: s.info.error)
    tuned = chain.tuned(out.state).splitting
    np.testing.assert_allclose(tuned.mass["a"] * WIDTH["a"] ** 2, 1, rtol=1e-6)
    np.testing.assert_allclose(tuned.mass["b"] * WIDTH["b"] ** 2, 1, rtol=1e-3)
    assert 2e-4 < np.mean(np.square(out.records[400:])) < 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("kT", [0.01, 4.0])
def test_samples_of_tuned_microcanonical_dynamics_have_the_bias_that_is_known(kT):
    chain = td.warm_up(METHODS["mclmc"](0.01, kT), steps=500)
    chains = td.ensemble(chain, 4)
    out = td.run(chains, chains.init(KEY, PLACE), steps=3000, record=lambda s: s.position["a"])
    square = np.square(np.asarray(out.records)[500:] / np.asarray(WIDTH["a"])) / kT
    # at this error the variance of a normal density is 3 to 4 % too large
    assert 1.02 < np.mean(square) < 1.05


@pytest.mark.slow
def test_a_warm_up_in_pieces_is_the_one_in_one_run_also_with_correlated_masses():
    chains = td.ensemble(td.warm_up(METHODS["mclmc"](0.01, 1.0), steps=100, metric=low_rank(rank=2, samples=20)), 3)
    whole = td.run(chains, chains.init(KEY, PLACE), steps=150).state
    half = td.run(chains, chains.init(KEY, PLACE), steps=47, chunk=7).state
    assert_same_bits(td.run(chains, half, steps=103).state, whole)


def test_a_step_that_creates_too_much_energy_is_not_taken():
    chain = unadjusted(td.langevin(lambda x: jnp.sum(x**4), dt=5.0, kT=1.0, gamma=1.0))
    state = chain.init(KEY, jnp.ones(3), momentum=jnp.full(3, 2.0))
    new = chain.step(state)
    assert new.info.refused and new.info.acceptance == 0 and new.status == 0
    assert_same_bits(new.position, state.position)
    assert_same_bits(new.momentum, -state.momentum)


def test_what_has_no_energy_error_is_refused():
    def well(x):
        return jnp.sum(x**2)

    for bad, message in (
        (td.nve(well, 0.1), "expected a dynamics with a temperature"),
        (td.brownian(well, 0.1, 1.0), "expected a dynamics with momenta"),
        (td.langevin(well, 0.1, {"a": 1.0, "b": 2.0}, 1.0), "kT: expected one number"),
    ):
        with pytest.raises(ValueError, match=message):
            td.warm_up(bad, steps=10)
    forces = td.langevin(td.from_force(lambda x: -x), 0.1, 1.0, 1.0)
    with pytest.raises(ValueError, match="target: expected an energy"):
        td.warm_up(forces, steps=10).init(KEY, jnp.ones(2))
