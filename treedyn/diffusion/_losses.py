r"""Losses of denoisers, as functions that are targets.

A loss is a function of the parameters and of the environment, `loss(params, batches)`. So training is `td.run` with any
minimizer, such as `td.from_optax(td.from_energy(loss), optax.adam(1e-3))`.
"""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn.diffusion._batches import Batches
from treedyn.diffusion._coupling import Coupling, independent
from treedyn.diffusion._denoiser import Denoiser, over, ratio, sum_of
from treedyn.diffusion._levels import as_levels, of_each, steps_of
from treedyn.diffusion._process import Level, Process, VarianceExploding
from treedyn.tree import PyTree


class Times(Struct):
    """A distribution of levels at which a denoiser is trained."""

    @abstractmethod
    def draw(self, key: jax.Array, count: int) -> PyTree:
        """Return `count` levels, stacked: a `Level`, or a tree of levels."""


class LogNormal(Times):
    r"""Levels with $\log \sigma/\alpha \sim N(mean, std^2)$.

    Attributes:
        process: the noising process.
        mean: mean of the logarithm.
        std: its standard deviation.
    """

    process: Process
    mean: Real[ArrayLike, ""]
    std: Real[ArrayLike, ""]

    def draw(self, key: jax.Array, count: int) -> Level:
        return self.process.of_ratio(jnp.exp(self.mean + self.std * jax.random.normal(key, (count,))))


class Uniform(Times):
    """Times of a process, one in each of equally long stretches.

    Attributes:
        process: the noising process.
        first: the earliest time.
        last: the latest time.
    """

    process: Process
    first: Real[ArrayLike, ""]
    last: Real[ArrayLike, ""]

    def draw(self, key: jax.Array, count: int) -> Level:
        places = (jnp.arange(count) + jax.random.uniform(key, (count,))) / count
        return self.process.at(self.first + jnp.subtract(self.last, self.first) * places)


class OnLevels(Times):
    """Levels of a sampler, equally likely, without those that have no noise.

    Attributes:
        levels: the levels, or a tree of them.
    """

    levels: PyTree

    def draw(self, key: jax.Array, count: int) -> PyTree:
        k = jax.random.randint(key, (count,), 0, steps_of(self.levels), dtype=jnp.int32)
        return of_each(lambda levels: jax.vmap(levels.at)(k), self.levels)


def log_normal(
    mean: Real[ArrayLike, ""] = -1.2, std: Real[ArrayLike, ""] = 1.2, *, process: Process | None = None
) -> LogNormal:
    r"""Train at noise levels with $\log \sigma/\alpha \sim N(mean, std^2)$, as EDM does.

    Args:
        mean: mean of the logarithm.
        std: its standard deviation.
        process: the noising process; by default a variance-exploding one.

    Example:
        >>> from treedyn import diffusion
        >>> times = diffusion.log_normal()

    Reference:
        Karras et al., NeurIPS (2022), arXiv:2206.00364.
    """
    process = VarianceExploding() if process is None else process
    return LogNormal(
        process=check.instance("process", process, Process, "a process"),
        mean=check.number("mean", mean),
        std=check.number("std", std, positive=True),
    )


def uniform_times(process: Process, first: Real[ArrayLike, ""] = 1e-5, last: Real[ArrayLike, ""] = 1.0) -> Uniform:
    """Train at times of a process that are spread evenly.

    Args:
        process: the noising process.
        first: the earliest time.
        last: the latest time.

    Example:
        >>> from treedyn import diffusion
        >>> times = diffusion.uniform_times(diffusion.RectifiedFlow())
    """
    check.instance("process", process, Process, "a process such as RectifiedFlow()")
    return Uniform(process=process, first=check.number("first", first), last=check.number("last", last))


def on_levels(levels: PyTree) -> OnLevels:
    """Train at the levels of a sampler, such as the integer times of `discrete(1000)`.

    Args:
        levels: the levels, or a prefix tree of levels. The last one is left out.

    Example:
        >>> from treedyn import diffusion
        >>> times = diffusion.on_levels(diffusion.discrete(1000))
    """
    return OnLevels(levels=as_levels(levels))


WEIGHTS = {
    "denoised": "the error of x0",
    "noise": "that of epsilon",
    "v": "that of v",
    "velocity": "that of epsilon - x0",
    "edm": "one for a network without skill",
    "min_snr": "that of x0, times the signal-to-noise ratio up to gamma",
}


