"""Minimizers find minima on any tree, and respect their step limits."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import mostly_slow

KEY = jax.random.key(0)


@jax.jit
def run(dynamics, state, steps):
    return jax.lax.fori_loop(0, steps, lambda _, s: dynamics.step(s), state)


def quadratic(x):
    """Return the energy of a valley with a ratio of stiffnesses of 100, at x = (1, -2) and y = 3."""
    return (x["x"][0] - 1) ** 2 / 2 + 50 * (x["x"][1] + 2) ** 2 + 5 * (x["y"] - 3) ** 2


def rosenbrock(x):
    return jnp.sum((1 - x["x"]) ** 2 + 10 * (x["y"] - x["x"] ** 2) ** 2)


QUADRATIC = (quadratic, {"x": jnp.zeros(2), "y": jnp.array(0.0)}, {"x": [1, -2], "y": 3})
ROSENBROCK = (rosenbrock, {"x": jnp.array([-1.2, 0.5]), "y": jnp.array([1.0, -0.5])}, {"x": [1, 1], "y": [1, 1]})

MINIMIZERS = {
    "gradient_descent": (lambda f: td.gradient_descent(f, rate=0.015), 3000, QUADRATIC),
    "gradient_descent by leaf": (lambda f: td.gradient_descent(f, {"x": 0.015, "y": 0.1}), 3000, QUADRATIC),
    "fire": (lambda f: td.fire(f, dt=0.03), 600, QUADRATIC),
    "fire on Rosenbrock": (lambda f: td.fire(f, dt=0.02), 1500, ROSENBROCK),
    "adam": (lambda f: td.from_optax(f, optax.adam(0.05)), 3000, QUADRATIC),
    "momentum by schedule": (
        lambda f: td.from_optax(f, optax.sgd(optax.exponential_decay(0.02, 100, 0.9), momentum=0.9)),
        600,
        QUADRATIC,
    ),
    "lbfgs": (lambda f: td.from_optax(f, optax.lbfgs()), 60, ROSENBROCK),
}


@pytest.mark.parametrize("method", mostly_slow(MINIMIZERS, "fire on Rosenbrock"))
def test_minimum_is_found(method):
    make, steps, (energy, start, minimum) = MINIMIZERS[method]
    dynamics = make(energy)
    end = run(dynamics, dynamics.init(KEY, start), steps)
    for leaf, expected in minimum.items():
        np.testing.assert_allclose(end.position[leaf], expected, atol=1e-6)
    np.testing.assert_allclose(end.energy, 0, atol=1e-10)
    assert float(td.tree.max_abs(end.force)) < 1e-4
    assert int(end.step) == steps and int(end.status) == 0


def test_gradient_descent_is_the_step_along_the_force():
    dynamics = td.gradient_descent(quadratic, rate=0.01)
    state = dynamics.init(KEY, QUADRATIC[1])
    new = dynamics.step(state)
    for leaf in new.position:
        np.testing.assert_allclose(new.position[leaf], state.position[leaf] + 0.01 * state.force[leaf], rtol=1e-14)


@pytest.mark.parametrize(
    "make", [lambda f: td.gradient_descent(f, 10.0, max_step=0.1), lambda f: td.fire(f, 1.0, max_step=0.1)]
)
def test_no_element_moves_further_than_the_step_limit_and_the_direction_stays(make):
    dynamics = make(quadratic)
    state = dynamics.init(KEY, QUADRATIC[1])
    first = run(dynamics, state, 1)
    way = td.tree.subtract(first.position, state.position)
    np.testing.assert_allclose(td.tree.max_abs(way), 0.1, rtol=1e-14)
    cosine = td.tree.vdot(way, state.force) / td.tree.norm(way) / td.tree.norm(state.force)
    np.testing.assert_allclose(cosine, 1, rtol=1e-13)
    steps = td.trajectory(dynamics, state, steps=50, record=lambda s: s.position).records
    moves = jax.tree.map(lambda x: np.abs(np.diff(x, axis=0)), steps)
    assert max(np.max(x) for x in moves.values()) < 0.1 * (1 + 1e-12)


def test_a_step_limit_separates_overlapping_particles():
    # without a limit, one step with forces of 1e24 moves the particles far apart
    def repulsion(x):
        r2 = jnp.sum((x[0] - x[1]) ** 2)
        return (0.01 / r2) ** 6 + r2

    start = jnp.array([[0.0, 0.0], [1e-3, 0.0]])
    wild, limited = td.fire(repulsion, 0.01), td.fire(repulsion, 0.01, max_step=0.05)
    end = run(limited, limited.init(KEY, start), 500)
    r2 = (6 * 0.01**6) ** (1 / 7)
    np.testing.assert_allclose(jnp.sum((end.position[0] - end.position[1]) ** 2), r2, rtol=1e-6)
    assert float(jnp.max(jnp.abs(run(wild, wild.init(KEY, start), 1).position))) > 1e3


def test_fire_needs_fewer_steps_than_descent():
    def steps(dynamics):
        state = dynamics.init(KEY, QUADRATIC[1])
        return td.run(dynamics, state, steps=5000, until=lambda s: td.tree.max_abs(s.force) < 1e-5).steps

    assert 2 * steps(td.fire(quadratic, dt=0.03)) < steps(td.gradient_descent(quadratic, rate=0.015)) < 5000


def test_fire_as_optax_is_fire_step_by_step():
    options = {"dt": 0.02, "delay": 5, "max_step": 0.05}
    fire = td.minimize.Fire(**options)
    ours, theirs = td.minimizer(rosenbrock, fire), td.from_optax(rosenbrock, td.as_optax(fire))
    a, b = (
        td.trajectory(d, d.init(KEY, ROSENBROCK[1]), steps=200, record=lambda s: s.position).records
        for d in (ours, theirs)
    )
    for leaf in a:
        np.testing.assert_allclose(a[leaf], b[leaf], rtol=1e-12, atol=1e-13)


def test_fire_resets_its_velocity_when_it_points_uphill():
    dynamics = td.minimizer(td.from_energy(lambda x: x**2 / 2), td.minimize.Fire(dt=0.5, delay=0))
    state = dynamics.init(KEY, 1.0)
    while float(state.position) > 0:
        before, state = state, dynamics.step(state)
    after = dynamics.step(state)
    memory, fresh = after.memory["fire"], state.memory["fire"]
    assert int(memory["downhill"]) == 0
    np.testing.assert_allclose(memory["alpha"], 0.25)
    np.testing.assert_allclose(memory["dt"], fresh["dt"] / 2)
    # half a step back, and one from rest
    np.testing.assert_allclose(memory["velocity"], memory["dt"] * state.force, rtol=1e-14)
    assert abs(float(after.position)) < abs(float(before.position))


def test_optax_chain_with_weight_decay_sees_the_position():
    dynamics = td.from_optax(td.from_energy(lambda x: 0 * x), optax.adamw(0.1, weight_decay=0.5))
    assert float(dynamics.step(dynamics.init(KEY, 1.0)).position) == pytest.approx(0.95)
