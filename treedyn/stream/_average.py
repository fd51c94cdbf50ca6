r"""A running mean with twice the digits of its dtype.

The mean of n values follows from that of n - 1 by $m \leftarrow m + (x - m)/n$. In float32, for values near 10^4, the
step is smaller than the spacing of numbers after a thousand observations, and the mean no longer changes. Therefore
the mean is a compensated sum.
"""

from typing import Any, Self

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float, Inexact

from treedyn._compensated import Compensated
from treedyn.stream._reducer import check_shape


class Average(Compensated):
    """A running mean in twice the precision of its dtype, elementwise. It is NaN after a value that is not finite.

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
    def zero(cls, shape: tuple[int, ...], dtype: DTypeLike) -> Self:
        """Return the mean of no values."""
        return cls.of(jnp.zeros(shape, dtype))

    def toward(self, x: jax.Array, n: jax.Array) -> Self:
        """Return the mean of n values.

        Args:
            x: the last of them, in the shape of the mean.
            n: the number of values, `x` included; real, broadcasts against the mean.

        Raises:
            ValueError: `x` has another shape.
        """
        return self.plus(self.distance(check_shape(x, self.high.shape)) / n.astype(self.dtype))

    def joined(self, other: "Average", part: Float[jax.Array, "..."]) -> Self:
        """Return the mean of two sets of values; `part` is the fraction of all values that is in `other`."""
        return self.plus(self.gap(other) * part.astype(self.dtype))

    def gap(self, other: "Average") -> Inexact[jax.Array, "..."]:
        """Return `other - self`."""
        return (other.high - self.high) + (other.low - self.low)

    def distance(self, x: jax.Array) -> Inexact[jax.Array, "..."]:
        """Return `x - self`."""
        return (x.astype(self.dtype) - self.high) - self.low


def is_average(x: Any) -> bool:
    """Return whether `x` is an `Average`, the leaf of a tree of averages."""
    return isinstance(x, Average)
