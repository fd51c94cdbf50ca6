"""Autocorrelation and blocking, against the stored series and against known processes."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from tests.stream.streams import RNG, autoregressive, fed, reduced
from treedyn import stream
from treedyn.diagnostics import standard_error

pytestmark = pytest.mark.slow


def autocovariance(x, lags):
    y = x - x.mean(axis=0)
    return np.stack([np.sum(y[k:] * y[: len(y) - k], axis=0) for k in range(lags + 1)]) / len(y)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_autocovariance_is_that_of_the_series(offset):
    x = RNG.normal(size=(200, 2)) + offset
    out = reduced(stream.autocorrelation(lambda x: x, lags=7), jnp.asarray(x))
    exact = autocovariance(x, 7)
    eps = 1e-13 + 2e-16 * offset
    np.testing.assert_allclose(out.covariance, exact, atol=10 * eps)
    np.testing.assert_allclose(out.correlation, exact / exact[0], atol=10 * eps)


def test_autocovariance_in_float32_survives_a_large_offset():
    x = (np.round(autoregressive(0.8, 20_000, 1)[:, 0] * 64) / 64 + 1e4).astype(np.float32)
    out = reduced(stream.autocorrelation(lambda x: x, lags=5), jnp.asarray(x))
    assert out.covariance.dtype == jnp.float32
    np.testing.assert_allclose(out.covariance, autocovariance(x.astype(np.float64), 5), rtol=1e-4)


def test_lags_beyond_the_length_of_the_stream_are_nan():
    out = reduced(stream.autocorrelation(lambda x: x, lags=5), jnp.array([1.0, 2.0, 4.0]))
    np.testing.assert_array_equal(np.isnan(out.covariance), [False] * 3 + [True] * 3)
    assert np.isnan(out.time)


@pytest.mark.parametrize("keep", [0.0, 0.8])
def test_integrated_time_and_error_of_an_autoregressive_series(keep):
    steps, replicas = 4000, 60
    out = reduced(stream.autocorrelation(lambda x: x, lags=80), jnp.asarray(autoregressive(keep, steps, replicas)))
    exact = (1 + keep) / (1 - keep)
    assert out.time.shape == (replicas,)
    np.testing.assert_allclose(np.mean(out.time), exact, rtol=0.05)
    np.testing.assert_allclose(np.mean(out.error), np.sqrt(exact / steps), rtol=0.05)


def test_integrated_time_beyond_the_lags_is_nan():
    out = reduced(stream.autocorrelation(lambda x: x, lags=20), jnp.asarray(autoregressive(0.9, 2000, 1)))
    assert np.all(np.isnan(out.time)) and np.all(np.isnan(out.error))


@pytest.mark.parametrize("steps", [16, 100, 1023, 1024, 4097])
def test_blocked_error_is_that_of_the_stored_series(steps):
    x = autoregressive(0.7, steps, 8) + 50.0
    out = reduced(stream.blocking(lambda x: x), jnp.asarray(x))
    np.testing.assert_allclose(out.mean, x.mean(axis=0), rtol=1e-14)
    for k in range(8):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # too few values for their correlation time: NaN
            exact = standard_error(x[:, k])
        np.testing.assert_allclose(out.error[k], exact, rtol=1e-9)


def test_naive_errors_of_all_block_lengths_are_those_of_the_stored_blocks():
    x = autoregressive(0.9, 300, 1)[:, 0]
    errors = np.asarray(reduced(stream.blocking(lambda x: x), jnp.asarray(x)).errors)
    blocks = x
    for level in range(8):
        np.testing.assert_allclose(errors[level], np.std(blocks, ddof=1) / np.sqrt(len(blocks)), rtol=1e-9)
        blocks = (blocks[: len(blocks) // 2 * 2 : 2] + blocks[1::2]) / 2
    assert np.all(np.isnan(errors[8:]))


def test_blocking_in_float32_survives_a_large_offset():
    x = (np.round(autoregressive(0.7, 2**15, 1)[:, 0] * 64) / 64 + 1e4).astype(np.float32)
    out = reduced(stream.blocking(lambda x: x), jnp.asarray(x))
    assert out.error.dtype == jnp.float32
    np.testing.assert_allclose(out.error, standard_error(x), rtol=1e-3)


def test_constant_series_has_no_error_and_a_short_one_an_unknown_error():
    out = reduced(stream.blocking(lambda x: x), jnp.ones((20, 2)))
    np.testing.assert_array_equal(out.error, [0, 0])
    assert np.isnan(stream.blocking(lambda x: x).result(fed(stream.blocking(lambda x: x), jnp.ones(15))).error)
