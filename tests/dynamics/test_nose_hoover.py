"""Nosé-Hoover chains: conserved quantity, reversibility, volume, groups and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.dynamics.running import KEY, begin, harmonic, run
from tests.helpers import mostly_slow
from treedyn.testing import convergence_order, log_volume, reversal_error, sigmas


def coupled(x):
    """Return the energy of two coupled leaves."""
    return jnp.sum(x["a"] ** 4) / 4 + jnp.sum(x["b"] ** 2) + jnp.sum(jnp.cos(x["a"] - x["b"]))


START = {"a": jnp.array([0.3, -1.2]), "b": jnp.array(0.5)}
MOMENTUM = {"a": jnp.array([1.0, 0.2]), "b": jnp.array(-0.7)}


def under_way(dynamics):
    """Return a state with a moving chain."""
    state = begin(dynamics, START, momentum=MOMENTUM)
    chain = state.memory["nose_hoover_chain"]
    moving = chain.replace(position=chain.position + 0.1, momentum=chain.momentum + 0.3)
    return state.replace(memory={**state.memory, "nose_hoover_chain": moving})


def chained(dt, order=1, **options):
    return td.nose_hoover(coupled, dt, kT=0.8, tau=1.0, mass={"a": 1.0, "b": 2.0}, order=order, **options)


@jax.jit
def conserved(dynamics, state, every):
    """Return the conserved quantity at 400 times, `every` steps apart."""

    def block(state, _):
        state = jax.lax.fori_loop(0, every, lambda _, s: dynamics.step(s), state)
        return state, dynamics.conserved(state)

    return jax.lax.scan(block, state, length=400)[1]


def test_error_of_the_conserved_quantity_is_of_second_order():
    errors = [np.ptp(conserved(chained(0.08 / n), under_way(chained(0.08)), n)) for n in (1, 2, 4)]
    slope, _ = np.polyfit(np.log([1, 1 / 2, 1 / 4]), np.log(errors), 1)
    np.testing.assert_allclose(slope, 2, atol=0.1)
    # the energy without that of the chains is not conserved
    start = under_way(chained(0.02))
    end = run(chained(0.02), start, 200)
    energies = [float(state.energy + td.kinetic_energy(state)) for state in (start, end)]
    assert abs(energies[1] - energies[0]) > 10 * errors[0]


def test_order_of_convergence_is_two():
    found = convergence_order(chained, under_way, time=4.0, dts=(0.1, 0.05, 0.025))
    np.testing.assert_allclose(found, 2, atol=0.1)


CHAINS = {"single": {"length": 1}, "order 3": {"order": 3}, "two": {"groups": {"a": 0, "b": 1}, "substeps": 2}}


@pytest.mark.parametrize("chains", mostly_slow(CHAINS, "single"))
def test_trajectory_and_chains_are_reversible_to_round_off(chains):
    dynamics = chained(0.1, **CHAINS[chains])
    assert reversal_error(dynamics, under_way(dynamics), steps=100) < 1e-10


@pytest.mark.parametrize("length", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_volume_changes_by_the_known_compressibility(length):
    dynamics = chained(0.2, length=length)
    state = under_way(dynamics)
    before = state.memory["nose_hoover_chain"].position[0]
    after = run(dynamics, state, 1).memory["nose_hoover_chain"].position[0]
    # exp(dof xi_1 + xi_2 + ...) times volume is invariant: with the conserved energy this is the canonical measure
    weights = np.array([3.0, *[1.0] * (length - 1)])
    np.testing.assert_allclose(log_volume(dynamics, state), -weights @ np.asarray(after - before), rtol=1e-10)


@pytest.mark.slow
def test_higher_orders_are_closer_to_a_fine_chain():
    state = under_way(chained(0.1))

    def kick(**options):
        chain = td.operators.nose_hoover_chain(kT=0.8, tau=0.7, **options)
        new, _ = jax.jit(chain.apply)(state, 0.3, None, state.memory["nose_hoover_chain"])
        return new.momentum["a"]

    reference = kick(order=3, substeps=50)
    errors = [float(jnp.max(jnp.abs(kick(order=order) - reference))) for order in (1, 3, 7)]
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def oscillator_averages(length, steps, replicas=128):
    """Return time averages of x^2, x^4, p^2 and p^4 over `replicas` oscillators, started at x = p = 1; `[steps, 4]`."""
    dynamics = td.nose_hoover(harmonic, dt=0.1, kT=1.0, tau=1.0, length=length, order=1)
    state = begin(dynamics, jnp.ones(1), momentum=jnp.ones(1))
    chain = state.memory["nose_hoover_chain"]

    def kicked(kick):
        moving = chain.replace(momentum=jnp.full((1, length), kick))
        return state.replace(memory={**state.memory, "nose_hoover_chain": moving})

    # chains of different speeds, so that the replicas follow different trajectories
    states = jax.vmap(kicked)(jnp.linspace(-0.5, 0.5, replicas))

    def step(states, _):
        states = jax.vmap(dynamics.step)(states)
        x, p = states.position, states.momentum
        return states, jnp.stack([jnp.mean(y) for y in (x**2, x**4, p**2, p**4)])

    return jax.jit(lambda s: jax.lax.scan(step, s, length=steps)[1])(states)


def test_chain_of_three_samples_an_oscillator():
    averages = oscillator_averages(3, 20_000)[2000:]
    found = sigmas(averages, [1, 3, 1, 3])
    assert np.all(np.abs(found) < 5), found


def test_single_thermostat_does_not_sample_an_oscillator():
    averages = oscillator_averages(1, 20_000)[2000:]
    x2, x4, p2, p4 = sigmas(averages, [1, 3, 1, 3])
    # <p^2> is right, because the momentum of the thermostat stays bounded; other moments are not
    assert abs(p2) < 5
    assert min(abs(x2), abs(x4), abs(p4)) > 20
    assert abs(np.mean(averages[:, 1]) - 3) > 0.3


@pytest.mark.slow
def test_two_temperatures_in_one_tree():
    # uncoupled quartic oscillators in two groups: <x^4> = kT, <p^2/m> = kT
    kT = {"a": 0.5, "b": 2.0}
    dynamics = td.nose_hoover(
        lambda x: (jnp.sum(x["a"] ** 4) + jnp.sum(x["b"] ** 4)) / 4,
        dt=0.05,
        kT=kT,
        tau=1.0,
        mass={"a": 1.0, "b": 3.0},
        order=1,
    )
    keys = jax.random.split(KEY, 200)
    states = jax.jit(jax.vmap(lambda key: dynamics.init(key, {"a": jnp.zeros(2), "b": jnp.ones(3)})))(keys)

    def step(states, _):
        states = jax.vmap(dynamics.step)(states)
        x, p = states.position, states.momentum
        return states, jnp.stack([jnp.mean(y) for y in (x["a"] ** 4, p["a"] ** 2, x["b"] ** 4, p["b"] ** 2 / 3)])

    averages = jax.jit(lambda s: jax.lax.scan(step, s, length=20_000)[1])(states)[2000:]
    assert np.all(np.abs(sigmas(averages, [0.5, 0.5, 2, 2])) < 5)
    assert np.all(np.abs(sigmas(averages, [1.25, 1.25, 1.25, 1.25])) > 5)
