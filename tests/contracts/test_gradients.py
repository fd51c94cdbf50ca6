"""A trajectory is a differentiable function of kT, dt, the position and whatever the energy contains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import KEY, METHODS, TREES, VARIANTS, by_method, energy, make, moving_leaves

# central differences of width w are off by w^2 times a third derivative, and by eps/w
WIDTH, TOLERANCE = 1e-5, 1e-7


def difference(f, numbers, k):
    up, down = (tuple(x + sign * WIDTH * (i == k) for i, x in enumerate(numbers)) for sign in (1, -1))
    return (f(*up) - f(*down)) / (2 * WIDTH)


def walk(dynamics, position, steps, **start):
    state = dynamics.init(KEY, position, **start)
    for _ in range(steps):
        state = dynamics.step(state)
    return state


def summary(state):
    return sum(jnp.sum(jnp.sin((k + 1) * leaf)) for k, leaf in enumerate(moving_leaves(state.position)))


@pytest.mark.slow
@by_method("langevin_baoab", among=[m for m in METHODS if METHODS[m].numbers and m not in VARIANTS])
def test_gradient_with_respect_to_dt_and_kT_is_the_finite_difference(method):
    names = METHODS[method].numbers
    numbers = tuple({"dt": 0.1, "kT": 0.7}[name] for name in names)

    def end(*numbers):
        dynamics = make(method, **dict(zip(names, numbers, strict=True)))
        return summary(walk(dynamics, TREES["zero_d_leaf"](jnp.float64), steps=2))

    gradient = jax.grad(end, argnums=tuple(range(len(names))))(*numbers)
    for k, slope in enumerate(gradient):
        assert slope != 0
        np.testing.assert_allclose(slope, difference(end, numbers, k), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
def test_gradient_goes_through_the_leaves_of_an_energy_and_of_an_equinox_position():
    class Spring(td.Struct):
        stiffness: float

        def __call__(self, module):
            return self.stiffness * energy(module)

    module = TREES["equinox"](jnp.float64)

    def end(stiffness):
        dynamics = td.langevin(Spring(stiffness=stiffness), dt=0.1, kT=0.5)
        return summary(walk(dynamics, module, steps=1))

    np.testing.assert_allclose(jax.grad(end)(1.3), difference(end, (1.3,), 0), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["langevin_baoab", "brownian_leimkuhler_matthews", "csvr", "berendsen", "andersen"])
def test_gradient_with_respect_to_dt_is_finite_at_zero_temperature_and_at_rest(method):
    position = TREES["dict"](jnp.float64)
    start = {"momentum": jax.tree.map(jnp.zeros_like, position)} if METHODS[method].inertial else {}
    slope = jax.grad(lambda dt: summary(walk(make(method, dt=dt, kT=0.0), position, steps=1, **start)))(0.1)
    assert np.isfinite(slope) and slope != 0
