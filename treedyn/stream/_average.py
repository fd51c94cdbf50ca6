r"""A running mean that does not stand still.

The mean of n values follows from that of n - 1 by $m \leftarrow m + (x - m)/n$. In float32, for values near 10^4, the
step is smaller than the spacing of numbers after a thousand observations, and the mean stops moving. So it is a
compensated sum.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp

from treedyn._compensated import Compensated
from treedyn.stream._reducer import check_shape


class Average(Compensated):
    """Hold a running mean in twice the precision of its dtype, elementwise.

    A value that is not finite makes it NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn.stream import Average
        >>> average = Average.zero((), jnp.float32)
        >>> for n, x in enumerate([1.0, 2.0, 6.0], start=1):
        ...     average = average.toward(jnp.float32(x), jnp.float32(n))
        >>> print(average.value)
        3.0
    """

    @classmethod
    def zero(cls, shape: tuple[int, ...], dtype: Any) -> Self:
        """Return the mean of no values."""
        return cls.of(jnp.zeros(shape, dtype))

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

    def joined(self, other: "Average", part: jax.Array) -> Self:
        """Return the mean of two sets of values, where the fraction `part` of all is in the other."""
        return self.plus(self.gap(other) * part.astype(self.dtype))

    def gap(self, other: "Average") -> jax.Array:
        """Return `other - self`."""
        return (other.high - self.high) + (other.low - self.low)


__all__ = ["Average"]
