"""`trajectory` is a differentiable function of everything: state, environment and numbers.

That it is the same under jit and vmap is in `tests/contracts/test_reproducible.py`, in every bit.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position, surroundings

TARGET = td.from_energy(energy)
STEPS = 6


def end(dt, velocity, kT):
    """Return where discs are after a projectile flew through them."""
    position = start_position(4)
    env = surroundings(position, capacity=12)
    env["shot"] = env["shot"].replace(position=jnp.array([-1.5, 0.3]), velocity=velocity)
    dynamics = td.langevin(TARGET, dt, kT)
    return td.trajectory(dynamics, dynamics.init(KEY, position, env), env, steps=STEPS)


@pytest.mark.slow
@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd])
def test_gradient_through_lists_and_what_moves_on_its_own_is_the_finite_difference(mode):
    @jax.jit
    def height(numbers):
        out = end(numbers[0], numbers[1:3], numbers[3])
        return jnp.sum(jnp.sin(out.state.position)), out.state.status

    numbers = jnp.array([0.05, 0.2, 0.05, 0.1])
    assert height(numbers)[1] == 0
    slope = jax.jit(mode(lambda numbers: height(numbers)[0]))(numbers)
    for k, width in enumerate(1e-5 * jnp.eye(4)):
        difference = (height(numbers + width)[0] - height(numbers - width)[0]) / 2e-5
        np.testing.assert_allclose(slope[k], difference, rtol=1e-6, atol=1e-8)


@pytest.mark.slow
def test_nothing_is_repaired_and_the_status_tells():
    position = start_position()
    env = near_list(position, capacity=8)
    dynamics = td.langevin(TARGET, 0.05, 0.3)
    out = td.trajectory(dynamics, dynamics.init(KEY, position, env), env, steps=40)
    assert td.Status.OVERFLOW in td.Status(int(out.state.status))
