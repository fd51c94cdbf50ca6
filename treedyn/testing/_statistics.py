"""Statistical tests in units of the standard error."""

import numpy as np
from jaxtyping import ArrayLike, Float, Real, Shaped

from treedyn import _check as check
from treedyn.diagnostics._blocking import samples, standard_error


def sigmas(
    series: Shaped[ArrayLike, "samples *shape"], expected: Real[ArrayLike, "..."]
) -> Float[np.ndarray, "*shape"]:
    """Return the deviation of the mean of a series from its expected value, in standard errors.

    In a test, write `assert abs(sigmas(series, right)) < 5`, and `assert abs(sigmas(series, wrong)) > 5` for the value
    of a likely mistake, to show that the test can fail.

    Args:
        series: independent or successive samples along the first axis, `[samples, ...]`.
        expected: the exact mean, broadcast against `[...]`.

    Returns:
        (mean - expected) / standard error, `[...]`; NaN where there are too few samples for their correlation time.

    Raises:
        ValueError: the shapes do not fit.

    Example:
        >>> import numpy as np
        >>> from treedyn.testing import sigmas
        >>> normal = np.random.default_rng(0).normal(size=10_000)
        >>> bool(abs(sigmas(normal**4, 3.0)) < 5), bool(abs(sigmas(normal**4, 2.0)) > 5)
        (True, True)
    """
    error = standard_error(series)
    mean = np.mean(samples(series), axis=0)
    right = check.reals("expected", expected, "the exact mean")
    if np.broadcast_shapes(mean.shape, right.shape) != mean.shape:
        raise ValueError(f"expected: must broadcast against the mean, of shape {mean.shape}, got shape {right.shape}")
    return (mean - right) / error
