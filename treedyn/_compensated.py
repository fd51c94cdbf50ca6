r"""Compensated sums: numbers in twice the precision of their dtype.

A clock in float32 that counts steps of 0.001 stops at 16,384, where the step is smaller than half the spacing of the
numbers. A sum in two parts, the rounded number and its rounding error (Knuth's two-sum), has twice as many digits.
"""

from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from treedyn._struct import Struct


class Compensated(Struct):
    """A number in twice the precision of its dtype, elementwise.

    Attributes:
        high: the rounded number.
        low: its rounding error.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn._compensated import Compensated
        >>> clock = Compensated.of(jnp.float32(1e6))
        >>> for _ in range(100):
        ...     clock = clock.plus(jnp.float32(0.01))
        >>> print(clock.value - 1e6)
        1.0
    """

    high: jax.Array
    low: jax.Array

    @classmethod
    def of(cls, value: ArrayLike) -> Self:
        """Return a number without a rounding error."""
        high = jnp.asarray(value)
        return cls(high=high, low=jnp.zeros_like(high))

    @property
    def value(self) -> jax.Array:
        """Return the number, rounded to its dtype."""
        return self.high + self.low

    @property
    def dtype(self) -> jnp.dtype:
        """Return the dtype of both parts."""
        return self.high.dtype

    def plus(self, step: jax.Array) -> Self:
        """Return the sum with `step`."""
        small = self.low + step
        high = self.high + small
        part = high - self.high
        return self.replace(high=high, low=(self.high - (high - part)) + (small - part))
