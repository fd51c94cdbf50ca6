"""Unrolled keys draw the same bits as those of JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import KEY, mostly_slow
from treedyn import noise
from treedyn._threefry import fold_in, written_out

SHAPES = [(), (0,), (7,), (3, 5), (2, 3, 4)]


SAMPLERS = [(jax.random.normal, dtype) for dtype in (jnp.float32, jnp.float64, jnp.float16, jnp.bfloat16)]
SAMPLERS += [(jax.random.uniform, jnp.float32), (jax.random.exponential, jnp.float32)]


@pytest.mark.parametrize("sampler, dtype", mostly_slow(SAMPLERS, SAMPLERS[0]))
def test_samplers_draw_the_same_bits(sampler, dtype):
    @jax.jit
    def drawn(key):
        return [sampler(key, shape, dtype) for shape in SHAPES]

    for found, expected in zip(drawn(written_out(KEY)), drawn(KEY), strict=True):
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.uint16, jnp.uint32, jnp.uint64])
def test_words_are_the_same_bits(dtype):
    for shape in SHAPES:
        np.testing.assert_array_equal(
            jax.random.bits(written_out(KEY), shape, dtype), jax.random.bits(KEY, shape, dtype)
        )


@pytest.mark.slow
def test_derived_keys_are_the_same_bits():
    data = jax.random.key_data
    for make in (lambda key: jax.random.split(key, (3, 2)), lambda key: jax.random.fold_in(key, 2**32 - 1)):
        np.testing.assert_array_equal(data(make(written_out(KEY))), data(make(KEY)))
    np.testing.assert_array_equal(jax.random.gamma(written_out(KEY), 2.5, (5,)), jax.random.gamma(KEY, 2.5, (5,)))
    many = jax.random.split(KEY, 4)
    draw = jax.vmap(lambda key: jax.random.normal(written_out(key), (3,)))
    np.testing.assert_array_equal(draw(many), jax.vmap(lambda key: jax.random.normal(key, (3,)))(many))


def test_keys_of_other_generators_are_unchanged_and_old_keys_work():
    other = jax.random.key(0, impl="rbg")
    assert written_out(other) is other
    assert written_out(written_out(KEY)).dtype == written_out(KEY).dtype
    old = jax.random.PRNGKey(3)
    np.testing.assert_array_equal(jax.random.normal(written_out(old), (3,)), jax.random.normal(old, (3,)))
    with pytest.raises(ValueError, match=r"shape: expected at most 2\^32 elements"):
        jax.jit(lambda: jax.random.bits(written_out(KEY), (2**17, 2**17))).lower()


@pytest.mark.parametrize("key", [KEY, jax.random.PRNGKey(3), jax.random.key(0, impl="rbg")])
def test_returned_keys_are_keys_of_jax_and_can_be_saved(key, tmp_path):
    expected = jax.random.fold_in(key, 5)
    found = fold_in(key, 5)
    assert found.dtype == expected.dtype
    for one, other in ((found, expected), (fold_in(found, 2), jax.random.fold_in(expected, 2))):
        np.testing.assert_array_equal(jax.random.key_data(one), jax.random.key_data(other))
    state = td.langevin(lambda x: jnp.sum(x**2), 0.1, 1.0).init(key, jnp.ones(2))
    for handed in (state.stream, noise.of_step(state), noise.at_path(key, "a")):
        td.save(tmp_path / "key.npz", {"key": handed})
        back = td.load(tmp_path / "key.npz", like={"key": handed})["key"]
        assert back.dtype == handed.dtype == key.dtype
        np.testing.assert_array_equal(jax.random.key_data(back), jax.random.key_data(handed))
