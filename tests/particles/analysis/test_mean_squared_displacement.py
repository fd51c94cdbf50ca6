"""The mean squared displacement of free flight, of Brownian motion, and of stored paths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn import particles as tp
from treedyn.particles.analysis._mean_squared_displacement import mean_squared_displacement

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(11)


def same(x):
    return x


@jax.jit
def feed(reducer, carry, states):
    return jax.lax.scan(lambda c, x: (reducer.update(c, x), None), carry, states)[0]


def after(reducer, states):
    return reducer.result(feed(reducer, reducer.init(states[0]), states))


def wrapped(space, paths):
    return space.shift(jnp.zeros_like(paths), paths)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_free_flight_across_a_periodic_boundary_is_v_t_squared(dimension):
    # all numbers are multiples of 1/8, so there is no rounding
    velocity = RNG.integers(-8, 9, size=(7, dimension)) / 8
    paths = velocity[None] * np.arange(50.0)[:, None, None]
    space = tp.periodic(4.0)
    states = wrapped(space, jnp.asarray(paths))
    assert float(jnp.max(states)) < 4.0 < float(np.max(np.abs(paths)))
    out = after(mean_squared_displacement(space, lags=20, select=same), states)
    np.testing.assert_allclose(out.value, np.mean(np.sum(velocity**2, axis=-1)) * np.arange(21) ** 2, rtol=1e-14)
    np.testing.assert_array_equal(out.origins, 50 - np.arange(21))


@pytest.mark.parametrize("space", [tp.periodic(5.0), tp.triclinic([[5.0, 0.0], [2.0, 5.0]]), tp.free()])
def test_value_is_the_mean_over_all_origins_of_the_stored_paths(space):
    paths = np.cumsum(RNG.normal(size=(60, 4, 2)) * 0.3, axis=0)
    out = after(mean_squared_displacement(space, lags=9, select=same), wrapped(space, jnp.asarray(paths)))
    exact = [np.mean(np.sum((paths[k:] - paths[: 60 - k]) ** 2, axis=-1)) for k in range(10)]
    np.testing.assert_allclose(out.value, exact, rtol=1e-12, atol=1e-12)


def test_steps_beyond_half_a_height_of_a_skewed_cell_are_unwrapped_by_their_shortest_image():
    space = tp.triclinic([[5.0, 0.0], [4.5, 2.5]])  # the lowest height is 2.4
    paths = np.arange(20.0)[:, None, None] * np.array([[1.5, -0.3], [0.4, 1.2]])
    out = after(mean_squared_displacement(space, lags=9, select=same), wrapped(space, jnp.asarray(paths)))
    np.testing.assert_allclose(out.value, np.mean(np.sum(paths[1] ** 2, axis=-1)) * np.arange(10) ** 2, rtol=1e-12)


def test_with_masses_the_motion_of_the_center_of_mass_is_subtracted():
    space, mass = tp.periodic(5.0), np.array([1.0, 2.0, 5.0])
    paths = np.cumsum(RNG.normal(size=(40, 3, 2)) * 0.2, axis=0)
    center = np.einsum("i,tid->td", mass, paths)[:, None] / mass.sum()
    drifting = wrapped(space, jnp.asarray(paths + 0.3 * np.arange(40)[:, None, None]))
    out = after(mean_squared_displacement(space, lags=9, select=same, mass=mass), drifting)
    still = after(mean_squared_displacement(tp.free(), lags=9, select=same), jnp.asarray(paths - center))
    np.testing.assert_allclose(out.value, still.value, rtol=1e-11, atol=1e-13)


def test_stride_unwraps_at_every_observation_and_measures_at_some():
    space, paths = tp.periodic(5.0), np.cumsum(RNG.normal(size=(61, 4, 2)) * 0.3, axis=0) + 0.2
    out = after(mean_squared_displacement(space, lags=5, stride=7, select=same), wrapped(space, jnp.asarray(paths)))
    coarse = paths[::7]
    exact = [np.mean(np.sum((coarse[k:] - coarse[: len(coarse) - k]) ** 2, axis=-1)) for k in range(6)]
    np.testing.assert_array_equal(out.lag, 7 * np.arange(6))
    np.testing.assert_allclose(out.value, exact, rtol=1e-12, atol=1e-12)


def test_brownian_motion_has_two_d_D_t():
    space, kT, gamma, dt, n = tp.periodic(3.0), 0.7, 2.0, 0.01, 400
    dynamics = td.brownian(td.from_force(jnp.zeros_like), dt=dt, kT=kT, gamma=gamma, space=space)
    state = dynamics.init(jax.random.key(0), jnp.asarray(RNG.random((n, 3)) * 3.0))
    reducer = mean_squared_displacement(space, lags=10)

    @jax.jit
    def simulate(state):
        def one(carry, _):
            state, found = carry
            state = dynamics.step(state)
            return (state, reducer.update(found, state)), None

        return jax.lax.scan(one, (state, reducer.init(state)), length=200)[0][1]

    out = reducer.result(simulate(state))
    # a step of this dynamics uses the mean of two successive random forces, so half a step is missing at the start
    exact = 2 * 3 * kT / gamma * dt * np.maximum(np.arange(11) - 0.5, 0)
    # non-overlapping windows of different particles are independent: 3 n 200/k squares of normal numbers
    sigma = exact * np.sqrt(2 / (3 * n * 200 / np.maximum(np.arange(11), 1)))
    assert np.all(np.abs(out.value - exact) <= 5 * sigma)
    assert not np.any(np.abs(out.value[1:] - 1.2 * exact[1:]) < 5 * sigma[1:])


def test_float32_loses_no_digits_over_long_distances():
    # 129/512 a step for 200,000 steps, in a box of 4: unwrapped coordinates near 5e4 would be off by 4e-3
    space = tp.periodic(4.0)
    x = jnp.asarray((np.arange(200_000) * 129 % 2048 / 512)[:, None, None], jnp.float32)
    out = after(mean_squared_displacement(space, lags=3, select=same), x)
    assert out.value.dtype == jnp.float32
    np.testing.assert_allclose(out.value, (129 / 512 * np.arange(4)) ** 2, rtol=1e-6)


def test_a_saved_carry_continues_bit_by_bit_and_batches_equal_their_members():
    space, paths = tp.periodic(5.0), np.cumsum(RNG.normal(size=(2, 40, 4, 3)) * 0.3, axis=1)
    states = wrapped(space, jnp.asarray(paths))
    reducer = mean_squared_displacement(space, lags=6, stride=3, select=same)
    whole = feed(reducer, reducer.init(states[0, 0]), states[0])
    part = feed(reducer, reducer.init(states[0, 0]), states[0, :17])
    again = feed(reducer, jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), part), states[0, 17:])
    for x, y in zip(jax.tree.leaves(whole), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    batch = jax.vmap(lambda s: after(reducer, s).value)(states)
    np.testing.assert_allclose(batch[1], after(reducer, states[1]).value, rtol=1e-12, atol=1e-14)


def test_lags_without_a_pair_are_nan_and_carries_of_another_shape_are_refused():
    out = after(mean_squared_displacement(tp.free(), lags=3, select=same), jnp.zeros((2, 1, 3)))
    np.testing.assert_array_equal(np.isnan(out.value), [False, False, True, True])
    np.testing.assert_array_equal(out.origins, [2, 1, 0, 0])
    reducer = mean_squared_displacement(tp.free(), lags=3, select=same)
    with pytest.raises(ValueError, match="merge"):
        reducer.merge(None, None)
    with pytest.raises(ValueError, match="expected an observable of shape"):
        reducer.update(reducer.init(jnp.zeros((2, 3))), jnp.zeros((3, 3)))
