"""A step changes values and nothing else, whatever the tree; traced once, it serves all numbers."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import (
    KEY,
    METHODS,
    TREES,
    VARIANTS,
    assert_close,
    assert_same_bits,
    by_method,
    energy,
    make,
    table,
    vector,
)


@pytest.fixture(autouse=True)
def fresh_trace_counter():
    chex.clear_trace_counter()


def weak_types(tree):
    return [bool(getattr(leaf, "weak_type", False)) for leaf in jax.tree.leaves(tree)]


@table()
def test_step_is_traced_once_and_keeps_structure_shapes_dtypes_and_weak_types(method, name, dtype):
    position = TREES[name](dtype)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(dynamics, state):
        return dynamics.step(state)

    target = td.from_energy(energy)
    first = make(method, target)
    # from_optax closes over its learning rate: a new transformation is a new function, by the design of optax
    second = first if method == "adam" else make(method, target, dt=0.05, kT=0.2)
    state = jax.eval_shape(lambda: first.init(KEY, position))
    after = step.trace(first, state).out_info
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    assert not any(weak_types(state)) and not any(weak_types(after))
    assert jax.tree.structure(after.position) == jax.tree.structure(position)
    chex.assert_trees_all_equal_shapes_and_dtypes(
        eqx.filter(after.position, lambda x: hasattr(x, "shape")), eqx.filter(position, eqx.is_array)
    )
    step.trace(second, after)


@by_method("langevin_baoab", among=[m for m in METHODS if m not in VARIANTS])
def test_compiled_step_is_the_plain_step_and_is_compiled_once(method):
    position = TREES["zero_d_leaf"](jnp.float64)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(dynamics, state):
        return dynamics.step(state)

    target = td.from_energy(energy)
    first = make(method, target)
    second = first if method == "adam" else make(method, target, dt=0.05, kT=0.2)
    state = first.init(KEY, position)
    once = step(first, state)
    assert_close(once, first.step(state))
    assert_close(step(second, once), second.step(once))


@by_method("langevin_baoab", "adam")
def test_what_is_no_float_rides_along_untouched(method, dtype=jnp.float64):
    position, dynamics = TREES["equinox"](dtype), make(method)
    state = dynamics.step(dynamics.init(KEY, position))
    module = state.position
    assert type(module) is type(position)
    assert module.activation is position.activation
    assert (module.repeats, module.gated, module.label) == (2, True, "net")
    assert type(module.repeats) is int and type(module.gated) is bool
    assert_same_bits(module.counts, position.counts)
    assert not np.allclose(module.linear.weight, position.linear.weight)
    assert jnp.isfinite(module(vector(dtype))).all()


def test_position_may_hold_python_numbers_keys_and_empty_arrays():
    position = {"x": 0.5, "n": 3, "yes": True, "key": jax.random.key(3), "empty": jnp.zeros((0, 3)), "name": "melt"}
    dynamics = td.langevin(lambda position: position["n"] * position["x"] ** 2, 0.1, 1.0)
    state = jax.jit(dynamics.step)(dynamics.init(KEY, position))
    assert state.position["x"] != 0.5 and state.position["x"].shape == ()
    assert {k: state.position[k] for k in ("n", "yes", "name")} == {"n": 3, "yes": True, "name": "melt"}
    assert_same_bits(state.position["key"], position["key"])
    assert state.position["empty"].shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("method", ["langevin_baoab", "nose_hoover", "fire"])
def test_half_precision_stays_half_precision(method, dtype):
    dynamics = make(method)
    state = dynamics.step(dynamics.init(KEY, {"x": vector(dtype)}))
    assert state.position["x"].dtype == dtype and state.status == 0


def test_large_half_precision_positions_are_finite():
    # their sum is beyond the largest float16, none of them is
    position = jnp.full(1000, 200, jnp.float16)
    assert not jnp.isfinite(jnp.sum(position))
    assert td.tree.finite({"x": position})
    assert not td.tree.finite({"x": position.at[3].set(jnp.inf)})
