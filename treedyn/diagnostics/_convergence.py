r"""Convergence of several chains: potential scale reduction, effective sample size and Monte Carlo error.

All functions take a tree of draws, `[draws, chains, ...]`, as `td.run` returns the records of an ensemble. They treat
the elements of the other axes separately, and compute in double precision on the host. A result is NaN where it cannot
be known: a draw is not finite, all draws are equal, or there are fewer than four.

With the autocovariances $c_t$ of the chains, their mean variance $W$, and the variance $V$ of all draws, the effective
sample size of N draws is

$$ N_\mathrm{eff} = \frac{N}{1 + 2 \sum_{t \ge 1} \varrho_t}, \qquad \varrho_t = 1 - \frac{W - \bar c_t}{V}, $$

where the sum ends when the sum of two neighbors becomes negative, and these sums are made to fall (Geyer).
"""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jaxtyping import ArrayLike

from treedyn import _check as check
from treedyn.tree import PyTree

_TAILS = (0.05, 0.95)
_ONE_SIGMA = (0.1586553, 0.8413447)


def r_hat(draws: PyTree) -> PyTree:
    r"""Return the potential scale reduction $\hat R$: how much wider all chains are together than each half of one.

    It is 1 for chains that sample the same distribution. A value above 1.01 says that they do not, or not yet. The
    draws are replaced by the normal scores of their ranks. The result is the larger one of location and scale.

    Args:
        draws: a tree of arrays `[draws, chains, ...]`, with at least two chains.

    Returns:
        A tree of arrays `[...]`.

    Raises:
        ValueError: an array has fewer than two axes, or there is one chain.

    Example:
        >>> import numpy as np, treedyn as td
        >>> draws = np.random.default_rng(0).normal(size=(1000, 4))
        >>> print(td.r_hat(draws).round(2), td.r_hat(draws + np.arange(4)).round(1))
        1.0 1.5

    Reference:
        Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221.
    """

    def one(x: np.ndarray) -> np.ndarray:
        if x.shape[1] < 2:
            raise ValueError("draws: expected at least two chains, got one. Use td.ensemble(dynamics, members).")
        halves = _halves(x)
        away = np.abs(halves - np.median(halves, axis=(0, 1)))
        return np.maximum(_reduction(_scores(halves)), _reduction(_scores(away)))

    return _of_leaves(one, draws)


def effective_sample_size(draws: PyTree, of: Literal["mean", "sd", "bulk", "tail"] | float = "bulk") -> PyTree:
    r"""Return how many independent draws have the same information as these.

    Args:
        draws: a tree of arrays `[draws, chains, ...]`.
        of: what the draws are for: the "mean"; the standard deviation ("sd"); a quantile, a number between 0 and 1;
            the "bulk" of the distribution, whatever its tails (the mean of the normal scores of the ranks); or its
            "tail", the smaller one of the 5 % and the 95 % quantile.

    Returns:
        A tree of arrays `[...]`. It is more than the number of draws if successive ones are anticorrelated.

    Raises:
        ValueError: an array has fewer than two axes, or `of` is none of these.

    Example:
        >>> import numpy as np, treedyn as td
        >>> draws = np.random.default_rng(0).normal(size=(1000, 4))
        >>> print(3500 < td.effective_sample_size(draws) < 4500, td.effective_sample_size(0 * draws))
        True nan

    Reference:
        Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221; Geyer, Stat. Sci. 7, 473 (1992),
        doi:10.1214/ss/1177011137.
    """
    return _of_leaves(lambda x: _effective(x, of), draws)


def monte_carlo_error(draws: PyTree, of: Literal["mean", "sd"] | float = "mean") -> PyTree:
    r"""Return the standard error of a mean, $s/\sqrt{N_\mathrm{eff}}$, of a standard deviation, or of a quantile.

    Args:
        draws: a tree of arrays `[draws, chains, ...]`.
        of: "mean", "sd", or a number between 0 and 1 for a quantile.

    Returns:
        A tree of arrays `[...]`.

    Raises:
        ValueError: an array has fewer than two axes, or `of` is none of these.

    Example:
        >>> import numpy as np, treedyn as td
        >>> draws = np.random.default_rng(0).normal(size=(2500, 4))
        >>> print(td.monte_carlo_error(draws).round(2), td.monte_carlo_error(draws, 0.5).round(2))
        0.01 0.01

    Reference:
        Vehtari et al., Bayesian Anal. 16, 667 (2021), doi:10.1214/20-BA1221.
    """

    def one(x: np.ndarray) -> np.ndarray:
        if of in ("bulk", "tail"):
            raise ValueError(f'of: expected "mean", "sd", or a number between 0 and 1, got {of!r}')
        size = _effective(x, of)
        if of == "mean":
            return np.std(x, axis=(0, 1), ddof=1) / np.sqrt(size)
        if of == "sd":
            square = (x - np.mean(x, axis=(0, 1))) ** 2
            variance = np.mean(square, axis=(0, 1))
            return np.sqrt((np.mean(square**2, axis=(0, 1)) - variance**2) / (4 * size * variance))
        return _quantile_error(x, float(of), size)

    return _of_leaves(one, draws)


