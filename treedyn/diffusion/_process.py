r"""Noising processes: how much of the data and how much noise there is at a time.

At time t a process turns data $x_0$ into $x_t = \alpha(t)\, x_0 + \sigma(t)\, \varepsilon$ with standard normal noise.
Time runs from data to noise, and a sampler follows it backwards. All that a sampler knows of a process are its levels
and where the noise-to-signal ratio $\sigma/\alpha$ has a given value.
"""

from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from treedyn import _check as check
from treedyn._struct import Struct, static


class Level(Struct):
    r"""A noise level: $x = \alpha x_0 + \sigma \varepsilon$.

    Attributes:
        alpha: factor of the data.
        sigma: standard deviation of the noise.
        time: time of the process, in the units of a network that was trained on it.
        straight: whether the process is a straight line from data to noise.
    """

    alpha: Float[Array, "..."]
    sigma: Float[Array, "..."]
    time: Float[Array, "..."]
    straight: bool = static(default=False)

    @property
    def ratio(self) -> Float[Array, "..."]:
        r"""Return the noise-to-signal ratio $\sigma/\alpha$, infinite for pure noise."""
        return self.sigma / self.alpha

    @property
    def scale(self) -> Float[Array, "..."]:
        r"""Return the unit in which the flow is a function of one number: $\alpha$, or $\alpha + \sigma$ on a line."""
        return self.alpha + self.sigma if self.straight else self.alpha

    @property
    def noise(self) -> Float[Array, "..."]:
        r"""Return $\sigma$ in units of `scale`: that number."""
        return self.sigma / self.scale


def is_level(x: object) -> bool:
    """Tell whether `x` is a `Level`."""
    return isinstance(x, Level)


class Process(Struct):
    r"""A noising process; subclasses define $\alpha(t)$ and $\sigma(t)$.

    Attributes:
        straight: whether the process is a straight line from data to noise.
        span: the times of data and of noise.
    """

    straight: ClassVar[bool] = False

    @abstractmethod
    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        """Return the level at a time."""

    @abstractmethod
    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        r"""Return the level at which $\sigma/\alpha$ has a given value: the inverse of `at`."""

    def rates(self, level: Level) -> tuple[jax.Array, jax.Array, jax.Array]:
        r"""Return $\dot\alpha$, $\dot\sigma$, and the square $g^2 = d\sigma^2/dt - 2 \sigma^2 \dot\alpha/\alpha$."""
        one = jnp.ones_like(level.time)
        alpha, sigma = jax.jvp(lambda t: (self.at(t).alpha, self.at(t).sigma), (level.time,), (one,))[1]
        return alpha, sigma, 2 * level.sigma * (sigma - alpha * level.ratio)


class VariancePreserving(Process):
    r"""The process $dx = -\tfrac12 \beta x\,dt + \sqrt\beta\,dW$, with $\beta$ linear from `beta_min` to `beta_max`.

    Attributes:
        beta_min: rate at time 0.
        beta_max: rate at time 1.

    Reference:
        Song et al., ICLR (2021), arXiv:2011.13456.
    """

    beta_min: jax.Array | float = 0.1
    beta_max: jax.Array | float = 20.0

    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        time = _numbers(time)
        exponent = -time * (2 * self.beta_min + time * (self.beta_max - self.beta_min)) / 4
        return Level(alpha=jnp.exp(exponent), sigma=jnp.sqrt(-jnp.expm1(2 * exponent)), time=time)

    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        ratio = _numbers(ratio)
        half = jnp.log1p(jnp.square(ratio))
        slope = self.beta_max - self.beta_min
        # the root of slope t^2/2 + beta_min t = log(1 + ratio^2), without cancellation
        time = 2 * half / (self.beta_min + jnp.sqrt(self.beta_min**2 + 2 * slope * half))
        return _preserving(ratio, time)


class Cosine(Process):
    r"""The variance-preserving process with $\alpha \propto \cos \frac{\pi}{2} \frac{t + s}{1 + s}$.

    Attributes:
        offset: s, which keeps some noise at early times.

    Reference:
        Nichol, Dhariwal, ICML (2021), arXiv:2102.09672.
    """

    offset: jax.Array | float = 0.008

    def _angle(self, time: jax.Array | float) -> jax.Array:
        return jnp.asarray((time + self.offset) / (1 + self.offset) * (np.pi / 2))

    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        time = _numbers(time)
        first, angle = self._angle(0.0), self._angle(time)
        alpha = jnp.cos(angle) / jnp.cos(first)
        # 1 - alpha^2 without cancellation
        sigma = jnp.sqrt(jnp.sin(angle - first) * jnp.sin(angle + first)) / jnp.cos(first)
        return Level(alpha=alpha, sigma=sigma, time=time)

    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        ratio = _numbers(ratio)
        alpha = jnp.cos(self._angle(0.0)) / jnp.sqrt(1 + jnp.square(ratio))
        return _preserving(ratio, jnp.arccos(alpha) * (2 / np.pi) * (1 + self.offset) - self.offset)


class Discrete(Process):
    r"""The variance-preserving process of a network that knows T integer times.

    Between them, the logarithm of the noise-to-signal ratio is linear in time.

    Attributes:
        ratios: $\sigma/\alpha$ at the times 0 to T - 1, increasing.
    """

    ratios: Float[ArrayLike, "T"]

    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        time, table = _numbers(time), jnp.log(jnp.asarray(self.ratios))
        return _preserving(jnp.exp(jnp.interp(time, jnp.arange(table.size, dtype=table.dtype), table)), time)

    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        ratio, table = _numbers(ratio), jnp.log(jnp.asarray(self.ratios))
        return _preserving(ratio, jnp.interp(jnp.log(ratio), table, jnp.arange(table.size, dtype=table.dtype)))


class VarianceExploding(Process):
    r"""The process that only adds noise, $\alpha = 1$; its time is $\sigma$."""

    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        time = _numbers(time)
        return Level(alpha=jnp.ones_like(time), sigma=time, time=time)

    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        return self.at(ratio)


class RectifiedFlow(Process):
    r"""The straight line from data to noise, $\alpha = 1 - t$ and $\sigma = t$."""

    straight: ClassVar[bool] = True

    def at(self, time: Real[ArrayLike, "..."]) -> Level:
        time = _numbers(time)
        return Level(alpha=1 - time, sigma=time, time=time, straight=True)

    def of_ratio(self, ratio: Real[ArrayLike, "..."]) -> Level:
        ratio = _numbers(ratio)
        return self.at(ratio / (1 + ratio))

    def rates(self, level: Level) -> tuple[jax.Array, jax.Array, jax.Array]:
        r"""Return $-1$, $1$, and $2\sigma$: the noise of the exact process would be infinite at pure noise."""
        one = jnp.ones_like(level.sigma)
        return -one, one, 2 * level.sigma


def _numbers(x: Real[ArrayLike, "..."]) -> jax.Array:
    return jnp.asarray(check.floats(x))


def _preserving(ratio: jax.Array, time: jax.Array) -> Level:
    """Return the variance-preserving level of a ratio from 0 to infinity."""
    alpha, sigma = 1 / jnp.sqrt(1 + ratio**2), 1 / jnp.sqrt(1 + 1 / ratio**2)
    return Level(alpha=alpha, sigma=sigma, time=time)
