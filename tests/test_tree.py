"""Tree arithmetic agrees with NumPy on every leaf of any tree; leaves that cannot move are unchanged."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import TREES, assert_close, assert_same_bits, tolerance
from treedyn import tree

SHAPES = [(), (3,), (2, 3)]
FLOATS = (np.float32, np.float64)


@st.composite
def arrays(draw, kinds=FLOATS):
    seed, shape, kind = draw(st.integers(0, 2**31)), draw(st.sampled_from(SHAPES)), draw(st.sampled_from(kinds))
    return np.random.default_rng(seed).uniform(-2, 2, shape).astype(kind)


def nested(leaves):
    def grow(below):
        named = st.dictionaries(st.sampled_from("abc"), below, max_size=3)
        return st.lists(below, max_size=3) | named | st.tuples(below, below)

    return st.recursive(leaves, grow, max_leaves=6)


INERT = st.sampled_from([None, 3, True, "name", jnp.tanh, np.arange(2), np.array([True, False]), {}, []])
FLOAT_TREES = nested(arrays() | st.none()).map(lambda x: jax.tree.map(jnp.asarray, x))
ANY_TREES = nested(arrays() | INERT)


def like(x, seed):
    random = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(random.uniform(0.5, 2, leaf.shape).astype(leaf.dtype)), x)


def leafwise(f, *trees):
    return jax.tree.map(lambda *leaves: jnp.asarray(f(*map(np.asarray, leaves)).astype(leaves[0].dtype)), *trees)


@given(FLOAT_TREES, st.integers(0, 99))
def test_arithmetic_agrees_with_numpy_leaf_by_leaf(x, seed):
    y, a = like(x, seed), np.float64(0.75)
    assert_close(tree.add(x, y), leafwise(np.add, x, y))
    assert_close(tree.subtract(x, y), leafwise(np.subtract, x, y))
    assert_close(tree.divide(x, y), leafwise(np.divide, x, y))
    assert_close(tree.scale(a, x), leafwise(lambda x: a * x, x))
    assert_close(tree.axpy(a, x, y), leafwise(lambda x, y: a * x + y, x, y))
    assert_close(tree.scale(y, x), leafwise(np.multiply, y, x))
    assert_close(tree.zeros_like(x), leafwise(np.zeros_like, x))
    for condition in (True, False):
        assert_same_bits(tree.where(jnp.asarray(condition), x, y), x if condition else y)


@given(FLOAT_TREES, st.integers(0, 99))
def test_reductions_agree_with_those_of_one_long_vector(x, seed):
    y = like(x, seed)
    leaves = jax.tree.leaves(x)
    flat, other = (np.concatenate([np.zeros(0), *(np.ravel(leaf) for leaf in jax.tree.leaves(z))]) for z in (x, y))
    kind = np.result_type(*(leaf.dtype for leaf in leaves)) if leaves else np.dtype(float)
    tol = tolerance(*(leaf.dtype for leaf in leaves), kind)
    expected = {tree.total: flat.sum(), tree.norm: np.linalg.norm(flat), tree.max_abs: np.max(np.abs(flat), initial=0)}
    for reduce, value in expected.items():
        assert reduce(x).dtype == kind
        np.testing.assert_allclose(reduce(x), value, rtol=tol, atol=tol)
    np.testing.assert_allclose(tree.vdot(x, y), flat @ other, rtol=tol, atol=tol)
    assert tree.size(x) == flat.size and tree.dtype(x) == kind


@given(FLOAT_TREES, st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_one_element_that_is_not_finite_is_found(x, bad, data):
    assert tree.finite(x)
    leaves, structure = jax.tree.flatten(x)
    if not leaves:
        return
    k = data.draw(st.integers(0, len(leaves) - 1))
    place = data.draw(st.integers(0, leaves[k].size - 1))
    leaves[k] = leaves[k].reshape(-1).at[place].set(bad).reshape(leaves[k].shape)
    assert not tree.finite(jax.tree.unflatten(structure, leaves))
    assert not tree.finite({"a": jnp.array([jnp.inf, -jnp.inf])})  # infinities of both signs do not cancel


@given(ANY_TREES)
def test_boxing_and_back_gives_the_same_tree(x):
    boxed = tree.box(x)
    back = tree.unbox(boxed)
    assert jax.tree.structure(back) == jax.tree.structure(x)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(x), strict=True):
        assert (one is other) or type(one) is type(other) or isinstance(one, jax.Array)
        assert one is other or np.array_equal(one, other)
    assert_same_bits(tree.box(boxed), boxed)
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(boxed))
    jax.eval_shape(lambda b: b, boxed)


@given(ANY_TREES)
def test_the_moving_part_has_the_floating_point_leaves_and_merges_back(x):
    boxed = tree.box(x)
    part = tree.moving(boxed)
    expected = [leaf for leaf in jax.tree.leaves(x) if getattr(leaf, "dtype", None) in FLOATS]
    for one, other in zip(jax.tree.leaves(part), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_bits(tree.merge(part, boxed), boxed)
    doubled = tree.merge(tree.scale(2, part), boxed)
    assert jax.tree.structure(doubled) == jax.tree.structure(boxed)
    assert_same_bits(tree.moving(doubled), tree.scale(2, part))


@pytest.mark.parametrize("name", TREES)
def test_the_moving_part_has_the_inexact_arrays_of_equinox(name):
    position = TREES[name](jnp.float32)
    assert_same_bits(tree.moving(tree.box(position)), eqx.filter(position, eqx.is_inexact_array))


def test_python_numbers_become_strong_arrays_and_static_values_compare_by_type():
    boxed = tree.box({"x": 0.5, "n": 1, "yes": True})
    assert not boxed["x"].weak_type and boxed["x"].dtype == jnp.float64
    assert boxed["n"] == tree.Static(1) and boxed["n"] != boxed["yes"] and hash(boxed["n"]) != hash(boxed["yes"])
    assert jax.tree.structure(boxed) != jax.tree.structure(tree.box({"x": 0.5, "n": 2, "yes": True}))


def test_keys_are_arrays_that_do_not_move():
    boxed = tree.box({"key": jax.random.key(0), "x": 1.0})
    assert tree.moving(boxed)["key"] is None
    both = tree.where(jnp.asarray(False), boxed, tree.box({"key": jax.random.key(1), "x": 2.0}))
    assert_same_bits(both, tree.box({"key": jax.random.key(1), "x": 2.0}))


@given(FLOAT_TREES)
def test_any_prefix_of_a_tree_broadcasts_to_it(x):
    assert_close(tree.broadcast(1.5, x, "mass"), jax.tree.map(lambda leaf: jnp.asarray(1.5, leaf.dtype), x))
    full = jax.tree.map(lambda leaf: float(leaf.size), x)
    spread = tree.broadcast(full, x, "mass")
    assert [float(m) for m in jax.tree.leaves(spread)] == jax.tree.leaves(full)
    if isinstance(x, dict):
        top = {key: float(k) for k, key in enumerate(x)}
        below = tree.prefix_map(lambda value, leaf: value, top, x, name="mass")
        assert all(set(jax.tree.leaves(below[key])) <= {top[key]} for key in x)


@pytest.mark.parametrize(
    "number, leaf, shape",
    [((), (2, 3), ()), ((2,), (2, 3), (2, 1)), ((2, 1), (2, 3), (2, 1)), ((2, 3),) * 3, ((3,), (3, 3), (3, 1))],
)
def test_numbers_align_with_the_leading_axes(number, leaf, shape):
    aligned = tree.align(jnp.ones(number), jnp.zeros(leaf, jnp.float32), "mass")
    assert (aligned.shape, aligned.dtype) == (shape, jnp.float32)


@pytest.mark.parametrize("number, leaf", [((3,), (2, 3)), ((2, 3, 1), (2, 3)), ((1,), ()), ((2,), ())])
def test_numbers_of_another_shape_are_refused(number, leaf):
    with pytest.raises(ValueError, match=r"mass of shape .* does not fit a leaf of shape .*: expected a scalar"):
        tree.align(jnp.ones(number), jnp.zeros(leaf), "mass")


def test_an_error_inside_prefix_map_is_not_reported_as_a_wrong_structure():
    def fails(value, leaf):
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        tree.prefix_map(fails, 1.0, {"a": jnp.zeros(2)}, name="mass")


def test_gradient_of_the_norm_is_the_direction_and_zero_at_zero():
    slope = jax.grad(tree.norm)({"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)})
    assert_close(slope, {"a": jnp.array([0.6, 0.0]), "b": jnp.array(0.8)})
    assert_close(jax.grad(tree.norm)({"a": jnp.zeros(2)}), {"a": jnp.zeros(2)})
    assert jnp.isnan(tree.norm({"a": jnp.array([jnp.nan, 0.0])}))


def test_widest_dtype_works_under_strict_promotion():
    assert tree.widest(jnp.float32, jnp.float64) == jnp.float64
    assert tree.widest(jnp.bfloat16, jnp.float16) == jnp.float32


def test_paths_and_descriptions_of_trees():
    layer = TREES["struct"](jnp.float32)
    assert tree.paths({"net": [layer]}) == ["['net'][0].weight", "['net'][0].bias"]
    assert tree.describe({"a": 1, "b": None}) == "{'a': *, 'b': None}"
