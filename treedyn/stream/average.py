r"""A running mean that does not stand still.

The mean of n values follows from that of n - 1 by $m \leftarrow m + (x - m)/n$. In float32, for values near 10^4, the
step is smaller than the spacing of numbers after a thousand observations, and the mean stops moving. Here it is held
in two parts, the second being what the first was rounded by (Knuth's two-sum), which doubles the digits.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp

from treedyn.stream.reducer import check_shape
from treedyn.struct import Struct


class Average(Struct):
    """Hold a running mean in twice the precision of its dtype, elementwise.

    A value that is not finite makes it NaN.

    Attributes:
        high: the mean, rounded.
        low: what was rounded off.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn.stream import Average
        >>> average = Average.zero((), jnp.float32)
        >>> for n, x in enumerate([1.0, 2.0, 6.0], start=1):
        ...     average = average.toward(jnp.float32(x), jnp.float32(n))
        >>> print(average.value)
        3.0
    """

    high: jax.Array
    low: jax.Array

    @classmethod
    def zero(cls, shape: tuple[int, ...], dtype: Any) -> Self:
        """Return the mean of no values."""
        return cls(high=jnp.zeros(shape, dtype), low=jnp.zeros(shape, dtype))

    @property
    def value(self) -> jax.Array:
        """Return the mean."""
        return self.high + self.low

    @property
    def dtype(self) -> jnp.dtype:
        """Return the dtype of the mean."""
        return self.high.dtype

    def toward(self, x: jax.Array, n: jax.Array) -> Self:
        """Return the mean of n values, `x` being the last of them.

        Args:
            x: the value, of the shape of the mean.
            n: how many values there are with this one; real, shaped to broadcast.

        Raises:
            ValueError: the value has another shape.
        """
        x = check_shape(x, self.high.shape).astype(self.dtype)
        return self.plus(((x - self.high) - self.low) / n.astype(self.dtype))

    def plus(self, step: jax.Array) -> Self:
        """Return the mean moved by `step`."""
        small = self.low + step
        high = self.high + small
        part = high - self.high
        return self.replace(high=high, low=(self.high - (high - part)) + (small - part))

    def joined(self, other: "Average", part: jax.Array) -> Self:
        """Return the mean of two sets of values, where the fraction `part` of all is in the other."""
        return self.plus(self.gap(other) * part.astype(self.dtype))

    def gap(self, other: "Average") -> jax.Array:
        """Return `other - self`."""
        return (other.high - self.high) + (other.low - self.low)


__all__ = ["Average"]
