"""The standard error of the mean of a correlated series."""

from typing import Any

import numpy as np

from treedyn import _check as check


def standard_error(series: Any) -> np.ndarray:
    r"""Return the standard error of the mean of a correlated series, by blocking.

    Successive pairs are averaged again and again. Once blocks are longer than the correlation time, the naive error
    $\sigma_B = s/\sqrt{n_B}$ of the block averages no longer grows: it is that of the mean. Taken is the shortest block
    with $B^3 > 2 n (\sigma_B/\sigma_1)^4$, which balances what is left of the correlation against the scatter of the
    estimate. The series must have reached its stationary state.

    Args:
        series: values at equal intervals along the first axis, `[steps, ...]`; every other element is a series of its
            own. Average over replicas first: their mean is a series, too.

    Returns:
        The standard error of `mean(series, axis=0)`, `[...]`.

    Raises:
        ValueError: the series has no time axis, or is too short for its correlation time.

    Example:
        >>> import numpy as np
        >>> from treedyn.diagnostics import standard_error
        >>> white = np.random.default_rng(0).normal(size=10_000)
        >>> print(standard_error(white).round(2))
        0.01

    Reference:
        Flyvbjerg, Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480; block length: Lee et al., Phys. Rev. E
        83, 066706 (2011), doi:10.1103/PhysRevE.83.066706.
    """
    blocks = samples(series)
    if blocks.ndim == 0 or len(blocks) < 16:
        raise ValueError(f"series: expected at least 16 values along the first axis, got shape {blocks.shape}")
    n, length = len(blocks), 1
    naive = _naive(blocks)
    error, found = np.zeros_like(naive), naive == 0
    while len(blocks) >= 8 and not np.all(found):
        now = _naive(blocks)
        enough = length**3 * naive**4 > 2 * n * now**4
        error = np.where(~found & enough, now, error)
        found = found | enough
        blocks = (blocks[: len(blocks) // 2 * 2 : 2] + blocks[1::2]) / 2
        length *= 2
    if not np.all(found):
        raise ValueError(
            f"series: {n} values are too few for their correlation time, which is of the order of {n // 16} or longer. "
            "The mean needs a longer run."
        )
    return error


def samples(series: Any) -> np.ndarray:
    """Return a series in double precision; whether something holds counts as 1 and 0, so that its mean is how often.

    Raises:
        ValueError: something is no finite real number.
    """
    if getattr(series, "dtype", None) == np.bool_:
        return np.asarray(series, np.float64)
    return check.reals("series", series, "real numbers along the first axis")


def _naive(blocks: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean of independent values."""
    return np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
