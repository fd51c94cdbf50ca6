"""Noise is a function of (key, step, place in the step, leaf path, element) only."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from treedyn import noise

KEY = jax.random.key(3)
SAMPLERS = pytest.mark.parametrize("sampler", [noise.normal, noise.uniform])


def tree(n=4):
    return {"a": jnp.zeros(n), "b": (jnp.zeros((n, 2)), {"c": jnp.zeros(())})}


def bits(x):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(x)])


@SAMPLERS
def test_noise_has_structure_shapes_and_dtypes_of_the_tree(sampler):
    like = {
        "x": jnp.zeros((2, 3), jnp.float32),
        "n": None,
        "y": [jnp.zeros((), jnp.float64), jnp.zeros(3, jnp.bfloat16)],
    }
    drawn = sampler(KEY, like)
    assert jax.tree.structure(drawn) == jax.tree.structure(like)
    assert [(x.shape, x.dtype) for x in jax.tree.leaves(drawn)] == [(x.shape, x.dtype) for x in jax.tree.leaves(like)]


def test_other_leaves_do_not_change_the_noise():
    alone = noise.normal(KEY, {"m": {"c": jnp.zeros(4)}})
    beside = noise.normal(KEY, {"a": jnp.zeros(4), "m": {"b": jnp.zeros(4), "c": jnp.zeros(4)}, "z": jnp.zeros(())})
    np.testing.assert_array_equal(alone["m"]["c"], beside["m"]["c"])


@SAMPLERS
def test_more_rows_do_not_change_the_first_rows(sampler):
    few, many = sampler(KEY, tree(4)), sampler(KEY, tree(9))
    np.testing.assert_array_equal(few["a"], many["a"][:4])
    np.testing.assert_array_equal(few["b"][0], many["b"][0][:4])


def test_keys_steps_places_and_paths_have_different_noise():
    keys = [noise.at_step(jax.random.key(seed), step, place) for seed in (0, 1) for step in (0, 1) for place in (0, 1)]
    drawn = [bits(noise.normal(key, tree())) for key in keys]
    for one, other in itertools.combinations(drawn, 2):
        assert not np.any(one == other)
    assert len(np.unique(np.concatenate(drawn))) == 8 * len(drawn[0])


# a change of these numbers changes every published trajectory
EXPECTED = [-0.2901533693812172, -1.603319980046147, -1.5594913363147835]


def test_noise_is_the_same_on_every_machine_and_in_every_version():
    np.testing.assert_allclose(
        noise.normal(noise.at_step(jax.random.key(0), 5, 1), {"w": jnp.zeros(4)})["w"][:3], EXPECTED, rtol=1e-14
    )


def test_noise_is_the_same_under_jit_and_vmap():
    keys = jax.random.split(KEY, 3)
    batch = jax.jit(jax.vmap(lambda key: noise.normal(key, tree())))(keys)
    for k in range(3):
        alone = noise.normal(keys[k], tree())
        np.testing.assert_array_equal(bits(jax.tree.map(lambda x, k=k: x[k], batch)), bits(alone))


def test_moments_of_the_noise_are_correct_within_five_sigma():
    count = 200_000
    x = np.asarray(noise.normal(KEY, {"x": jnp.zeros(count)})["x"])
    u = np.asarray(noise.uniform(KEY, {"x": jnp.zeros(count)})["x"])
    # (samples, expected mean, variance of one sample)
    for values, mean, variance in [
        (x, 0, 1), (x**2, 1, 2), (x**3, 0, 15), (x**4, 3, 96), (u, 1 / 2, 1 / 12), (u**2, 1 / 3, 4 / 45),
        (x[:-1] * x[1:], 0, 1), (x[1::2] ** 2 * x[::2] ** 2, 1, 8),
    ]:  # fmt: skip
        assert abs(values.mean() - mean) < 5 * np.sqrt(variance / len(values))
    assert u.min() >= 0 and u.max() < 1


def test_leaves_steps_and_places_are_uncorrelated_within_five_sigma():
    count = 200_000
    like = {"a": jnp.zeros(count), "b": jnp.zeros(count)}
    one, two, three = (noise.normal(noise.at_step(KEY, step, place), like) for step, place in ((0, 0), (1, 0), (0, 1)))
    rows = [np.asarray(x) for drawn in (one, two, three) for x in drawn.values()]
    for x, y in itertools.combinations(rows, 2):
        assert abs(np.mean(x * y)) < 5 / np.sqrt(count)
