"""`run` takes the steps that a loop would take, whatever the chunks, and stacks what it is asked to record."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, start_position, surroundings
from tests.helpers import TREES, assert_close, assert_same_bits, mostly_slow
from tests.helpers import energy as tree_energy

PLAIN_DYNAMICS = td.nve(tree_energy, dt=0.1)
TREE_DYNAMICS = td.langevin(tree_energy, dt=0.1, kT=0.5)
ENV_DYNAMICS = td.nve(energy, dt=0.05)


def plain():
    return PLAIN_DYNAMICS, PLAIN_DYNAMICS.init(KEY, TREES["dict"](jnp.float64))


def by_tree():
    return TREE_DYNAMICS, TREE_DYNAMICS.init(KEY, TREES["dict"](jnp.float64)), None


def by_list():
    position = start_position()
    env = surroundings(position)
    return ENV_DYNAMICS, ENV_DYNAMICS.init(KEY, position, env, kT=0.3), env


def observe(state, env=None):
    shot = jnp.zeros(2) if env is None else env["shot"].position
    return {"position": state.position, "shot": shot, "step": state.step}


@pytest.mark.slow
@pytest.mark.parametrize(
    "system, record",
    [(by_tree, None), (by_list, observe), *mostly_slow([(by_tree, observe), (by_list, None)])],
)
def test_results_do_not_depend_on_the_chunk_length_in_any_bit(system, record):
    dynamics, state, env = system()
    expected = td.run(dynamics, state, env, steps=41, every=3, record=record)
    assert expected.state.step == 41 and expected.state.status == 0
    for chunk in (1, 7, 40):
        out = td.run(dynamics, state, env, steps=41, every=3, record=record, chunk=chunk)
        assert_same_bits((out.state, out.env, out.records), (expected.state, expected.env, expected.records))
        assert (out.steps, out.rebuilds, out.allocations) == (41, expected.rebuilds, 0)
    assert env is None or expected.rebuilds > 1


@pytest.mark.slow
@pytest.mark.parametrize("system", [lambda: (*plain(), None), *mostly_slow([by_tree, by_list])])
def test_run_is_trajectory_is_a_loop(system):
    dynamics, state, env = system()
    out = td.run(dynamics, state, env, steps=20, every=3, record=observe)
    pure = td.trajectory(dynamics, state, env, steps=20, every=3, record=observe)

    @jax.jit
    def step(state, env):
        env = td.environment.advance(env, state)
        state = dynamics.step(state, env)
        return state, td.environment.update(env, state)

    records = []
    for k in range(1, 21):
        state, env = step(state, env)
        records += [observe(state, env)] if k % 3 == 0 else []
    assert state.status == 0
    for other in (out, pure):
        assert_close(other.state, state)
        assert_close(jax.tree.map(jnp.asarray, other.records), jax.tree.map(lambda *x: jnp.stack(x), *records))
    if env is not None:
        assert_close(out.env["shot"], env["shot"])
        assert_close(pure.env, env)


def test_a_run_leaves_what_it_was_given_alone():
    dynamics, state = plain()
    before = jax.tree.map(np.array, state.replace(key=None))
    td.run(dynamics, state, steps=3, record=observe)
    assert_same_bits(jax.tree.map(jnp.asarray, before), state.replace(key=None))


@pytest.mark.parametrize("steps, every, count", [(10, 3, 3), (10, 10, 1), (10, 11, 0), (0, 1, 0)])
def test_there_is_a_record_after_every_full_interval(steps, every, count):
    dynamics, state = plain()
    for take in (td.run, td.trajectory):
        out = take(dynamics, state, steps=steps, every=every, record=observe)
        assert out.records["position"]["a"].shape == (count, 2)
        assert out.records["position"]["b"].shape == (count, 2, 2)
        assert list(out.records["step"]) == [every * (k + 1) for k in range(count)]
        assert out.state.step == steps


def test_no_steps_change_nothing():
    dynamics, state, env = by_list()
    out = td.run(dynamics, state, env, steps=0)
    assert_same_bits((out.state, out.env), (state, env))
    assert (out.steps, out.records) == (0, None)


@pytest.mark.slow
def test_records_may_be_states_and_trees_with_functions():
    dynamics = td.gradient_descent(tree_energy, 0.1)
    state = dynamics.init(KEY, TREES["equinox"](jnp.float64))
    out = td.run(dynamics, state, steps=4, every=2, record=lambda state: (state.position, state.replace(key=None)))
    module, states = out.records
    assert module.activation is jax.nn.tanh and module.repeats == 2
    assert module.linear.weight.shape == (2, 2, 2) and isinstance(module.linear.weight, np.ndarray)
    np.testing.assert_array_equal(states.step, [2, 4])
    np.testing.assert_array_equal(states.position.linear.bias[-1], out.state.position.linear.bias)


@pytest.mark.parametrize("chunk", mostly_slow([None, 1, 5], 5))
def test_until_is_asked_after_every_step(chunk):
    dynamics, state = plain()
    out = td.run(dynamics, state, steps=100, until=reaches_seven, chunk=chunk)
    assert out.steps == 7 and out.state.step == 7
    out = td.run(dynamics, state, steps=100, every=3, until=reaches_seven, record=observe, chunk=chunk)
    assert out.steps == 7 and list(out.records["step"]) == [3, 6]


def reaches_seven(state):
    return state.step == 7


def test_until_may_look_at_the_environment_and_stop_a_minimizer():
    dynamics = td.fire(energy, dt=0.1)
    position = start_position()
    env = surroundings(position)
    state = dynamics.init(KEY, position, env)
    out = td.run(dynamics, state, env, steps=100, until=lambda state, env: env["shot"].position[0] > -3.65)
    assert out.steps == 4
    np.testing.assert_allclose(out.env["shot"].position[0], -3.6)


def test_changing_numbers_does_not_compile_again():
    traces = []

    def spring(x):
        traces.append(1)
        return jnp.sum(x**2)

    target = td.from_energy(spring)
    state = td.langevin(target, 0.1, 1.0).init(KEY, jnp.ones(3))
    td.run(td.langevin(target, 0.1, 1.0), state, steps=5)
    before = len(traces)
    out = td.run(td.langevin(target, 0.05, 0.3), state, steps=60, chunk=9)
    td.run(td.langevin(target, 0.05, 0.3), out.state, steps=3)
    assert len(traces) == before


def test_speed_leaves_the_first_chunk_out():
    dynamics, state = plain()
    out = td.run(dynamics, state, steps=30, chunk=10)
    assert out.seconds > 0 and out.steps_per_second == pytest.approx(20 / out.seconds)
    assert np.isnan(td.run(dynamics, state, steps=10, chunk=10).steps_per_second)


def test_progress_bar_shows_title_steps_and_speed(capsys):
    dynamics, state = plain()
    td.run(dynamics, state, steps=30, chunk=10, progress="melting")
    shown = capsys.readouterr().err
    assert "melting: 100%" in shown and "30.0/30.0" in shown and "steps/s" in shown
    td.run(dynamics, state, steps=30, chunk=10)
    assert capsys.readouterr() == ("", "")


def test_steps_are_counted_as_far_as_they_can_be():
    dynamics, state = plain()
    last = state.replace(step=jnp.int32(2**31 - 4))
    assert td.run(dynamics, last, steps=3).state.step == 2**31 - 1
    with pytest.raises(ValueError, match=r"steps: expected fewer than 2\^31 steps in all, got 4 after"):
        td.run(dynamics, last, steps=4)


def test_progress_without_tqdm_says_what_to_install(monkeypatch):
    dynamics, state = plain()
    monkeypatch.setitem(__import__("sys").modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"tqdm is not installed: pip install \"treedyn\[progress\]\""):
        td.run(dynamics, state, steps=1, progress=True)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, lambda f: lambda x: jax.vmap(f)(x[None])])
def test_a_run_inside_a_transformation_is_refused(transform):
    dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)

    def end(x):
        return td.run(dynamics, dynamics.init(jax.random.key(0), x), steps=3).state.energy

    with pytest.raises(ValueError, match=r"state: expected known numbers, got traced ones. Use td\.trajectory"):
        transform(end)(jnp.ones(3))
