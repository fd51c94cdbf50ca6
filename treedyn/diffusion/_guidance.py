r"""Guidance: denoisers made from denoisers.

A guided denoiser is a denoiser, so every sampler takes it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import function
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, sum_of
from treedyn.diffusion._process import Level
from treedyn.tree import PyTree


class Given(Denoiser):
    """A denoiser with a fixed environment, such as a class, or none.

    Attributes:
        denoiser: the denoiser.
        env: its environment.
    """

    denoiser: Denoiser
    env: PyTree

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        del env
        return self.denoiser.predict(position, level, self.env)


class Guided(Denoiser):
    r"""One denoiser, led away from another: $D = D_0 + w (D_1 - D_0)$, and the same for the noise.

    Attributes:
        wanted: the denoiser $D_1$.
        other: the denoiser $D_0$.
        scale: the weight w; it is 1 outside of the interval.
        least: smallest noise-to-signal ratio of the interval.
        most: largest noise-to-signal ratio of the interval.
    """

    wanted: Denoiser
    other: Denoiser
    scale: Real[ArrayLike, ""]
    least: Real[ArrayLike, ""]
    most: Real[ArrayLike, ""]

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        one, zero = (denoiser.predict(position, level, env) for denoiser in (self.wanted, self.other))

        def mixed(level: Level, one: jax.Array, zero: jax.Array) -> jax.Array:
            inside = (level.ratio >= self.least) & (level.ratio <= self.most)
            return zero + tree.cast(jnp.where(inside, self.scale, 1), one) * (one - zero)

        return Prediction(
            denoised=over(mixed, [level], one.denoised, zero.denoised),
            noise=over(mixed, [level], one.noise, zero.noise),
        )


def given(denoiser: Denoiser, env: PyTree) -> Given:
    """Fix the environment of a denoiser, such as the class of a conditional network.

    Args:
        denoiser: the denoiser.
        env: its environment.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> apply = lambda params, x, level, label: params[label] * jnp.ones_like(x)
        >>> model = diffusion.network(apply, jnp.array([1.0, 2.0]), predicts="denoised")
        >>> first = diffusion.VarianceExploding().at(1.0)
        >>> print(diffusion.given(model, 1).at(first)(jnp.zeros(1)).aux)
        [2.]
    """
    return Given(denoiser=check.instance("denoiser", denoiser, Denoiser, "a denoiser"), env=env)


def guided(
    wanted: Denoiser,
    other: Denoiser,
    scale: Real[ArrayLike, ""],
    *,
    interval: tuple[Real[ArrayLike, ""], Real[ArrayLike, ""]] | None = None,
) -> Guided:
    r"""Guide a denoiser away from another: classifier-free guidance and autoguidance, $D = D_0 + w (D_1 - D_0)$.

    At w = 1 this is `wanted` alone, at 0 it is `other`. Some programs count from there and call $w - 1$ the scale. The
    result samples no density $p_0^{1 - w} p_1^w$: guidance of every level is not the guidance of the data.

    Args:
        wanted: the conditional denoiser $D_1$, such as `given(model, label)`.
        other: the unconditional one $D_0$, such as `given(model, none)`, or a weaker model for autoguidance.
        scale: the weight w.
        interval: the least and the largest noise-to-signal ratio with guidance; by default it is everywhere.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> one, every = diffusion.gaussian(mean=1.0, std=0.5), diffusion.gaussian(std=2.0)
        >>> sampler = diffusion.heun(diffusion.guided(one, every, scale=2.0), diffusion.edm(18))

    Reference:
        Ho, Salimans, arXiv:2207.12598 (2022); interval: Kynkaanniemi et al., NeurIPS (2024), arXiv:2404.07724;
        autoguidance: Karras et al., NeurIPS (2024), arXiv:2406.02507.
    """
    least, most = (0.0, float("inf")) if interval is None else interval
    return Guided(
        wanted=check.instance("wanted", wanted, Denoiser, "a denoiser"),
        other=check.instance("other", other, Denoiser, "a denoiser"),
        scale=check.number("scale", scale),
        least=check.number("interval", least, nonnegative=True),
        most=check.number("interval", most, nonnegative=True, finite=False),
    )


class Classified(Denoiser):
    r"""A denoiser with the gradient of a log likelihood added to its score.

    Attributes:
        denoiser: the denoiser.
        function: `function(position, level)`: $\log p(y|x)$ of a position with the noise of a level.
        scale: weight of its gradient.
    """

    denoiser: Denoiser
    function: Callable[..., Any] = function()
    scale: Real[ArrayLike, ""]

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        boxed = tree.box(position)

        def likelihood(part: PyTree) -> jax.Array:
            return self.function(tree.unbox(tree.merge(part, boxed)), level)

        gradient = jax.grad(likelihood)(tree.moving(boxed))
        return pulled(self.denoiser.predict(position, level, env), level, tree.scale(self.scale, gradient))


def pulled(prediction: Prediction, level: PyTree, gradient: PyTree) -> Prediction:
    """Return a prediction with `gradient` added to its score."""

    def denoised(level: Level, d: jax.Array, g: jax.Array) -> jax.Array:
        return d + sum_of(d, (level.sigma * level.ratio, g))

    def noise(level: Level, e: jax.Array, g: jax.Array) -> jax.Array:
        return e - sum_of(e, (level.sigma, g))

    return Prediction(
        denoised=over(denoised, [level], prediction.denoised, gradient),
        noise=over(noise, [level], prediction.noise, gradient),
    )


def classified(denoiser: Denoiser, log_likelihood: Callable[..., Any], scale: Real[ArrayLike, ""] = 1.0) -> Classified:
    r"""Guide a denoiser by a classifier of data with noise: the score plus $w\,\nabla \log p(y|x)$.

    Args:
        denoiser: the denoiser.
        log_likelihood: `log_likelihood(position, level)`, returns $\log p(y|x)$; a struct keeps its numbers as leaves.
        scale: the weight w; 1 samples the posterior.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> right = lambda x, level: jnp.sum(jnp.minimum(x, 0.0))
        >>> data = diffusion.classified(diffusion.gaussian(), right)
        >>> print(data.at(diffusion.VarianceExploding().at(1.0))(jnp.array([-1.0])).force)
        [1.5]

    Reference:
        Dhariwal, Nichol, NeurIPS (2021), arXiv:2105.05233.
    """
    return Classified(
        denoiser=check.instance("denoiser", denoiser, Denoiser, "a denoiser"),
        function=check.function("log_likelihood", log_likelihood, "(position, level)", 2),
        scale=check.number("scale", scale),
    )
