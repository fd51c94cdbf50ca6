"""Statistical tests that state how far off a mean is, in units of its standard error."""

from typing import Any

import numpy as np

from treedyn import _check as check
from treedyn.diagnostics._blocking import samples, standard_error


def sigmas(series: Any, expected: Any) -> np.ndarray:
    """Return by how many standard errors the mean of a series is off.

    For a test: `assert abs(sigmas(series, right)) < 5`, and `assert abs(sigmas(series, wrong)) > 5` for the value that
    a likely mistake would give, so that the test is known to be able to fail.

    Args:
        series: samples along the first axis, independent or successive; `[samples, ...]`.
        expected: the exact mean, shaped to broadcast against `[...]`.

    Returns:
        (mean - expected) / standard error; `[...]`.

    Raises:
        ValueError: there are too few samples for their correlation time.

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
