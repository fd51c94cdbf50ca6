"""The standard error of a correlated series, against a process whose error is known."""

import numpy as np
import pytest

from tests.stream.streams import autoregressive
from treedyn.diagnostics import standard_error
from treedyn.testing import sigmas

STEPS = 2**14
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.95])
def test_error_of_an_autoregressive_series(keep):
    exact = np.sqrt((1 + keep) / (1 - keep) / STEPS)
    estimates = standard_error(autoregressive(keep, STEPS, 200, RNG))
    assert estimates.shape == (200,)
    # single estimates scatter by about 10 %; the remaining correlation makes them slightly too small
    np.testing.assert_allclose(np.mean(estimates), exact, rtol=0.04)
    np.testing.assert_allclose(estimates, exact, rtol=0.6)


def test_sigmas_of_the_right_mean_are_standard_normal():
    found = sigmas(autoregressive(0.9, STEPS, 500, RNG), 0.0)
    assert abs(np.mean(found)) < 5 / np.sqrt(500)
    np.testing.assert_allclose(np.std(found), 1, atol=0.15)
    # a wrong mean is detected
    assert abs(sigmas(autoregressive(0.9, STEPS, 1, RNG)[:, 0], 0.5)) > 5


def test_constant_series_has_no_error():
    np.testing.assert_array_equal(standard_error(np.ones((100, 2))), [0, 0])


@pytest.mark.parametrize("short", [np.arange(1.0), np.arange(5.0), np.linspace(0, 1, 1000)])
def test_the_error_of_a_too_short_series_is_not_known(short):
    series = np.stack([short, np.ones_like(short)], axis=1)
    with pytest.warns(UserWarning, match=f"series: {len(short)} values are too few"):
        found = standard_error(series)
    assert np.isnan(found[0]) and (found[1] == 0 or len(short) == 1)
    with pytest.raises(ValueError, match="series: expected values along the first axis"):
        standard_error(np.zeros(0))
