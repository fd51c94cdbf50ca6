"""Data whose denoiser is known in closed form: Gaussians and mixtures of Gaussians."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, sum_of
from treedyn.diffusion._process import Level
from treedyn.tree import PyTree


class Mixture(Denoiser):
    r"""Data from a mixture of K Gaussians with independent elements: exact at every level, 0 included.

    With $v = \alpha^2 s_k^2 + \sigma^2$, component k has the noise $\sigma (x - \alpha \mu_k)/v$ and the data
    $\mu_k + \alpha s_k^2 (x - \alpha \mu_k)/v$. Components count by their weight times their density at x.

    Attributes:
        mean: means, a prefix tree of the moving part with a first axis K.
        std: standard deviations, in the same form.
        log_weight: logarithms of the weights, `[K]`.
    """

    mean: PyTree
    std: PyTree
    log_weight: Float[ArrayLike, "K"]

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        del env
        part = tree.moving(tree.box(position))
        count = jnp.shape(self.log_weight)[0]
        mean, std = (_components(x, part, count, name) for x, name in ((self.mean, "mean"), (self.std, "std")))
        kind = tree.dtype(part)

        def surprise(level: Level, x: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
            """Return -log of the density of every component, `[K]`."""
            away, variance = _spread(level, x, m, s)
            elements = away**2 / variance + jnp.log(variance) + jnp.asarray(np.log(2 * np.pi), variance.dtype)
            return jnp.sum(elements / 2, axis=tuple(range(1, elements.ndim)), dtype=kind)

        costs = over(surprise, [level], part, mean, std)
        log_weight = jnp.asarray(self.log_weight).astype(kind) - sum(jax.tree.leaves(costs))
        share = jax.nn.softmax(log_weight)

        def average(values: jax.Array) -> jax.Array:
            weights = share.astype(values.dtype).reshape((count,) + (1,) * (values.ndim - 1))
            return jnp.sum(weights * values, axis=0)

        def denoised(level: Level, x: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
            away, variance = _spread(level, x, m, s)
            return average(m + tree.cast(level.alpha, x) * s**2 / variance * away)

        def noise(level: Level, x: jax.Array, m: jax.Array, s: jax.Array) -> jax.Array:
            away, variance = _spread(level, x, m, s)
            return average(sum_of(x, (level.sigma, away / variance)))

        return Prediction(
            denoised=over(denoised, [level], part, mean, std),
            noise=over(noise, [level], part, mean, std),
            energy=-jax.nn.logsumexp(log_weight),
        )


def _spread(level: Level, x: jax.Array, m: jax.Array, s: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the distance from every mean with noise, and the variance, `[K, ...]`."""
    alpha, sigma = tree.cast(level.alpha, x), tree.cast(level.sigma, x)
    return x[None] - alpha * m, alpha**2 * s**2 + sigma**2


def _components(prefix: PyTree, part: PyTree, count: int, name: str) -> PyTree:
    """Return numbers of all components for every leaf, `[K, ...]`."""

    def one(numbers: Any, x: jax.Array) -> jax.Array:
        numbers = jnp.asarray(numbers)
        if numbers.ndim == 0 or numbers.shape[0] != count:
            raise ValueError(
                f"{name}: expected a first axis of {count} components, got shape {numbers.shape}. Give one per weight."
            )
        return jax.vmap(lambda own: jnp.broadcast_to(tree.align(own, x, name), x.shape))(numbers)

    return tree.prefix_map(one, prefix, part, name=name)


def mixture(weights: Real[ArrayLike, "K"], mean: PyTree, std: PyTree) -> Mixture:
    """Build the exact denoiser of data from a mixture of Gaussians, on any tree.

    Args:
        weights: positive weights `[K]`; their sum does not matter.
        mean: means of the components: numbers `[K]`, arrays `[K, ...]`, or a prefix tree of those.
        std: standard deviations, positive, in the same form.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> data = diffusion.mixture([0.3, 0.7], mean=[-2.0, 1.0], std=[0.5, 0.25])
        >>> clean = diffusion.VarianceExploding().at(0.0)
        >>> round(float(-data.at(clean)(jnp.asarray(0.7)).energy), 4)
        -0.6093
    """
    known = check.reals("weights", weights, "weights [K]", (1,))
    if not known.size or np.any(known <= 0):
        raise ValueError(f"weights: expected positive numbers [K], got {weights!r}. Leave out components of weight 0.")
    mean = jax.tree.map(lambda x: check.array("mean", x, "means [K, ...]"), mean, is_leaf=_is_rows)
    std = jax.tree.map(lambda x: check.array("std", x, "deviations [K, ...]", positive=True), std, is_leaf=_is_rows)
    return Mixture(mean=mean, std=std, log_weight=np.log(known / known.sum()))


def _is_rows(x: object) -> bool:
    """Tell whether `x` is an array written as lists."""
    return isinstance(x, list | tuple) and all(isinstance(one, int | float) or _is_rows(one) for one in x)


def gaussian(mean: PyTree = 0.0, std: PyTree = 1.0) -> Mixture:
    """Build the exact denoiser of Gaussian data with independent elements, on any tree.

    Args:
        mean: means: a number, an array or a prefix tree.
        std: standard deviations, positive: a number, an array or a prefix tree.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> sampler = diffusion.heun(diffusion.gaussian(mean={"a": 3.0, "b": 0.0}, std=0.1), diffusion.edm(18))
        >>> noise = sampler.start(jax.random.key(0), {"a": jnp.zeros(1000), "b": 0.0})
        >>> state = td.trajectory(sampler, sampler.init(jax.random.key(1), noise), steps=18).state
        >>> print(state.position["a"].mean().round(1))
        3.0
    """
    mean = jax.tree.map(lambda x: jnp.asarray(check.array("mean", x, "means"))[None], mean)
    std = jax.tree.map(lambda x: jnp.asarray(check.array("std", x, "deviations", positive=True))[None], std)
    return Mixture(mean=mean, std=std, log_weight=np.zeros(1))
