"""Grids of noise levels, from the most noise to the least."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct
from treedyn.diffusion._process import (
    Cosine,
    Discrete,
    Level,
    Process,
    RectifiedFlow,
    VarianceExploding,
    VariancePreserving,
)
from treedyn.tree import PyTree
from treedyn.tree._structure import map_nodes, nodes


class Levels(Struct):
    r"""The noise levels that a sampler visits: $n + 1$ levels for n steps, with decreasing noise.

    A sampler reads the levels of its step. Behind the last one they are NaN, and a step sets `Status.PAST_END`.

    Attributes:
        process: the noising process, for levels in between.
        alpha: factors of the data, `[n + 1]`.
        sigma: standard deviations of the noise, `[n + 1]`.
        time: times of the process, `[n + 1]`.

    Raises:
        ValueError: the noise-to-signal ratio does not decrease, or there are fewer than two levels.

    Example:
        >>> from treedyn import diffusion
        >>> levels = diffusion.edm(3)
        >>> levels.steps, [round(float(s), 3) for s in levels.sigma]
        (3, [80.0, 2.515, 0.002, 0.0])
    """

    process: Process
    alpha: Float[ArrayLike, "n"]
    sigma: Float[ArrayLike, "n"]
    time: Float[ArrayLike, "n"]

    def __post_init__(self) -> None:
        check.instance("process", self.process, Process, "a process such as RectifiedFlow()")
        for name in ("alpha", "sigma", "time"):
            check.array(name, getattr(self, name), "numbers [n + 1]", (1,), nonnegative=name != "time")
        if not (self.steps >= 1 and jnp.shape(self.alpha) == jnp.shape(self.sigma) == jnp.shape(self.time)):
            raise ValueError(
                f"levels: expected at least two, with alpha, sigma and time of each, got {jnp.shape(self.sigma)}, "
                f"{jnp.shape(self.alpha)} and {jnp.shape(self.time)}. A sampler of one step has a first and a last one."
            )
        alpha, sigma = tree.known(self.alpha), tree.known(self.sigma)
        if alpha is None or sigma is None:
            return
        # sigma/alpha decreases, also where alpha is 0
        wrong = sigma[1:] * alpha[:-1] >= sigma[:-1] * alpha[1:]
        if np.any(wrong):
            k = int(np.argmax(wrong))
            raise ValueError(
                f"levels: expected sigma/alpha to decrease from level to level, got {sigma[k]:.6g}/{alpha[k]:.6g} and "
                f"then {sigma[k + 1]:.6g}/{alpha[k + 1]:.6g} at level {k + 1}. Sort them, and leave out equal ones."
            )

    @property
    def steps(self) -> int:
        """Return the number of steps from the first level to the last."""
        return jnp.shape(self.sigma)[0] - 1

    def at(self, k: Int[ArrayLike, ""]) -> Level:
        """Return level k, from 0 to `steps`; NaN for any other k."""
        alpha, sigma, time = (_entry(x, k) for x in (self.alpha, self.sigma, self.time))
        return Level(alpha=alpha, sigma=sigma, time=time, straight=self.process.straight)

    def between(self, k: Int[ArrayLike, ""], fraction: float, *, geometric: bool = False) -> Level:
        r"""Return a level between k and k + 1.

        Args:
            k: number of the level.
            fraction: fraction of the way to the next level, in the number of which the flow is a function.
            geometric: whether the logarithm of $\sigma/\alpha$ is linear in `fraction`, or that number itself.
        """
        here, there = self.at(k), self.at(jnp.asarray(k) + 1)
        if fraction == 1:
            return there
        if geometric:
            ratio = here.ratio * (there.ratio / here.ratio) ** fraction
        else:
            noise = (1 - fraction) * here.noise + fraction * there.noise
            ratio = noise / (1 - noise) if self.process.straight else noise
        return self.process.of_ratio(ratio)


def _entry(values: Float[ArrayLike, "n"], k: Int[ArrayLike, ""]) -> jax.Array:
    numbers = jnp.asarray(values)
    k = jnp.asarray(k)
    # a negative index would count from the end
    return numbers.at[jnp.where(k < 0, numbers.size, k)].get(mode="fill", fill_value=jnp.nan)


def as_levels(levels: PyTree) -> PyTree:
    """Return levels, or a tree of levels of equally many steps, as they are.

    Raises:
        ValueError: a leaf is something else, or the numbers of steps differ.
    """
    found = jax.tree.leaves(levels, is_leaf=lambda x: isinstance(x, Levels))
    for one in found or [levels]:
        check.instance("levels", one, Levels, "noise levels such as diffusion.edm(40), or a tree of them")
    counts = sorted({one.steps for one in found})
    if len(counts) > 1:
        raise ValueError(f"levels: expected equally many steps for all leaves, got {counts}. Make the grids alike.")
    return levels


def steps_of(levels: PyTree) -> int:
    """Return the number of steps of levels, or of a tree of them."""
    return nodes(Levels, levels)[0].steps


def of_each(f: Callable[[Levels], Any], levels: PyTree) -> PyTree:
    """Return `levels` with `f` applied to every grid."""
    return map_nodes(f, Levels, levels)


def levels_at(process: Process, times: Real[ArrayLike, "n"]) -> Levels:
    """Build levels from the times of a process.

    Args:
        process: the noising process.
        times: decreasing times `[n + 1]`, from noise to data.

    Raises:
        ValueError: the noise does not decrease.

    Example:
        >>> from treedyn import diffusion
        >>> diffusion.levels_at(diffusion.RectifiedFlow(), [1.0, 0.5, 0.0]).steps
        2
    """
    check.instance("process", process, Process, "a process such as RectifiedFlow()")
    found = process.at(check.array("times", times, "times [n + 1]", (1,)))
    return Levels(process=process, alpha=found.alpha, sigma=found.sigma, time=found.time)  # type: ignore[arg-type]


def variance_preserving(
    steps: int, *, beta_min: float = 0.1, beta_max: float = 20.0, start: float = 1.0, end: float = 1e-3
) -> Levels:
    r"""Build levels of the variance-preserving process with $\beta(t)$ linear in time, uniform in time.

    Args:
        steps: number of steps.
        beta_min: rate at time 0.
        beta_max: rate at time 1.
        start: first time.
        end: last time.

    Example:
        >>> from treedyn import diffusion
        >>> [round(float(s), 3) for s in diffusion.variance_preserving(2).sigma]
        [1.0, 0.96, 0.01]
    """
    process = VariancePreserving(
        beta_min=check.number("beta_min", beta_min, nonnegative=True),
        beta_max=check.number("beta_max", beta_max, positive=True),
    )
    return levels_at(process, _uniform(steps, start, end))


def cosine(steps: int, *, offset: float = 0.008, start: float = 0.9999, end: float = 0.0) -> Levels:
    r"""Build levels of the cosine process, uniform in time.

    Args:
        steps: number of steps.
        offset: the offset s of the process.
        start: first time; at 1 there is no signal left.
        end: last time.

    Example:
        >>> from treedyn import diffusion
        >>> [round(float(s), 3) for s in diffusion.cosine(2).sigma]
        [1.0, 0.711, 0.0]
    """
    return levels_at(Cosine(offset=check.number("offset", offset, positive=True)), _uniform(steps, start, end))


def variance_exploding(steps: int, *, sigma_min: float = 0.01, sigma_max: float = 50.0, zero: bool = True) -> Levels:
    r"""Build geometric levels that add noise only, $\sigma_k \propto (\sigma_{min}/\sigma_{max})^{k/(n-1)}$.

    Args:
        steps: number of steps n.
        sigma_min: smallest standard deviation of the noise, positive.
        sigma_max: largest standard deviation of the noise.
        zero: whether a last level without noise follows.

    Example:
        >>> from treedyn import diffusion
        >>> [round(float(s), 3) for s in diffusion.variance_exploding(3, sigma_min=0.01, sigma_max=1.0).sigma]
        [1.0, 0.1, 0.01, 0.0]
    """
    low, high, ramp = _range(steps, sigma_min, sigma_max, zero)
    return _exploding(high * (low / high) ** ramp, zero)


def edm(
    steps: int, *, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0, zero: bool = True
) -> Levels:
    r"""Build levels of EDM: $\sigma_k^{1/\rho}$ goes from $\sigma_{max}^{1/\rho}$ to $\sigma_{min}^{1/\rho}$ evenly.

    Args:
        steps: number of steps n.
        sigma_min: smallest standard deviation of the noise, positive.
        sigma_max: largest standard deviation of the noise.
        rho: exponent; a larger one puts more levels at small noise.
        zero: whether a last level without noise follows. Without it, the last level is `sigma_min` after n steps.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> from treedyn import diffusion
        >>> [round(float(s), 3) for s in diffusion.edm(3).sigma]
        [80.0, 2.515, 0.002, 0.0]

    Reference:
        Karras et al., NeurIPS (2022), arXiv:2206.00364.
    """
    low, high, ramp = _range(steps, sigma_min, sigma_max, zero)
    power = 1 / check.number("rho", rho, positive=True)
    return _exploding((high**power + ramp * (low**power - high**power)) ** (1 / power), zero)


def rectified_flow(steps: int, *, shift: float = 1.0, start: float = 1.0, end: float = 0.0) -> Levels:
    r"""Build levels of the line from data to noise, uniform in time, then shifted, $t \to s t/(1 + (s - 1) t)$.

    Args:
        steps: number of steps.
        shift: s; larger than 1 puts more levels at large noise, as for large images.
        start: first time; 1 is pure noise.
        end: last time.

    Example:
        >>> from treedyn import diffusion
        >>> [float(t) for t in diffusion.rectified_flow(4).time]
        [1.0, 0.75, 0.5, 0.25, 0.0]

    Reference:
        Liu, Gong, Liu, ICLR (2023), arXiv:2209.03003; shift: Esser et al., ICML (2024), arXiv:2403.03206.
    """
    shift = check.number("shift", shift, positive=True)
    times = _uniform(steps, start, end)
    return levels_at(RectifiedFlow(), shift * times / (1 + (shift - 1) * times))


def linear_betas(count: int = 1000, first: float = 1e-4, last: float = 0.02, *, power: float = 1.0) -> np.ndarray:
    r"""Return $\beta$ of `count` times with $\beta^{1/p}$ linear: p = 1 of DDPM, and p = 2 of latent diffusion.

    Example:
        >>> from treedyn import diffusion
        >>> print(diffusion.linear_betas(3))
        [0.0001  0.01005 0.02   ]
    """
    count = check.integer("count", count, 2)
    return np.linspace(first ** (1 / power), last ** (1 / power), count) ** power


def cosine_betas(count: int = 1000, *, offset: float = 0.008, largest: float = 0.999) -> np.ndarray:
    """Return the betas of the cosine process at `count` times, at most `largest`.

    Example:
        >>> from treedyn import diffusion
        >>> float(diffusion.cosine_betas(10)[-1])
        0.999
    """
    times = np.arange(check.integer("count", count, 2) + 1) / count
    kept = np.cos((times + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - kept[1:] / kept[:-1], largest)


Spacing = Literal["leading", "linspace", "linspace_open", "trailing"]
SPACINGS = {
    "leading": "multiples of T // n",
    "linspace": "n times from 0 to T - 1",
    "linspace_open": "n + 1 times from 0 to T - 1, without 0",
    "trailing": "T - 1 and every T / n before it",
}


def discrete(
    steps: int,
    betas: Real[ArrayLike, "T"] | None = None,
    *,
    spacing: Spacing = "trailing",
    zero_terminal_snr: bool = False,
    offset: int = 0,
    final: float = 0.0,
) -> Levels:
    r"""Build levels for a network that knows T integer times, $\alpha_t^2 = \prod_{s \le t} (1 - \beta_s)$.

    | spacing | times of n steps, increasing |
    |---|---|
    | "leading" | multiples of T // n, from 0, plus `offset` |
    | "linspace" | n from 0 to T - 1 |
    | "linspace_open" | n + 1 from 0 to T - 1, without 0: the grid of multistep solvers |
    | "trailing" | T - 1, and every T / n before it: the only one that starts at T - 1 and spaces evenly to 0 |

    Args:
        steps: number of steps n, at most T.
        betas: the T betas of the network; by default `linear_betas()`.
        spacing: which times are visited.
        zero_terminal_snr: rescale the table so that the last time is pure noise.
        offset: added to the times of "leading".
        final: standard deviation of the noise at the last level, where the network is not asked any more.

    Raises:
        ValueError: a number is out of range, or the spacing is unknown.

    Example:
        >>> from treedyn import diffusion
        >>> [int(t) for t in diffusion.discrete(4, spacing="trailing").time]
        [999, 749, 499, 249, 0]

    Reference:
        Ho, Jain, Abbeel, NeurIPS (2020), arXiv:2006.11239; spacings and terminal noise: Lin et al., WACV (2024),
        arXiv:2305.08891.
    """
    spacing = check.choice("spacing", spacing, SPACINGS)  # type: ignore[assignment]
    numbers = linear_betas() if betas is None else check.reals("betas", betas, "numbers [T] between 0 and 1", (1,))
    if np.any(numbers <= 0) or np.any(numbers >= 1):
        raise ValueError("betas: expected numbers between 0 and 1. Pass betas, not products of 1 - beta.")
    steps = check.integer("steps", steps, 1, numbers.size + 1)
    alpha = np.sqrt(np.cumprod(1 - numbers))
    if check.flag("zero_terminal_snr", zero_terminal_snr):
        alpha = alpha[0] * (alpha - alpha[-1]) / (alpha[0] - alpha[-1])
    last = check.number("final", final, nonnegative=True)
    times = _times(steps, numbers.size, spacing) + check.integer("offset", offset, 0, numbers.size)
    if times[0] > numbers.size - 1:
        raise ValueError(f"offset: expected times below {numbers.size}, got {times[0]}. Use a smaller offset.")
    sigma = np.sqrt(1 - alpha**2)
    with np.errstate(divide="ignore"):
        process = Discrete(ratios=sigma / alpha)
    return Levels(
        process=process,
        alpha=np.append(alpha[times], np.sqrt(1 - last**2)),
        sigma=np.append(sigma[times], last),
        time=np.append(times, 0).astype(float),
    )


def _times(steps: int, count: int, spacing: str) -> np.ndarray:
    """Return decreasing integer times."""
    if spacing == "leading":
        return np.arange(steps)[::-1] * (count // steps)
    if spacing == "linspace":
        return np.linspace(0, count - 1, steps).round()[::-1].astype(int) if steps > 1 else np.array([count - 1])
    if spacing == "linspace_open":
        return np.linspace(0, count - 1, steps + 1).round()[:0:-1].astype(int)
    return np.round(count - np.arange(steps) * (count / steps)).astype(int) - 1


def _uniform(steps: int, start: float, end: float) -> np.ndarray:
    first, last = check.number("start", start, positive=True), check.number("end", end, nonnegative=True)
    return np.linspace(first, last, check.integer("steps", steps, 1) + 1)


def _range(steps: int, sigma_min: float, sigma_max: float, zero: bool) -> tuple[Any, Any, np.ndarray]:
    """Return the least and the largest noise, and the fractions of the way between them."""
    count = check.integer("steps", steps, 1) + (0 if check.flag("zero", zero) else 1)
    low = check.number("sigma_min", sigma_min, positive=True)
    high = check.number("sigma_max", sigma_max, positive=True)
    return low, high, np.linspace(0.0, 1.0, count)


def _exploding(sigma: Float[Array, "n"] | np.ndarray, zero: bool) -> Levels:
    return levels_at(VarianceExploding(), jnp.append(jnp.asarray(sigma), 0.0) if zero else sigma)
