"""A counter of 64 bits in two words, independent of `jax_enable_x64`.

A counter in float32 stops at 2^24, and one in int32 overflows at 2^31: two million observations of a thousand numbers
pass both. JAX has int64 only with `jax_enable_x64`.
"""

from typing import Self

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, UInt32

from treedyn._struct import Struct


class Count(Struct):
    """Natural numbers below 2^64, elementwise.

    Attributes:
        low: the lower 32 bits, uint32.
        high: the upper 32 bits, uint32.

    Example:
        >>> from treedyn.stream import Count
        >>> print(int((Count.zero() + 4_000_000_000 + 4_000_000_000).to("float32")))
        8000000000
    """

    low: UInt32[jax.Array, "..."]
    high: UInt32[jax.Array, "..."]

    @classmethod
    def zero(cls, shape: tuple[int, ...] = ()) -> Self:
        """Return zeros."""
        return cls(low=jnp.zeros(shape, jnp.uint32), high=jnp.zeros(shape, jnp.uint32))

    @classmethod
    def power(cls, exponent: jax.Array) -> Self:
        """Return 2^exponent, for integers in `[0, 64)`."""
        exponent = jnp.asarray(exponent).astype(jnp.uint32)
        # a shift by 32 bits or more is not portable
        one = jnp.left_shift(jnp.ones_like(exponent), exponent % jnp.uint32(32))
        is_low = exponent < jnp.uint32(32)
        return cls(low=jnp.where(is_low, one, 0), high=jnp.where(is_low, 0, one))

    def __add__(self, other: "Count | jax.Array | int") -> Self:
        """Return the sum with another count, or with natural numbers below 2^32."""
        low, high = (
            (other.low, other.high) if isinstance(other, Count) else (jnp.asarray(other, jnp.uint32), jnp.uint32(0))
        )
        total = self.low + low
        return self.replace(low=total, high=self.high + high + (total < low).astype(jnp.uint32))

    def __le__(self, other: "Count") -> Bool[jax.Array, "..."]:
        """Return whether this is at most `other`."""
        return (self.high < other.high) | ((self.high == other.high) & (self.low <= other.low))

    def bit(self, place: jax.Array | int) -> Bool[jax.Array, "..."]:
        """Return whether the bit at `place`, in `[0, 64)`, is set; `place` broadcasts against the count."""
        place = jnp.asarray(place).astype(jnp.uint32)
        word = jnp.where(place < jnp.uint32(32), self.low, self.high)
        return (jnp.right_shift(word, place % jnp.uint32(32)) & jnp.uint32(1)) == jnp.uint32(1)

    def to(self, dtype: DTypeLike) -> Float[jax.Array, "..."]:
        """Return the numbers in a floating-point dtype, rounded to its precision."""
        return self.high.astype(dtype) * jnp.asarray(2.0**32, dtype) + self.low.astype(dtype)
