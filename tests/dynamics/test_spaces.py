"""Forces and motion in spaces whose stored coordinates are not displacements: circles and logarithms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.dynamics.running import begin, run
from treedyn.testing import convergence_order, reversal_error

CIRCUMFERENCE = 3.0


def turns():
    """Return a circle whose points are stored in turns, [0, 1); displacements are lengths along it."""
    return (
        lambda a, b: CIRCUMFERENCE * ((a - b + 0.5) % 1.0 - 0.5),
        lambda x, dx: (x + dx / CIRCUMFERENCE) % 1.0,
    )


def wave(x):
    """Return an energy on the circle, a sum over elements."""
    return jnp.sum(jnp.cos(2 * jnp.pi * x) + 0.3 * jnp.sin(4 * jnp.pi * x))


def wave_of_length(y):
    """Return the same energy as a function of the length along the circle."""
    return wave(y / CIRCUMFERENCE)


def logarithm():
    """Return a space of positive numbers; displacements are differences of logarithms."""
    return (lambda a, b: jnp.log(a / b), lambda x, dx: x * jnp.exp(dx))


START = jnp.array([0.1, 0.4, 0.95])


def test_force_is_the_gradient_with_respect_to_a_displacement():
    state = begin(td.nve(wave, dt=0.1, space=turns()), START)
    np.testing.assert_allclose(state.force, -jax.grad(wave)(START) / CIRCUMFERENCE, rtol=1e-13)
    state = begin(td.nve(lambda x: jnp.sum(x**2), dt=0.1, space=logarithm()), START)
    np.testing.assert_allclose(state.force, -2 * START**2, rtol=1e-13)


def test_a_force_from_the_user_is_unchanged():
    state = begin(td.nve(td.from_force(lambda x: -x), dt=0.1, space=turns()), START)
    np.testing.assert_array_equal(state.force, -START)


METHODS = {
    "nve": lambda f, space: td.nve(f, 0.1, mass=2.0, space=space),
    "langevin": lambda f, space: td.langevin(f, 0.1, 0.7, 1.0, mass=2.0, space=space),
    "brownian": lambda f, space: td.brownian(f, 0.1, 0.7, 1.0, mass=2.0, space=space),
    "fire": lambda f, space: td.fire(f, 0.1, space=space),
}


@pytest.mark.parametrize("method", ["nve", *(pytest.param(m, marks=pytest.mark.slow) for m in METHODS if m != "nve")])
def test_circle_in_turns_is_the_line_in_lengths(method):
    circle, line = METHODS[method](wave, turns()), METHODS[method](wave_of_length, td.euclidean())
    a = run(circle, begin(circle, START), 100)
    b = run(line, begin(line, CIRCUMFERENCE * START), 100)
    assert np.all((a.position >= 0) & (a.position < 1))
    np.testing.assert_allclose(
        np.exp(2j * np.pi * np.asarray(a.position)),
        np.exp(2j * np.pi * np.asarray(b.position) / CIRCUMFERENCE),
        atol=1e-11,
    )
    np.testing.assert_allclose(a.energy, b.energy, rtol=1e-11)


@pytest.mark.slow
def test_logarithmic_coordinates_are_the_dynamics_of_the_logarithm():
    def energy(x):
        return jnp.sum((x - 1.5) ** 2 + 0.1 / x)

    positive = td.langevin(energy, 0.1, 0.3, 1.0, space=logarithm())
    line = td.langevin(lambda y: energy(jnp.exp(y)), 0.1, 0.3, 1.0)
    a = run(positive, begin(positive, START), 100)
    b = run(line, begin(line, jnp.log(START)), 100)
    assert np.all(a.position > 0)
    np.testing.assert_allclose(a.position, jnp.exp(b.position), rtol=1e-11)


@pytest.mark.slow
def test_verlet_on_a_circle_is_reversible_and_of_second_order():
    def start(dynamics):
        return begin(dynamics, START, momentum=jnp.array([1.0, -0.5, 0.1]))

    circle = td.nve(wave, 0.1, space=turns())
    assert reversal_error(circle, start(circle), steps=100) < 1e-11
    order = convergence_order(lambda dt: td.nve(wave, dt, space=turns()), start, time=1.0, dts=(0.1, 0.05, 0.025))
    np.testing.assert_allclose(order, 2, atol=0.1)


@pytest.mark.slow
def test_every_leaf_moves_in_its_own_space():
    space = {"circle": turns(), "rest": {"positive": logarithm(), "weights": td.euclidean()}}
    position = {"circle": START, "rest": {"positive": START, "weights": START}}

    def energy(x):
        return wave(x["circle"]) + jnp.sum(x["rest"]["positive"] ** 2) + jnp.sum(x["rest"]["weights"] ** 4)

    both = td.nve(energy, 0.1, space=space)
    end = run(both, begin(both, position), 20).position
    parts = (
        (wave, turns(), end["circle"]),
        (lambda x: jnp.sum(x**2), logarithm(), end["rest"]["positive"]),
        (lambda x: jnp.sum(x**4), td.euclidean(), end["rest"]["weights"]),
    )
    for f, own, found in parts:
        alone = td.nve(f, 0.1, space=own)
        np.testing.assert_allclose(found, run(alone, begin(alone, START), 20).position, rtol=1e-12)


def test_space_of_the_wrong_structure_is_an_error():
    dynamics = td.nve(lambda x: wave(x["a"]), 0.1, space={"b": turns()})
    with pytest.raises(ValueError, match="space does not fit the position"):
        begin(dynamics, {"a": START})
