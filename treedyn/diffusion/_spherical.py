r"""Data on a sphere whose denoiser is known in closed form: diffusion from a point.

With the angle $\theta$ to the mean, the density after a variance V on the unit sphere in three dimensions is

$$ p = \sum_l \frac{2l + 1}{4\pi}\, e^{-l(l + 1) V/2} P_l(\cos\theta). $$
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, sum_of
from treedyn.diffusion._process import Level
from treedyn.tree import PyTree

_TERMS = 96
_LEAST = 0.1  # the terms suffice for double precision


class Spherical(Denoiser):
    """Points on the unit sphere, diffused from their mean: exact at every level of a variance-exploding process.

    Attributes:
        mean: unit vectors, a prefix tree.
        std: standard deviation of the data along every direction.
    """

    mean: PyTree
    std: Real[ArrayLike, ""]

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        del env
        part = tree.moving(tree.box(position))
        means = tree.prefix_map(lambda m, x: jnp.broadcast_to(tree.cast(m, x), x.shape), self.mean, part, name="mean")

        def density(level: Level, x: jax.Array, mean: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            cosine = jnp.sum(x * mean, axis=-1)
            variance = tree.cast(self.std, x) ** 2 + tree.cast(level.sigma, x) ** 2
            value, slope = _series(cosine, variance)
            return cosine, value, slope

        def surprise(level: Level, x: jax.Array, mean: jax.Array) -> jax.Array:
            return -jnp.sum(jnp.log(density(level, x, mean)[1]))

        def noise(level: Level, x: jax.Array, mean: jax.Array) -> jax.Array:
            cosine, value, slope = density(level, x, mean)
            pull = (slope / value)[..., None] * (mean - cosine[..., None] * x)
            return sum_of(x, (-level.sigma, pull))

        found = over(noise, [level], part, means)
        denoised = over(lambda level, x, e: x - sum_of(x, (level.sigma, e)), [level], part, found)
        return Prediction(denoised=denoised, noise=found, energy=tree.total(over(surprise, [level], part, means)))


def _series(cosine: jax.Array, variance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the density and its derivative by the cosine."""
    one, zero = jnp.ones_like(cosine), jnp.zeros_like(cosine)

    def term(carry: tuple[jax.Array, ...], k: jax.Array) -> tuple[tuple[jax.Array, ...], None]:
        now, last, slope, steep, total, change = carry
        factor = (2 * k + 1) * jnp.exp(-k * (k + 1) * variance / 2) / jnp.asarray(4 * np.pi, k.dtype)
        following = ((2 * k + 1) * cosine * now - k * last) / (k + 1)
        return (
            (following, now, steep + (2 * k + 1) * now, slope, total + factor * now, change + factor * slope),
            None,
        )

    start = (one, zero, zero, zero, zero, zero)
    (*_, total, change), _ = jax.lax.scan(term, start, jnp.arange(_TERMS, dtype=cosine.dtype))
    return total, change


def spherical(mean: Float[Array, "... 3"], std: Real[ArrayLike, ""]) -> Spherical:
    """Build the exact denoiser of points on the unit sphere that diffused from a mean.

    Args:
        mean: unit vectors `[..., 3]`, or a prefix tree of them.
        std: standard deviation of the diffusion along every direction, at least 0.1 rad.

    Raises:
        ValueError: `std` is too small.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> data = diffusion.spherical(jnp.array([0.0, 0.0, 1.0]), std=0.5)
        >>> east = jnp.array([1.0, 0.0, 0.0])
        >>> print(data.at(diffusion.VarianceExploding().at(0.5))(east).force.round(2))
        [0.   0.   2.81]

    Reference:
        De Bortoli et al., NeurIPS (2022), arXiv:2202.02763.
    """
    known = check.number("std", std, positive=True)
    if isinstance(known, float) and known < _LEAST:
        raise ValueError(f"std: expected at least {_LEAST}, got {known}. The series of the density is cut off.")
    return Spherical(mean=mean, std=known)
