"""Numbers may be constants, functions of the step, or trees of both; each leaf has its own, in its own dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import KEY, TREES, assert_close, energy, make
from treedyn import schedule


class Ramp(td.Struct):
    slope: float

    def __call__(self, step):
        return self.slope * (step + 1)


def test_constants_stay_weak_and_arrays_keep_their_dtype():
    given = schedule.numbers("kT", {"a": 2, "b": 0.5, "c": np.arange(2), "d": jnp.ones(2, jnp.float32)})
    assert given["a"] == 2.0 and type(given["a"]) is float and type(given["b"]) is float
    assert given["c"].dtype == jnp.float64 and given["d"].dtype == jnp.float32


def test_schedules_are_evaluated_at_the_step_and_spread_over_leaves():
    value = schedule.numbers("kT", {"a": lambda step: 1.0 + step, "b": [3.0, optax.linear_schedule(1.0, 0.0, 10)]})
    part = {"a": jnp.zeros(2, jnp.float32), "b": [jnp.zeros(3), jnp.zeros((2, 2))]}
    at = schedule.of_leaves(value, jnp.int32(5), part, "kT")
    assert_close(at, {"a": jnp.float32(6), "b": [jnp.float64(3), jnp.float64(0.5)]})


def test_a_callable_module_of_numbers_is_a_tree_of_numbers():
    layer = TREES["struct"](jnp.float64)
    by_leaf = layer.replace(weight=2.0, bias=3.0)
    state = make("nve", energy, mass=by_leaf).init(KEY, layer)
    assert_close((state.metric.weight.mass, state.metric.bias.mass), (jnp.float64(2), jnp.float64(3)))


def test_parameters_of_a_wrapped_schedule_are_leaves():
    ramp = schedule.Schedule(function=Ramp(slope=0.5))
    assert schedule.at(schedule.numbers("kT", {"a": ramp}), 4) == {"a": 2.5}

    def end(slope):
        dynamics = td.brownian(lambda x: jnp.sum(x**2), 0.1, schedule.Schedule(function=Ramp(slope=slope)))
        state = dynamics.init(KEY, jnp.ones(3))
        return jnp.sum(dynamics.step(dynamics.step(state)).position)

    assert jnp.isfinite(jax.grad(end)(0.5)) and jax.grad(end)(0.5) != 0


@pytest.mark.parametrize("name", ["dt", "kT", "mass"])
def test_a_dynamics_follows_its_schedules_step_by_step(name):
    position = {"x": jnp.array([1.0, -0.5])}

    def values(step):
        return jnp.where(step < 1, 0.1, 0.2)

    scheduled = make("langevin_baoab", **{name: values})
    first, second = make("langevin_baoab", **{name: 0.1}), make("langevin_baoab", **{name: 0.2})
    start = scheduled.init(KEY, position, momentum=position)
    once = scheduled.step(start)
    assert_close(once.position, first.step(start).position)
    assert_close(scheduled.step(once).position, second.step(once).position)
