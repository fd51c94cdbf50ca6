"""The standard error of the mean of a correlated series."""

import numpy as np
from jaxtyping import ArrayLike, Float, Shaped

from treedyn import _check as check


def standard_error(series: Shaped[ArrayLike, "steps *shape"]) -> Float[np.ndarray, "*shape"]:
    r"""Return the standard error of the mean of a correlated series, by blocking.

    Successive pairs are averaged repeatedly. Once blocks are longer than the correlation time, the naive error
    $\sigma_B = s/\sqrt{n_B}$ of the block averages no longer grows, and is the error of the mean. The result is that of
    the shortest block with $B^3 > 2 n (\sigma_B/\sigma_1)^4$, a balance of the remaining correlation and the scatter of
    the estimate. The series must be stationary.

    Args:
        series: values at equal intervals along the first axis, `[steps, ...]`; the elements of the other axes are
            separate series. Average over replicas before.

    Returns:
        The standard error of `mean(series, axis=0)`, `[...]`; NaN, with a warning, where the series is too short for
        its correlation time.

    Raises:
        ValueError: the series has no time axis.

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
    if blocks.ndim == 0 or not len(blocks):
        raise ValueError(f"series: expected values along the first axis, got shape {blocks.shape}")
    n, length = len(blocks), 1
    naive = _naive(blocks) if n > 1 else np.full(blocks.shape[1:], np.nan)
    error, found = np.where(naive == 0, 0, np.nan), naive == 0
    while len(blocks) >= 8 and not np.all(found):
        now = _naive(blocks)
        enough = length**3 * naive**4 > 2 * n * now**4
        error = np.where(~found & enough, now, error)
        found = found | enough
        blocks = (blocks[: len(blocks) // 2 * 2 : 2] + blocks[1::2]) / 2
        length *= 2
    if not np.all(found):
        check.warn(
            f"series: {n} values are too few for their correlation time, so the standard error is not known. Make a "
            "longer run."
        )
    return error


def samples(series: ArrayLike) -> np.ndarray:
    """Return a series in double precision, with booleans as 0 and 1."""
    if getattr(series, "dtype", None) == np.bool_:
        return np.asarray(series, np.float64)
    return check.reals("series", series, "real numbers along the first axis")


def _naive(blocks: np.ndarray) -> np.ndarray:
    """Return the standard error of the mean of independent values."""
    return np.std(blocks, axis=0, ddof=1) / np.sqrt(len(blocks))
