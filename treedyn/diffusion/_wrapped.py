r"""Data on circles whose denoiser is known in closed form: wrapped normal distributions.

The density of a deviation v with the variance V in a period L is a sum over images, or a Fourier series:

$$ p(d) = \sum_n \frac{e^{-(d + nL)^2/2V}}{\sqrt{2\pi V}}
        = \frac1L \Big[1 + 2 \sum_k e^{-2 \pi^2 k^2 V/L^2} \cos \frac{2\pi k d}{L}\Big]. $$

A few terms of the first are exact at small noise, and a few of the second at large noise.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, sum_of
from treedyn.diffusion._process import Level
from treedyn.tree import PyTree

_IMAGES, _WAVES = 4, 8
# both series are exact to double precision at this deviation in units of the period
_CROSSING = 0.3


class Wrapped(Denoiser):
    """Independent wrapped normal elements: exact at every level of a variance-exploding process.

    Attributes:
        mean: means, a prefix tree.
        std: standard deviations of the data, a prefix tree.
        period: periods, a prefix tree.
    """

    mean: PyTree
    std: PyTree
    period: PyTree

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        del env
        part = tree.moving(tree.box(position))
        numbers = [
            tree.broadcast(value, part, name)
            for name, value in (("mean", self.mean), ("std", self.std), ("period", self.period))
        ]

        def surprise(level: Level, x: jax.Array, mean: jax.Array, std: jax.Array, period: jax.Array) -> jax.Array:
            return jnp.sum(_surprise(x - mean, std**2 + tree.cast(level.sigma, x) ** 2, period)[0])

        def noise(level: Level, x: jax.Array, mean: jax.Array, std: jax.Array, period: jax.Array) -> jax.Array:
            slope = _surprise(x - mean, std**2 + tree.cast(level.sigma, x) ** 2, period)[1]
            return sum_of(x, (level.sigma, slope))

        def denoised(level: Level, x: jax.Array, noise: jax.Array) -> jax.Array:
            return x - sum_of(x, (level.sigma, noise))

        found = over(noise, [level], part, *numbers)
        return Prediction(
            denoised=over(denoised, [level], part, found),
            noise=found,
            energy=tree.total(over(surprise, [level], part, *numbers)),
        )


def _surprise(way: jax.Array, variance: jax.Array, period: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return -log of the density of a displacement, and its derivative."""
    variance, period = (jnp.broadcast_to(x, way.shape) for x in (variance, period))
    u = way / period
    u = u - jnp.round(u)
    width = variance / period**2
    sharp = width < _CROSSING**2

    # the unused series gets numbers at which it is finite
    narrow = jnp.where(sharp, width, _CROSSING**2)
    shifts = u[..., None] + _row(-_IMAGES, _IMAGES + 1, u)
    exponents = -(shifts**2) / (2 * narrow[..., None])
    constant = jnp.log(2 * np.pi * narrow) / 2
    images = constant - jax.nn.logsumexp(exponents, axis=-1)
    pull = jnp.sum(jax.nn.softmax(exponents, axis=-1) * shifts, axis=-1) / narrow

    wide = jnp.where(sharp, _CROSSING**2, width)
    waves = _row(1, _WAVES + 1, u)
    factors = 2 * jnp.exp(-2 * (np.pi * waves) ** 2 * wide[..., None])
    angles = 2 * np.pi * waves * u[..., None]
    density = 1 + jnp.sum(factors * jnp.cos(angles), axis=-1)
    slope = jnp.sum(factors * 2 * np.pi * waves * jnp.sin(angles), axis=-1)

    energy = jnp.where(sharp, images, -jnp.log(density)) + jnp.log(period)
    return energy, jnp.where(sharp, pull, slope / density) / period


def _row(start: int, stop: int, like: jax.Array) -> jax.Array:
    """Return integers along a new last axis."""
    return jnp.arange(start, stop, dtype=like.dtype).reshape((1,) * like.ndim + (-1,))


def wrapped(mean: PyTree = 0.0, std: PyTree = 1.0, *, period: PyTree) -> Wrapped:
    """Build the exact denoiser of independent wrapped normal data, such as angles or positions in a box.

    Args:
        mean: means: a number, an array or a prefix tree.
        std: standard deviations before wrapping, zero or positive, in the same form.
        period: periods, positive, in the same form.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> angle = diffusion.wrapped(std=0.0, period=2 * jnp.pi)
        >>> print(angle.at(diffusion.VarianceExploding().at(1.0))(jnp.asarray(3.0)).force.round(5))
        -1.17045

    Reference:
        Jing et al., NeurIPS (2022), arXiv:2206.01729.
    """

    def numbers(name: str, value: PyTree, **conditions: Any) -> PyTree:
        return jax.tree.map(lambda x: check.floats(check.array(name, x, "numbers", **conditions)), value)

    return Wrapped(
        mean=numbers("mean", mean),
        std=numbers("std", std, nonnegative=True),
        period=numbers("period", period, positive=True),
    )
