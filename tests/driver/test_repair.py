"""What the driver repairs leaves no trace in the trajectory; what it cannot repair it raises, with all that is good."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, Near, energy, energy_of_all_pairs, near_list, start_position
from tests.helpers import assert_close, assert_same_bits
from treedyn._target import Evaluation
from treedyn.driver import _chunk

DYNAMICS = td.nve(energy, dt=0.05)


def where(state):
    return state.position


def begin(wide=1.0, **options):
    position = wide * start_position()
    env = near_list(position, **options)
    return DYNAMICS.init(KEY, position, env, kT=0.3), env


@functools.cache
def with_a_large_list(record):
    return td.run(DYNAMICS, *begin(capacity=81), steps=60, every=4, record=record)


@pytest.mark.slow
def test_a_stale_list_is_rebuilt_and_its_step_taken_again():
    state, env = begin()
    out = td.run(DYNAMICS, state, env, steps=60, every=1, record=where)
    assert 3 < out.rebuilds < 30 and out.state.status == 0
    whole = td.nve(energy_of_all_pairs, dt=0.05)
    exact = td.trajectory(whole, whole.init(KEY, state.position, kT=0.3), steps=60, record=where)
    np.testing.assert_allclose(out.records, exact.records, rtol=1e-10, atol=1e-10)
    step = jax.jit(lambda state, env: DYNAMICS.step(state, env.rebuild(state.position)))
    for _ in range(60):
        state = step(state, env)
    np.testing.assert_allclose(out.state.position, state.position, rtol=1e-10, atol=1e-10)


def test_a_stale_list_would_have_been_wrong():
    # the loop that forgets to update: the status word tells, and the trajectory is another
    state, env = begin()
    stale, right = state, td.run(DYNAMICS, state, env, steps=60).state
    step = jax.jit(DYNAMICS.step)
    for _ in range(60):
        stale = step(stale, env)
    assert td.Status(int(stale.status)) == td.Status.STALE
    assert np.max(np.abs(stale.position - right.position)) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("record, chunk", [pytest.param(None, None, marks=pytest.mark.slow), (where, 6)])
def test_a_list_that_overflows_gives_the_trajectory_of_a_large_one_in_every_bit(record, chunk):
    expected = with_a_large_list(record)
    small = begin(capacity=24)
    out = td.run(DYNAMICS, *small, steps=60, every=4, record=record, chunk=chunk)
    assert out.allocations > 0 and expected.allocations == 0
    assert_same_bits((out.state, out.records), (expected.state, expected.records))
    assert len(small[1].pairs) < len(out.env.pairs) < 81


def test_a_step_beyond_half_the_skin_is_too_far():
    state, env = begin(skin=0.02)
    state = state.replace(momentum=jnp.ones_like(state.position))
    with pytest.raises(td.SimulationError, match=r"TOO_FAR.*half the skin in one step.*reduce dt") as caught:
        td.run(DYNAMICS, state, env, steps=5)
    assert caught.value.status == td.Status.TOO_FAR and caught.value.step == 0
    assert_same_bits(caught.value.state, state)


def wall(position):
    return -jnp.sum(jnp.log(1 - position)) * 1e-6


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_nan_stops_the_run_at_the_last_good_state(chunk):
    dynamics = td.nve(wall, dt=0.1)
    state = dynamics.init(KEY, jnp.zeros(2), momentum=jnp.array([1.05, 0.5]))
    with pytest.raises(td.SimulationError, match=r"after step \d+ \(NONFINITE\).*attributes of this error") as caught:
        td.run(dynamics, state, steps=50, every=3, record=lambda state: (state.step, state.position), chunk=chunk)
    error = caught.value
    assert error.status == td.Status.NONFINITE
    assert error.step == error.state.step == 9
    assert error.state.status == 0 and np.isfinite(error.state.position).all() and np.isfinite(error.state.energy)
    np.testing.assert_array_equal(error.records[0], [3, 6, 9])
    assert np.isfinite(error.records[1]).all()
    again = td.run(dynamics, state, steps=9)
    assert_close(error.state, again.state)


def test_a_state_with_trouble_raises_before_any_step():
    state, env = begin()
    state = state.replace(status=jnp.uint32(int(td.Status.OVERFLOW)), step=jnp.int32(3))
    with pytest.raises(td.SimulationError, match=r"after step 0.*OVERFLOW") as caught:
        td.run(DYNAMICS, state, env, steps=5, every=1, record=where)
    assert caught.value.records.shape == (0, 9, 2)
    assert caught.value.state is state


class Stubborn(Near):
    """A list that does not grow."""

    def allocate(self, position):
        return self.rebuild(position)


def test_a_list_that_does_not_grow_ends_the_run():
    state, env = begin(capacity=24)
    env = Stubborn(pairs=env.pairs, reference=env.reference, word=env.word, skin=env.skin)
    with pytest.raises(td.SimulationError, match="OVERFLOW"):
        td.run(DYNAMICS, state, env, steps=60)


class Alarm(td.Target):
    """A target that raises bits of its own."""

    def __call__(self, position, env=None):
        bits = jnp.where(jnp.max(position) > 0.45, jnp.uint32(int(self.function())), jnp.uint32(0))
        return Evaluation(energy=jnp.sum(position), force=-jnp.ones_like(position), status=bits)


@pytest.mark.parametrize("bit", [td.Status.BOX, td.Status.OVERFLOW, td.Status.STALE])
def test_the_status_of_a_target_stops_the_run(bit):
    dynamics = td.nve(Alarm(function=lambda: bit), dt=0.1)
    state = dynamics.init(KEY, jnp.zeros(2), momentum=jnp.ones(2))
    with pytest.raises(td.SimulationError, match=bit.name):
        td.run(dynamics, state, steps=20)


def test_what_was_computed_on_stale_ground_is_not_believed_even_where_it_is_nan():
    def poisoned(position, env):
        return jnp.where(env.valid(position), energy(position, env), jnp.nan)

    state, env = begin()
    out = td.run(td.nve(poisoned, dt=0.05), state, env, steps=60, every=4, record=where)
    assert out.rebuilds > 3
    assert_same_bits(out.records, with_a_large_list(where).records)


def test_a_state_that_init_made_with_an_old_list_is_made_good():
    state, env = begin()
    moved = state.position + 3.0
    begun = DYNAMICS.init(KEY, moved, env, momentum=state.momentum)
    assert td.Status(int(begun.status)) == td.Status.STALE
    out = td.run(DYNAMICS, begun, env, steps=5)
    right = td.run(
        DYNAMICS, DYNAMICS.init(KEY, moved, near_list(moved), momentum=state.momentum), near_list(moved), steps=5
    )
    np.testing.assert_allclose(out.state.position, right.state.position, rtol=1e-12)


@pytest.mark.slow
def test_a_record_that_changes_shape_when_a_list_grows_is_refused_by_name():
    state, env = begin(capacity=24)
    with pytest.raises(ValueError, match=r"record: .*shape"):
        td.run(DYNAMICS, state, env, steps=60, record=lambda state, env: env.pairs)


def test_a_bound_method_as_record_is_compiled_once():
    class Observer:
        def look(self, state):
            return state.energy

    observer = Observer()
    state, env = begin()
    td.run(DYNAMICS, state, env, steps=4, record=observer.look)
    compiled = _chunk.advance._cache_size()
    td.run(DYNAMICS, state, env, steps=4, record=observer.look)
    assert _chunk.advance._cache_size() == compiled
