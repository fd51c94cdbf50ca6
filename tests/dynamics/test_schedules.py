"""Parameters that are schedules, trees or arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.dynamics.running import KEY, begin, nothing, run
from treedyn.testing import sigmas


def quartic(x):
    return sum(jnp.sum(leaf**4) / 4 for leaf in jax.tree.leaves(x))


def test_annealing_follows_the_schedule_of_kT():
    # free particles: <p^2> obeys a recursion that is exact for every single step
    kT, gamma, h, steps = (lambda step: 2.0 - 0.1 * step.astype(float)), 1.0, 0.3, 20
    dynamics = td.langevin(nothing, dt=h, kT=kT, gamma=gamma)
    end = run(dynamics, begin(dynamics, jnp.zeros(40_000)), steps)
    keep, expected = np.exp(-2 * gamma * h), 2.0
    for n in range(steps):
        expected = keep * expected + (1 - keep) * (2.0 - 0.1 * n)
    assert abs(sigmas(end.momentum**2, expected)) < 5
    assert abs(sigmas(end.momentum**2, 2.0 - 0.1 * steps)) > 5


def test_initial_momenta_have_the_temperature_of_the_schedule_at_step_zero():
    dynamics = td.langevin(nothing, dt=0.1, kT=lambda step: 3.0 - step.astype(float))
    assert abs(sigmas(begin(dynamics, jnp.zeros(40_000)).momentum ** 2, 3.0)) < 5


@pytest.mark.parametrize("make", [pytest.param(td.langevin, marks=pytest.mark.slow), td.brownian])
def test_optax_schedule_is_the_same_as_the_function_it_stands_for(make):
    ours = make(quartic, dt=0.05, kT=lambda step: 1.0 - 0.8 * jnp.minimum(step, 10).astype(float) / 10)
    theirs = make(quartic, dt=0.05, kT=optax.linear_schedule(1.0, 0.2, 10))
    state = begin(ours, jnp.array([1.0, -0.5]))
    # optax computes its schedules in single precision
    np.testing.assert_allclose(run(ours, state, 15).position, run(theirs, state, 15).position, rtol=1e-6)


@pytest.mark.slow
def test_schedules_and_numbers_mix_in_a_tree():
    def ramp(step):
        return 1.0 + 0.1 * step.astype(float)

    start = {"a": jnp.array([1.0, -0.5]), "b": jnp.array([[0.3]])}
    tree = td.langevin(
        quartic, dt=0.1, kT={"a": ramp, "b": 2.0}, gamma={"a": 0.5, "b": ramp}, mass={"a": 2.0, "b": 3.0}
    )
    end = run(tree, begin(tree, start), 10)
    # leaves do not interact, and noise belongs to the path of a leaf
    for leaf, kT, gamma, mass in (("a", ramp, 0.5, 2.0), ("b", 2.0, ramp, 3.0)):
        alone = td.langevin(quartic, dt=0.1, kT=kT, gamma=gamma, mass=mass)
        single = run(alone, begin(alone, {leaf: start[leaf]}), 10)
        np.testing.assert_allclose(end.position[leaf], single.position[leaf], rtol=1e-13)


def test_dt_of_a_leaf_is_a_mass_of_that_leaf():
    # x' = p/m over dt, p' = F over dt: with dt_b = dt_a/2, b moves as one with 4 times the mass and half the momentum
    start = {"a": jnp.array(0.7), "b": jnp.array(-1.1)}

    def coupled(x):
        return x["a"] ** 4 / 4 + x["b"] ** 2 / 2 + jnp.cos(x["a"] - x["b"])

    momentum = {"a": 0.4, "b": 0.3}
    by_dt = td.nve(coupled, dt={"a": 0.2, "b": 0.1})
    by_mass = td.nve(coupled, dt=0.2, mass={"a": 1.0, "b": 4.0})
    one = run(by_dt, begin(by_dt, start, momentum=momentum), 50)
    two = run(by_mass, begin(by_mass, start, momentum={"a": 0.4, "b": 0.6}), 50)
    for leaf in start:
        np.testing.assert_allclose(one.position[leaf], two.position[leaf], rtol=1e-11)


@pytest.mark.slow
def test_mass_of_every_particle_aligns_with_the_leading_axis():
    mass = jnp.array([1.0, 2.0, 5.0])
    rows = td.nve(quartic, dt=0.1, mass=mass)
    full = td.nve(quartic, dt=0.1, mass=jnp.tile(mass[:, None], (1, 3)))
    start = jax.random.normal(KEY, (3, 3))
    a, b = (run(d, begin(d, start, kT=1.0), 20) for d in (rows, full))
    np.testing.assert_allclose(a.position, b.position, rtol=1e-13)
    columns = td.nve(quartic, dt=0.1, mass=jnp.tile(mass[None, :], (3, 1)))
    c = run(columns, begin(columns, start, kT=1.0), 20)
    assert np.max(np.abs(c.position - a.position)) > 1e-3


@pytest.mark.slow
def test_schedule_of_the_chain_temperature_enters_its_mass():
    def ramp(step):
        return 1.0 + 0.5 * (step >= 5).astype(float)

    dynamics = td.nose_hoover(quartic, dt=0.1, kT=ramp, tau=1.0, order=1)
    state = begin(dynamics, jnp.array([1.0, -0.5]))
    jump = run(dynamics, state, 8)
    steady = run(td.nose_hoover(quartic, dt=0.1, kT=1.0, tau=1.0, order=1), state, 5)
    then = run(td.nose_hoover(quartic, dt=0.1, kT=1.5, tau=1.0, order=1), steady, 3)
    np.testing.assert_allclose(jump.position, then.position, rtol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda down: td.nve(quartic, dt=lambda step: 0.1 * down(step)),
        lambda down: td.csvr(quartic, dt=0.1, kT=lambda step: down(step) - 1e-9, tau=1.0),
        lambda down: td.langevin(quartic, dt=0.1, kT=1.0, gamma=lambda step: down(step) - 1e-9),
        lambda down: td.brownian(quartic, dt=lambda step: 0.1 * down(step), kT=1.0, gamma=1.0),
    ],
    ids=["dt", "kT", "gamma", "overdamped"],
)
def test_a_schedule_out_of_range_ends_the_run_at_its_step(make):
    dynamics = make(lambda step: 1.0 - 0.25 * step)
    state = begin(dynamics, jnp.array([1.0, -0.5]))
    with pytest.raises(td.SimulationError) as caught:
        td.run(dynamics, state, steps=10)
    assert caught.value.status == td.Status.NONFINITE and caught.value.step == 4
    assert np.isfinite(caught.value.state.position).all()
