"""The contract of every reducer, for a tree with every kind of leaf."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import mostly_slow
from tests.stream.streams import MERGEABLE, all_reducers, assert_close, assert_same, at, fed, mixed
from treedyn import stream

STEPS, HALF = 36, 18  # few different lengths, because each compiles
SERIES = mixed(STEPS)
REDUCERS = all_reducers(lambda state: state)
NAMES = list(REDUCERS)
most_reducers_slow = pytest.mark.parametrize("name", mostly_slow(NAMES, "covariance"))
# products of leaves of different precision have the dtype of one and the digits of the other
DIGITS = {"across": jnp.float32}


@most_reducers_slow
def test_scan_under_jit_equals_a_plain_loop(name):
    reducer, short = REDUCERS[name], at(SERIES, 0, HALF)
    carry, update = reducer.init(at(short, 0)), jax.jit(reducer.update)
    for t in range(HALF):
        carry = update(carry, at(short, t))
    assert_close(reducer.result(fed(reducer, short)), reducer.result(carry), kind=DIGITS.get(name))


@most_reducers_slow
def test_a_saved_carry_continues_bit_by_bit(name, tmp_path):
    reducer = REDUCERS[name]
    first = fed(reducer, at(SERIES, 0, HALF))
    leaves, structure = jax.tree.flatten(first)
    (tmp_path / "carry").write_bytes(pickle.dumps([np.asarray(x) for x in leaves]))
    read = [jnp.asarray(x) for x in pickle.loads((tmp_path / "carry").read_bytes())]
    again = fed(reducer, at(SERIES, HALF, STEPS), jax.tree.unflatten(structure, read))
    assert_same(again, fed(reducer, at(SERIES, HALF, STEPS), first))


@pytest.mark.parametrize("name", NAMES)
def test_shapes_and_dtypes_of_the_carry_never_change(name):
    reducer, state = REDUCERS[name], at(SERIES, 0)
    carry = reducer.init(state)
    new = jax.eval_shape(reducer.update, carry, state)
    assert jax.tree.structure(new) == jax.tree.structure(carry)
    for x, y in zip(jax.tree.leaves(new), jax.tree.leaves(carry), strict=True):
        assert isinstance(y, jax.Array)
        assert (x.shape, x.dtype, x.weak_type) == (y.shape, y.dtype, y.weak_type)


@pytest.mark.parametrize("name", NAMES)
def test_the_initial_carry_depends_on_shapes_alone(name):
    reducer, state = REDUCERS[name], at(SERIES, 0)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    assert_same(reducer.init(shapes), reducer.init(state))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_batch_equals_its_members(name):
    reducer = REDUCERS[name]
    batch = [mixed(STEPS) for _ in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *batch)
    results = jax.vmap(lambda series: reducer.result(fed(reducer, series)))(stacked)
    for k, series in enumerate(batch):
        assert_close(at(results, k), reducer.result(fed(reducer, series)), kind=DIGITS.get(name))


@pytest.mark.parametrize("name", mostly_slow([name for name in MERGEABLE if name != "quantiles"], "covariance"))
@pytest.mark.parametrize("cut", [0, HALF])
def test_merged_streams_equal_one(name, cut):
    reducer = REDUCERS[name]
    empty = reducer.init(at(SERIES, 0))
    parts = [fed(reducer, part, empty) for part in (at(SERIES, 0, cut), at(SERIES, cut, STEPS))]
    merged = jax.jit(reducer.merge)(*parts)
    assert_close(reducer.result(merged), reducer.result(fed(reducer, SERIES)), kind=DIGITS.get(name))
    assert jax.tree.structure(merged) == jax.tree.structure(empty)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MERGEABLE])
def test_a_reducer_that_depends_on_order_refuses_to_merge(name):
    carry = REDUCERS[name].init(at(SERIES, 0))
    with pytest.raises(ValueError, match="cannot be merged"):
        REDUCERS[name].merge(carry, carry)


def test_tree_of_reducers_is_one_reducer():
    reducers = (REDUCERS["mean"], {"b": [REDUCERS["extremes"]], "nothing": None})
    carry = fed(reducers, SERIES)
    out = stream.result(reducers, carry)
    assert_close(out[0], REDUCERS["mean"].result(fed(REDUCERS["mean"], SERIES)))
    assert_same(out[1]["b"][0], REDUCERS["extremes"].result(fed(REDUCERS["extremes"], SERIES)))
    merged = stream.merge(reducers, carry, carry)
    assert_close(stream.result(reducers, merged), out)


def test_observable_may_use_the_environment():
    reducer = stream.mean(lambda state, env: state * env["factor"])
    carry = reducer.update(reducer.init(1.0, {"factor": 2.0}), 3.0, {"factor": 2.0})
    assert float(reducer.result(carry)) == 6.0


def test_leaves_that_are_not_numbers_ride_along():
    reducer = stream.mean(lambda state: {"weight": state, "activation": jnp.tanh, "name": "layer", "size": 3})
    out = reducer.result(reducer.update(reducer.init(1.0), 5.0))
    assert out["activation"] is jnp.tanh and out["name"] == "layer"
    assert (float(out["weight"]), float(out["size"])) == (5.0, 3.0)


def test_numbers_of_a_reducer_are_leaves():
    edges = jnp.stack([jnp.array([0.0, 1.0, 2.0]), jnp.array([0.0, 0.1, 0.2])])
    out = jax.vmap(lambda e: fed(stream.histogram(lambda x: x, e), jnp.full(5, 0.15)).low)(edges)
    np.testing.assert_array_equal(out, [[0, 5, 0, 0, 0], [0, 0, 5, 0, 0]])


def test_the_result_without_observations_is_nan():
    state = jnp.zeros((2,))
    assert np.all(np.isnan(stream.mean(jnp.sin).result(stream.mean(jnp.sin).init(state))))
    out = stream.variance(jnp.sin).result(fed(stream.variance(jnp.sin), jnp.zeros((1, 2))))
    assert np.all(out.mean == 0) and np.all(np.isnan(out.variance))


def test_bad_observable_is_an_error():
    for name, reducer in all_reducers(lambda x: x * (1 + 2j)).items():
        if name != "mean":
            with pytest.raises(ValueError, match="defined for real numbers, got an observable of dtype complex128"):
                reducer.init(1.0)
    with pytest.raises(ValueError, match="Leave random keys out"):
        stream.mean(lambda x: jax.random.key(0)).init(1.0)
    with pytest.raises(ValueError, match="reducers: expected a Reducer or a tree of them"):
        stream.init({"mean": jnp.mean}, 1.0)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "pooled"])
def test_observable_of_another_shape_is_an_error(name):
    reducer = all_reducers(lambda x: x)[name]
    carry = jax.eval_shape(reducer.init, jnp.zeros(3))
    with pytest.raises(ValueError, match=r"of: expected .*\[3\].*got \[1\]"):
        jax.eval_shape(reducer.update, carry, jnp.zeros(1))
