"""Several dynamics in turn: exact moments, noise of their own, leaves that are left alone, pieces and ensembles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_same_bits
from treedyn.testing import sigmas

KEY = jax.random.key(0)


def energy(x):
    """Return an energy that is quadratic in a and b, and in c, with <c^2> = kT/4."""
    return x["a"] ** 2 + x["b"] ** 2 / 2 - 0.6 * x["a"] * x["b"] + 2 * jnp.sum(x["c"] ** 2)


def conditional(key, x):
    return {**x, "c": jax.random.normal(key, (2,)) / 2}


def only(name):
    """Return masses with which one leaf moves."""
    return {key: 1.0 if key == name else jnp.inf for key in START}


def sampler():
    hmc = td.hmc(energy, dt=0.7, steps=(1, 3), mass=only("a"))
    walk = td.mala(energy, dt=1.0, mass=only("b"))
    return td.in_turn(hmc, walk, td.gibbs(energy, conditional))


START = {"a": 2.0, "b": -1.0, "c": jnp.zeros(2), "name": "inert"}


@pytest.mark.slow
def test_the_moments_of_leaves_that_move_by_different_methods_are_exact():
    chains = td.ensemble(sampler(), 4000)
    state = td.run(chains, chains.init(KEY, START), steps=40).state
    precision = np.array([[2, -0.6], [-0.6, 1]])
    covariance = np.linalg.inv(precision)
    a, b, c = (state.position[name] for name in "abc")
    for moment in (a**2 - covariance[0, 0], b**2 - covariance[1, 1], a * b - covariance[0, 1], c[:, 0] ** 2 - 0.25):
        assert abs(sigmas(moment, 0.0)) < 4
    assert abs(sigmas(c[:, 0] * a, 0.0)) < 4


@pytest.mark.slow
def test_a_dynamics_leaves_leaves_of_infinite_mass_alone_and_has_noise_of_its_own():
    one = td.langevin(energy, dt=0.1, kT=1.0, mass=only("a"))
    other = td.langevin(energy, dt=0.1, kT=1.0, mass=only("c"))
    both = td.in_turn(one, other)
    state = both.init(KEY, START)
    out = td.run(both, state, steps=5)
    assert out.state.position["b"] == -1.0 and out.state.position["a"] != 2.0 and np.all(out.state.position["c"] != 0)
    first, second = both.draw(state)
    assert not np.any(first[2]["c"] == second[2]["c"])
    assert both.reverse(state).memory["0"].momentum["a"] == -state.memory["0"].momentum["a"]


@pytest.mark.slow
def test_pieces_of_a_run_are_the_whole_run_and_energies_are_those_of_the_position():
    chain = sampler()
    state = chain.init(KEY, START)
    whole = td.run(chain, state, steps=30, record=lambda s: s.energy)
    half = td.run(chain, state, steps=11, chunk=3)
    assert_same_bits(td.run(chain, half.state, steps=19).state, whole.state)
    np.testing.assert_allclose(whole.state.energy, energy(whole.state.position), rtol=1e-12)
    assert len(whole.state.info) == 3 and whole.state.info[0].steps > 0 and whole.state.info[2] is None


def test_what_does_not_belong_together_is_refused():
    hmc = td.hmc(energy, dt=0.1, steps=1)
    for dynamics, said in [
        ((hmc,), "dynamics: expected at least two, got 1"),
        ((hmc, 3.0), "dynamics: expected a dynamics"),
        ((hmc, td.ensemble(hmc, 2)), "got an Ensemble"),
        ((hmc, td.hmc(lambda x: energy(x), dt=0.1, steps=1)), "dynamics: expected one target for all"),
    ]:
        with pytest.raises(ValueError, match=said):
            td.in_turn(*dynamics)
    chain = td.gibbs(energy, lambda key, x: x["a"])
    with pytest.raises(ValueError, match="conditional: expected a position like"):
        chain.step(chain.init(KEY, START))