def _of_leaves(f: Callable[[np.ndarray], np.ndarray], draws: PyTree) -> PyTree:
    """Return `f` of every array of draws; NaN where its elements are not finite, or all the same."""

    def one(leaf: np.ndarray) -> np.ndarray:
        x = real(leaf)
        if x.ndim < 2:
            raise ValueError(
                f"draws: expected arrays [draws, chains, ...], got shape {list(x.shape)}. Add an axis for one chain."
            )
        if len(x) < 4:
            return np.full(x.shape[2:], np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):
            known = np.ptp(x, axis=(0, 1)) > 1e-15 * np.max(np.abs(x), axis=(0, 1))
            return np.where(known, f(x), np.nan)[()]

    if not jax.tree.leaves(draws):
        raise ValueError("draws: expected arrays [draws, chains, ...], got none. Pass the records of td.run.")
    return jax.tree.map(one, draws)


def real(x: ArrayLike, name: str = "draws") -> np.ndarray:
    """Return draws in double precision, finite or not, with booleans as 0 and 1."""
    if getattr(x, "dtype", None) != np.bool_:
        check.array(name, x, "arrays of real numbers [draws, chains, ...]", finite=False)
    return np.asarray(x, np.float64)


def _halves(x: np.ndarray) -> np.ndarray:
    """Return the halves of all chains as chains; the middle one of an odd number of draws is left out."""
    half = len(x) // 2
    return np.concatenate([x[:half], x[-half:]], axis=1)


def _scores(x: np.ndarray) -> np.ndarray:
    """Return the normal scores of the ranks of all draws."""
    from scipy import special, stats

    flat = x.reshape(-1, *x.shape[2:])
    ranks = stats.rankdata(flat, axis=0).reshape(x.shape)
    return special.ndtri((ranks - 3 / 8) / (len(flat) + 1 / 4))


def _reduction(x: np.ndarray) -> np.ndarray:
    """Return the ratio of the standard deviation of all chains to that within chains."""
    n = len(x)
    between, within = np.var(np.mean(x, axis=0), axis=0, ddof=1), np.mean(np.var(x, axis=0, ddof=1), axis=0)
    return np.sqrt(between / within + (n - 1) / n)


def _effective(x: np.ndarray, of: str | float) -> np.ndarray:
    if of == "tail":
        # where the values are few, one of the quantiles may be the largest value
        return np.fmin(*(_effective(x, quantile) for quantile in _TAILS))
    if of == "bulk":
        return _size(_scores(_halves(x)))
    if of == "sd":
        x = (x - np.mean(x, axis=(0, 1))) ** 2
    elif of != "mean":
        level = check.number("of", of, 'one of "mean", "sd", "bulk" and "tail", or a number between 0 and 1')
        if not 0 < level < 1:
            raise ValueError(f"of: expected a number between 0 and 1 for a quantile, got {of}")
        x = (x <= np.quantile(x, level, axis=(0, 1))).astype(float)
    return _size(_halves(x))


def _size(x: np.ndarray) -> np.ndarray:
    """Return the effective sample size of the mean, from the autocovariances of the chains."""
    n, chains = x.shape[:2]
    covariance = np.mean(_autocovariance(x), axis=1)
    within = covariance[0] * n / (n - 1)
    all_draws = covariance[0] + np.var(np.mean(x, axis=0), axis=0, ddof=1)
    correlation = 1 - (within - covariance) / all_draws
    correlation[0] = 1
    count = max((n - 1) // 2, 1)
    even, odd = correlation[: 2 * count : 2], correlation[1 : 2 * count : 2]
    pairs = even + odd
    falling = np.minimum.accumulate(pairs, axis=0)
    # the pairs up to the first one that is not positive; of that one, or of the last, at most the first half
    before = np.cumprod(pairs[:-1] > 0, axis=0)
    last = np.sum(before, axis=0)[None]
    rest = np.take_along_axis(even, last, axis=0)[0]
    kept = np.take_along_axis(pairs, last, axis=0)[0] >= 0
    time = -1 + 2 * np.sum(before * falling[:-1], axis=0) + np.where(kept, rest, np.maximum(rest, 0))
    return n * chains / np.maximum(time, 1 / np.log10(n * chains))


def _autocovariance(x: np.ndarray) -> np.ndarray:
    """Return the autocovariance along the first axis, with 1/n."""
    n = len(x)
    length = 1 << (2 * n - 1).bit_length()
    wave = np.fft.rfft(x - np.mean(x, axis=0), length, axis=0)
    return np.fft.irfft(np.abs(wave) ** 2, length, axis=0)[:n] / n


def _quantile_error(x: np.ndarray, level: float, size: np.ndarray) -> np.ndarray:
    """Return half the distance of the order statistics one sigma below and above a quantile."""
    from scipy import special

    ordered = np.sort(x.reshape(-1, *x.shape[2:]), axis=0)
    last = len(ordered) - 1
    size = np.nan_to_num(size, nan=1.0)
    low, high = (special.betaincinv(size * level + 1, size * (1 - level) + 1, p) * (last + 1) - 1 for p in _ONE_SIGMA)
    places = np.floor(np.maximum(low, 0)).astype(int), np.ceil(np.minimum(high, last)).astype(int)
    below, above = (np.take_along_axis(ordered, place[None], axis=0)[0] for place in places)
    return (above - below) / 2
