r"""Dual averaging: find the length of a step that gives an acceptance.

With the shortfalls $\delta_t$ of the acceptance below its goal, the logarithm of the step is

$$ \ln h_{t+1} = \mu - \frac{\sqrt t}{\gamma} \bar\delta_t, \qquad
\bar\delta_t = \Big(1 - \frac{1}{t + t_0}\Big) \bar\delta_{t-1} + \frac{\delta_t}{t + t_0}, $$

and the result is the average of all $\ln h_t$ in which a late one counts more.
"""

from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn._struct import Struct

_GAMMA, _FIRST, _FORGET = 0.05, 10.0, 0.75


class DualAveraging(Struct):
    """The memory of a dual averaging.

    Attributes:
        current: logarithm of the step to try next.
        average: logarithm of the step so far, the result.
        center: the logarithm to which `current` is drawn.
        shortfall: weighted mean of the shortfalls.
        count: number of them.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn.montecarlo import DualAveraging
        >>> one = lambda memory, _: (memory.after(0.8 - jnp.exp(-jnp.exp(memory.current))), None)
        >>> memory, _ = jax.lax.scan(one, DualAveraging.at(jnp.array(0.0)), length=1000)
        >>> print(f"{jnp.exp(-jnp.exp(memory.average)):.2f}")
        0.80

    Reference:
        Nesterov, Math. Program. 120, 221 (2009), doi:10.1007/s10107-007-0149-x; Hoffman, Gelman, J. Mach. Learn. Res.
        15, 1593 (2014).
    """

    current: Float[Array, "..."]
    average: Float[Array, "..."]
    center: Float[Array, "..."]
    shortfall: Float[Array, "..."]
    count: Float[Array, "..."]

    @classmethod
    def at(cls, log_step: jax.Array) -> Self:
        """Return the memory at the beginning; steps that are longer by up to ten are tried first."""
        zero = jnp.zeros_like(log_step)
        center = log_step + jnp.log(jnp.asarray(10, log_step.dtype))
        return cls(current=log_step, average=log_step, center=center, shortfall=zero, count=zero)

    def after(self, shortfall: Float[Array, ""]) -> Self:
        """Return the memory after a step whose acceptance was that much below its goal."""
        count = self.count + 1
        part = 1 / (count + _FIRST)
        mean = (1 - part) * self.shortfall + part * shortfall.astype(part.dtype)
        current = self.center - jnp.sqrt(count) / _GAMMA * mean
        late = count**-_FORGET
        average = late * current + (1 - late) * self.average
        return self.replace(current=current, average=average, shortfall=mean, count=count)