class Weight(Struct):
    """A weight of the squared error of the denoised data.

    Attributes:
        name: which one.
        number: `sigma_data` of "edm", or gamma of "min_snr".
    """

    name: str = static()
    number: Real[ArrayLike, ""] = 0.5

    def of(self, level: Level) -> tuple[jax.Array, jax.Array]:
        """Return the factors of the errors of the denoised data and of the noise; one of them is finite."""
        s = level.ratio
        if self.name == "denoised":
            return jnp.ones_like(s), s
        if self.name == "noise":
            return ratio(1.0, s), jnp.ones_like(s)
        if self.name == "v":
            size = level.alpha**2 + level.sigma**2
            return ratio(size, level.sigma), ratio(size, level.alpha)
        if self.name == "velocity":
            size = level.alpha + level.sigma
            return ratio(size, level.sigma), ratio(size, level.alpha)
        if self.name == "edm":
            root = jnp.sqrt(s**2 + self.number**2) / self.number
            return root * ratio(1.0, s), root
        least = jnp.minimum(1.0, jnp.sqrt(self.number) * s)
        return ratio(least, s), least


class DenoisingLoss(Struct):
    """The weighted error of the denoised data, `loss(params, batches)`.

    Attributes:
        model: the denoiser without its parameters.
        times: the distribution of levels.
        weight: the weight of a level.
        coupling: how data and noise are paired.
    """

    model: Denoiser
    times: Times
    weight: Weight
    coupling: Coupling

    def __call__(self, params: PyTree, env: Batches) -> Float[Array, ""]:
        """Return the mean over the batch, per element of the data."""
        check.instance("env", env, Batches, "diffusion.batches(data, size, key)")
        data, key, more = env.batch()
        part = tree.moving(tree.box(data))
        level = self.times.draw(random.at_path(key, "level"), env.size)
        data, xi = self.coupling.pair(data, random.normal(random.at_path(key, "noise"), part))
        model = self.model.replace(params=params)  # type: ignore[call-arg]
        errors = jax.vmap(lambda data, xi, level, more: squared_error(model, data, xi, level, self.weight, more))
        return jnp.mean(errors(data, xi, level, more))


def squared_error(
    model: Denoiser, data: PyTree, noise: PyTree, level: PyTree, weight: Weight, env: PyTree = None
) -> Float[Array, ""]:
    r"""Return the weighted error of a denoiser per element, at $\alpha x_0 + \sigma \varepsilon$ with given noise."""
    boxed = tree.box(data)
    part = tree.moving(boxed)
    x = over(lambda level, x, e: sum_of(x, (level.alpha, x), (level.sigma, e)), [level], part, noise)
    found = model.predict(tree.unbox(tree.merge(x, boxed)), level, env)

    def one(level: Level, x: jax.Array, e: jax.Array, denoised: jax.Array, noise: jax.Array) -> jax.Array:
        of_data, of_noise = weight.of(level)
        # the two errors are proportional, and the smaller one is exact
        large = level.sigma > level.alpha
        error = jnp.where(large, of_data, 0).astype(x.dtype) * (denoised - x)
        return (error + jnp.where(large, 0, of_noise).astype(x.dtype) * (noise - e)) ** 2

    errors = over(one, [level], part, noise, found.denoised, found.noise)
    return tree.total(errors) / tree.size(part)


def denoising_loss(
    model: Denoiser,
    times: Times,
    *,
    weight: str = "edm",
    sigma_data: Real[ArrayLike, ""] = 0.5,
    gamma: Real[ArrayLike, ""] = 5.0,
    coupling: Coupling = independent,
) -> DenoisingLoss:
    r"""Build the loss of denoising score matching, $E\, w\, |D(\alpha x_0 + \sigma \varepsilon) - x_0|^2$ per element.

    | `weight` | w | the loss is the error of |
    |---|---|---|
    | "denoised" | 1 | $x_0$ |
    | "noise" | $\alpha^2/\sigma^2$ | $\varepsilon$ |
    | "v" | $(\alpha^2 + \sigma^2)^2/\sigma^2$ | $\alpha\varepsilon - \sigma x_0$ |
    | "velocity" | $(\alpha + \sigma)^2/\sigma^2$ | $\varepsilon - x_0$: flow matching |
    | "edm" | $(s^2 + s_{data}^2)/(s\, s_{data})^2$ at $s = \sigma/\alpha$ | the network inside of `preconditioned` |
    | "min_snr" | $\min(\alpha^2/\sigma^2, \gamma)$ | $x_0$, less so at small noise |

    Args:
        model: `network(...)` or `preconditioned(...)`; the loss is a function of its parameters.
        times: at which levels, such as `log_normal()`, `uniform_times(process)` or `on_levels(levels)`.
        weight: the weight of a level.
        sigma_data: standard deviation of the data, for "edm".
        gamma: largest signal-to-noise ratio that counts, for "min_snr".
        coupling: how data and noise are paired: `independent`, or `optimal_transport` for flow matching.

    Returns:
        `loss(params, batches)`, for `td.from_energy`.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, optax, treedyn as td
        >>> from treedyn import diffusion
        >>> model = diffusion.preconditioned(lambda params, x, noise: params * x, 0.3)
        >>> loss = diffusion.denoising_loss(model, diffusion.log_normal())
        >>> data = diffusion.batches(0.5 * jax.random.normal(jax.random.key(0), (1000,)), 256, jax.random.key(1))
        >>> training = td.from_optax(td.from_energy(loss), optax.adam(1e-2))
        >>> out = td.run(training, training.init(jax.random.key(2), model.params, data), data, steps=200)
        >>> bool(abs(out.state.position) < 0.1)
        True

    Reference:
        Vincent, Neural Comput. 23, 1661 (2011), doi:10.1162/NECO_a_00142; min-SNR: Hang et al., ICCV (2023),
        arXiv:2303.09556; flow matching: Lipman et al., ICLR (2023), arXiv:2210.02747.
    """
    name = check.choice("weight", weight, WEIGHTS)
    number = check.number("gamma", gamma, positive=True)
    if name == "edm":
        number = check.number("sigma_data", sigma_data, positive=True)
    return DenoisingLoss(
        model=_without_params(model),
        times=check.instance("times", times, Times, "levels to train at, such as diffusion.log_normal()"),
        weight=Weight(name=name, number=number),
        coupling=check.instance("coupling", coupling, Coupling, "diffusion.independent or optimal_transport"),
    )


