"""The random numbers of JAX, several times faster on CPUs.

On CPUs, `jax.random` runs the rounds of threefry in a loop, which compiles faster. Here they are unrolled into one
vectorized kernel, which XLA fuses with the code that uses the numbers. The bits are the same.

Reference:
    Salmon, Moraes, Dror, Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11 (2011), doi:10.1145/2063384.2063405.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_JAX = "threefry2x32"


def written_out(key: jax.Array) -> jax.Array:
    """Return a key that draws the same numbers faster; a key of another generator is returned unchanged.

    Use it to draw, but do not return it to users: its generator has no name in files.
    """
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if jax.random.key_impl(key) != _JAX:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_implementation())


def fold_in(key: jax.Array, data: ArrayLike) -> jax.Array:
    """Return `jax.random.fold_in(key, data)`, a key of the same kind as `key`."""
    new = jax.random.fold_in(written_out(key), data)
    if new.dtype == key.dtype:
        return new
    words = jax.random.key_data(new)
    return jax.random.wrap_key_data(words, impl=_JAX) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else words


def _words(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Return two words for every element of an array, functions of the key and the index of the element."""
    if math.prod(shape) > 2**32:
        raise ValueError(f"shape: expected at most 2^32 elements in a leaf, got {shape}. Split the leaf.")
    number, stride = jnp.zeros(shape, jnp.uint32), 1
    for axis in reversed(range(len(shape))):
        number = number + np.uint32(stride) * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        stride = stride * shape[axis] % 2**32
    return _rounds(key, jnp.zeros_like(number), number)


def _rounds(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the counter (x, y) after 20 rounds of threefry 2x32."""
    words = (key[0], key[1], key[0] ^ key[1] ^ _PARITY)
    x, y = x + words[0], y + words[1]
    for k in range(5):
        for places in _ROTATIONS[k % 2]:
            x = x + y
            y = x ^ (y << np.uint32(places) | y >> np.uint32(32 - places))
        x, y = x + words[(k + 1) % 3], y + words[(k + 2) % 3] + np.uint32(k + 1)
    return x, y


def _bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    x, y = _words(key, shape)
    if bit_width == 64:
        return x.astype(jnp.uint64) << np.uint64(32) | y.astype(jnp.uint64)
    return (x ^ y).astype(f"uint{bit_width}")


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_words(key, shape), axis=-1)


def _fold_in(key: jax.Array, data: ArrayLike) -> jax.Array:
    return jnp.stack(_rounds(key, jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32)))


def _seed(seed: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed, impl=_JAX))


@functools.cache
def _implementation() -> Any:
    from jax.extend import random  # imported here because it is slow to import and not every program draws

    return random.define_prng_impl(
        key_shape=(2,),
        seed=_seed,
        split=_split,
        random_bits=_bits,
        fold_in=_fold_in,
        name="threefry2x32_written_out",
        tag="fry_written_out",
    )
