"""`trajectory` is a pure function of everything: state, environment and numbers, under jit, vmap and grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position, surroundings
from tests.helpers import assert_close

TARGET = td.from_energy(energy)
STEPS = 6


def end(dt, velocity, kT=0.1, key=KEY):
    """Return where discs are after a projectile flew through them."""
    position = start_position(4)
    env = surroundings(position, capacity=12)
    env["shot"] = env["shot"].replace(position=jnp.array([-1.5, 0.3]), velocity=velocity)
    dynamics = td.langevin(TARGET, dt, kT)
    return td.trajectory(dynamics, dynamics.init(key, position, env), env, steps=STEPS)


VELOCITY = jnp.array([0.2, 0.05])


@pytest.mark.slow
def test_trajectory_under_jit_is_the_plain_one():
    assert_close(jax.jit(end)(0.05, VELOCITY), end(0.05, VELOCITY))


@pytest.mark.slow
def test_trajectory_under_vmap_is_the_stack_of_its_members():
    dts, keys = jnp.array([0.05, 0.1]), jax.random.split(KEY, 2)
    batch = jax.jit(jax.vmap(lambda dt, key: end(dt, VELOCITY, key=key)))(dts, keys)
    compiled = jax.jit(lambda dt, key: end(dt, VELOCITY, key=key))
    for k in range(2):
        assert_close(jax.tree.map(lambda x, k=k: x[k], batch), compiled(dts[k], keys[k]))


@pytest.mark.slow
@pytest.mark.parametrize("mode", [jax.jacrev, jax.jacfwd])
def test_gradient_through_lists_and_what_moves_on_its_own_is_the_finite_difference(mode):
    @jax.jit
    def height(numbers):
        out = end(numbers[0], numbers[1:3], kT=numbers[3])
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