class ImplicitLoss(Struct):
    r"""Implicit score matching, $E[\tfrac12 |s|^2 + \nabla \cdot s]$, `loss(params, batches)`.

    Attributes:
        model: the denoiser without its parameters.
        times: the distribution of levels.
    """

    model: Denoiser
    times: Times

    def __call__(self, params: PyTree, env: Batches) -> Float[Array, ""]:
        """Return the mean over the batch, per element of the data."""
        check.instance("env", env, Batches, "diffusion.batches(data, size, key)")
        data, key, more = env.batch()
        part = tree.moving(tree.box(data))
        level = self.times.draw(random.at_path(key, "level"), env.size)
        xi = random.normal(random.at_path(key, "noise"), part)
        ways = random.draw(jax.random.rademacher, random.at_path(key, "probe"), part)
        model = self.model.replace(params=params)  # type: ignore[call-arg]
        losses = jax.vmap(lambda data, xi, way, level, more: implicit_error(model, data, xi, way, level, more))
        return jnp.mean(losses(data, xi, ways, level, more))


def implicit_error(
    model: Denoiser, data: PyTree, noise: PyTree, way: PyTree, level: PyTree, env: PyTree = None
) -> Float[Array, ""]:
    """Return half of the square of the score plus an estimate of its divergence along `way`, per element."""
    boxed = tree.box(data)
    part = tree.moving(boxed)
    x = over(lambda level, x, e: sum_of(x, (level.alpha, x), (level.sigma, e)), [level], part, noise)
    score, change = jax.jvp(lambda x: model.at(level)(tree.merge(x, boxed), env).force, (x,), (way,))
    return (tree.vdot(score, score) / 2 + tree.vdot(way, change)) / tree.size(part)


def implicit_loss(model: Denoiser, times: Times) -> ImplicitLoss:
    r"""Build the loss of implicit score matching, $E[\tfrac12 |s|^2 + \nabla \cdot s]$ per element.

    It needs no noise of known size, so it holds for data that are noisy themselves. The divergence is estimated by one
    Rademacher probe for each point.

    Args:
        model: `network(...)` or `preconditioned(...)`; the loss is a function of its parameters.
        times: at which levels.

    Returns:
        `loss(params, batches)`, for `td.from_energy`.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> from treedyn import diffusion
        >>> model = diffusion.network(lambda params, x, level: params * x, 0.0, predicts="score")
        >>> loss = diffusion.implicit_loss(model, diffusion.log_normal())

    Reference:
        Hyvarinen, J. Mach. Learn. Res. 6, 695 (2005); sliced: Song et al., UAI (2019), arXiv:1905.07088.
    """
    times = check.instance("times", times, Times, "levels to train at, such as diffusion.log_normal()")
    return ImplicitLoss(model=_without_params(model), times=times)


def _without_params(model: Any) -> Denoiser:
    if not isinstance(model, Denoiser) or not hasattr(model, "params"):
        raise ValueError(
            f"model: expected diffusion.network(...) or preconditioned(...), got {check.brief(model)}. Train a "
            "network, and guide it afterwards."
        )
    return model.replace(params=None)  # type: ignore[call-arg]
