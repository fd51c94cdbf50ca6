r"""Posterior sampling: data given a measurement $y = A(x_0) + r\,\eta$.

Given x, the data have the mean D and the covariance $C = \frac{\sigma^2}{\alpha} \frac{\partial D}{\partial x}$. Taken
as Gaussian, the measurement has the density $N(y; A(D), r^2 + A C A^T)$, whose gradient is added to the score.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import function, static
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, ratio, sum_of
from treedyn.diffusion._guidance import pulled
from treedyn.diffusion._process import Level
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten

VARIANCES = {
    "exact": "the covariance of the denoiser",
    "prior": "that of Gaussian data of a known deviation",
    "none": "that of the measurement alone",
}


class Measured(Denoiser):
    """A denoiser of data that have been measured.

    Attributes:
        denoiser: the denoiser.
        function: the measurement A, a function of the position.
        value: the measured value y, a tree like the result of A.
        error: standard deviation r of the measurement.
        std: standard deviation of the data for the variance "prior".
        variance: how the variance of the data given x is known.
    """

    denoiser: Denoiser
    function: Callable[..., Any] = function()
    value: PyTree
    error: Real[ArrayLike, ""]
    std: PyTree
    variance: str = static()

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        return self.compare(position, level, env)[0]

    def compare(self, position: PyTree, level: PyTree, env: PyTree = None) -> tuple[Prediction, Prediction, jax.Array]:
        """Return the guided prediction, that of the data alone, and the log density of the measured value."""
        boxed = tree.box(position)
        part = tree.moving(boxed)

        def measured(denoised: PyTree) -> jax.Array:
            return flatten(tree.moving(tree.box(self.function(tree.unbox(tree.merge(denoised, boxed))))))

        def found(part: PyTree) -> tuple[PyTree, Prediction]:
            prediction = self.denoiser.predict(tree.unbox(tree.merge(part, boxed)), level, env)
            return prediction.denoised, prediction

        denoised, back, prediction = jax.vjp(found, part, has_aux=True)
        shown, to_data = jax.vjp(measured, denoised)
        value = flatten(tree.moving(tree.box(self.value)))
        if value.shape != shown.shape:
            raise ValueError(
                f"value: expected the {shown.size} numbers that measure returns, got {value.size}. Give one per number."
            )
        missed, square = value.astype(shown.dtype) - shown, tree.cast(self.error, shown) ** 2
        if self.variance == "none":
            weighted, size = missed / square, shown.size * jnp.log(square)
        else:
            spread = self._spread(level, measured, denoised, to_data, back, square)
            weighted, size = jnp.linalg.solve(spread, missed), jnp.linalg.slogdet(spread)[1]
        (gradient,) = back(to_data(weighted)[0])
        constant = shown.size * jnp.asarray(np.log(2 * np.pi), shown.dtype)
        return pulled(prediction, level, gradient), prediction, -(missed @ weighted + size + constant) / 2

    def _spread(
        self,
        level: PyTree,
        measured: Callable[[PyTree], jax.Array],
        denoised: PyTree,
        to_data: Callable[..., Any],
        back: Callable[..., Any],
        square: jax.Array,
    ) -> jax.Array:
        """Return the covariance of the measurement given x, r^2 + A C A^T."""
        stds = tree.broadcast(self.std, denoised, "std")

        def row(unit: jax.Array) -> jax.Array:
            (way,) = to_data(unit)
            if self.variance == "exact":
                (way,) = back(way)
                spread = over(lambda level, w: sum_of(w, (level.sigma * level.ratio, w)), [level], way)
            else:

                def known(level: Level, w: jax.Array, s: jax.Array) -> jax.Array:
                    s = s.astype(level.sigma.dtype)
                    return sum_of(w, (ratio(level.sigma**2 * s**2, level.sigma**2 + level.alpha**2 * s**2), w))

                spread = over(known, [level], way, stds)
            return jax.jvp(measured, (denoised,), (spread,))[1]

        eye = jnp.eye(jax.eval_shape(measured, denoised).shape[0], dtype=square.dtype)
        return jax.vmap(row)(eye) + square * eye


def measured(
    denoiser: Denoiser,
    measure: Callable[..., Any],
    value: PyTree,
    error: Real[ArrayLike, ""],
    *,
    variance: str = "exact",
    std: PyTree = 1.0,
) -> Measured:
    r"""Guide a denoiser by a measurement $y = A(x_0) + r\,\eta$: posterior sampling.

    | `variance` | of the data given x | method |
    |---|---|---|
    | "exact" | $\frac{\sigma^2}{\alpha} \frac{\partial D}{\partial x}$ | exact moments; right for Gaussian data |
    | "prior" | $\sigma^2 s^2/(\sigma^2 + \alpha^2 s^2)$ | PiGDM |
    | "none" | 0 | DPS; far from the posterior while there is much noise |

    Args:
        denoiser: the denoiser.
        measure: the measurement A, a function of the position that returns a tree of numbers. "exact" takes one
            derivative of the denoiser for each of them.
        value: the measured value y.
        error: standard deviation r of the measurement, positive.
        variance: how the variance of the data given x is known.
        std: standard deviation s of the data for "prior": a number or prefix tree.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> data = diffusion.measured(diffusion.gaussian(std=0.5), lambda x: x, value=jnp.array([1.0]), error=0.3)
        >>> sampler = diffusion.heun(data, diffusion.edm(18))

    Reference:
        Song et al., ICLR (2023), openreview 9_gsMA8MRKQ; Boys et al., arXiv:2310.06721 (2023); DPS: Chung et al., ICLR
        (2023), arXiv:2209.14687.
    """
    return Measured(
        denoiser=check.instance("denoiser", denoiser, Denoiser, "a denoiser"),
        function=check.function("measure", measure, "position"),
        value=value,
        error=check.number("error", error, positive=True),
        std=jax.tree.map(lambda x: check.array("std", x, "deviations", positive=True), std),
        variance=check.choice("variance", variance, VARIANCES),
    )
