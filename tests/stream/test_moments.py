"""Mean, variance, covariance, extremes and counters, against numpy on the stored series."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.stream.streams import RNG, assert_close, assert_same, at, fed, mixed, reduced
from treedyn import stream
from treedyn.stream import Count

SERIES = mixed(50)
SPREAD = stream.variance(lambda x: x)
UPDATE = jax.jit(SPREAD.update)
MERGED = jax.jit(lambda a, b: SPREAD.result(SPREAD.merge(a, b)))
STORED = jax.tree.map(lambda x: np.asarray(x).astype(np.float64), SERIES)


def in_dtypes_of(result, expected):
    return jax.tree.map(lambda r, e: jnp.asarray(e, r.dtype), result, expected)


def test_mean_is_that_of_the_series():
    out = reduced(stream.mean(lambda x: x), SERIES)
    assert {k: out[k].dtype for k in ("scalar", "single", "half", "count")} == {
        "scalar": jnp.float64,
        "single": jnp.float32,
        "half": jnp.float32,
        "count": jnp.float64,
    }
    assert_close(out, in_dtypes_of(out, jax.tree.map(lambda x: np.mean(x, axis=0), STORED)), factor=2)


def test_mean_of_complex_numbers():
    z = RNG.normal(size=(40, 2)) + 1j * RNG.normal(size=(40, 2))
    np.testing.assert_allclose(reduced(stream.mean(lambda x: x), jnp.asarray(z)), z.mean(0), rtol=1e-14)


def test_variance_and_error_are_those_of_the_series():
    out = reduced(stream.variance(lambda x: x), SERIES)
    variance = jax.tree.map(lambda x: np.var(x, axis=0, ddof=1), STORED)
    assert_close(out.mean, in_dtypes_of(out.mean, jax.tree.map(lambda x: np.mean(x, axis=0), STORED)), factor=2)
    assert_close(out.variance, in_dtypes_of(out.variance, variance), factor=8)
    error = jax.tree.map(lambda v: np.sqrt(v / 50), variance)
    assert_close(out.error, in_dtypes_of(out.error, error), factor=8)
    assert float(out.count) == 50


def test_covariance_within_and_across_leaves():
    series = {"x": jnp.asarray(RNG.normal(size=(30, 2, 2))), "y": jnp.asarray(RNG.normal(size=30), jnp.float32)}
    columns = np.concatenate([np.asarray(series["x"]).reshape(30, 4), np.asarray(series["y"])[:, None]], axis=1)
    full = np.cov(columns, rowvar=False)
    within = reduced(stream.covariance(lambda s: s), series).covariance
    np.testing.assert_allclose(within["x"].reshape(4, 4), full[:4, :4], rtol=1e-12, atol=1e-14)
    across = reduced(stream.covariance(lambda s: s, across=True), series).covariance
    assert across["x"]["y"].shape == (2, 2) and across["y"]["x"].dtype == jnp.float64
    np.testing.assert_allclose(across["x"]["x"].reshape(4, 4), full[:4, :4], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(across["x"]["y"].reshape(4), full[:4, 4], atol=1e-6)
    np.testing.assert_allclose(across["y"]["y"], full[4, 4], rtol=1e-6)


def test_extremes_keep_dtype_and_show_nan():
    out = reduced(stream.extremes(lambda x: x), SERIES)
    assert_same(out.least, jax.tree.map(lambda x: jnp.min(x, axis=0), SERIES))
    assert_same(out.largest, jax.tree.map(lambda x: jnp.max(x, axis=0), SERIES))
    out = reduced(stream.extremes(lambda x: x), jnp.array([1.0, jnp.nan, 2.0]))
    assert np.isnan(out.least) and np.isnan(out.largest)


@pytest.mark.parametrize("offset", [1e4, -3e6])
def test_float32_holds_over_a_million_observations_with_a_large_offset(offset):
    # noise of 64 levels, in steps of the spacing of float32 at the offset; the mean moves half way
    n, spacing = 1_000_000, np.spacing(np.float32(abs(offset)))

    def values(t, xp):
        level = (t.astype(xp.uint32) * xp.uint32(2654435761)) >> xp.uint32(26)
        return (
            xp.float32(offset)
            + (level + xp.where(t > n // 2, xp.uint32(64), xp.uint32(0))).astype(xp.float32) * spacing
        )

    times = jnp.arange(n, dtype=jnp.uint32)
    out = reduced(stream.variance(lambda t: values(t, jnp)), times)
    exact = values(np.arange(n, dtype=np.uint32), np).astype(np.float64)
    assert out.mean.dtype == jnp.float32
    # the only error is the rounding of the result
    assert abs(float(out.mean) - exact.mean()) <= spacing
    np.testing.assert_allclose(out.variance, exact.var(ddof=1), rtol=1e-5)

    # the same recursion without compensation stops
    def plain(mean, t):
        return mean + (values(t, jnp) - mean) / (t + jnp.uint32(1)).astype(jnp.float32), None

    naive = jax.lax.scan(plain, jnp.float32(0), times)[0]
    assert abs(float(naive) - exact.mean()) > 10 * spacing


@hypothesis.given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=40),
    st.integers(0, 40),
)
def test_any_cut_of_any_series_merges(values, cut):
    parts = []
    for part in (values[:cut], values[cut:]):
        carry = SPREAD.init(jnp.float64(0))
        for x in part:
            carry = UPDATE(carry, x)
        parts.append(carry)
    out = MERGED(*parts)
    scale = max(np.max(np.abs(values)), 1e-30)
    np.testing.assert_allclose(out.mean, np.mean(values), atol=1e-14 * scale)
    np.testing.assert_allclose(out.variance, np.var(values, ddof=1), rtol=1e-12, atol=1e-14 * scale**2)


@hypothesis.given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 63))
def test_counter_counts_to_two_to_the_64(a, b, place):
    def count(n):
        return Count(low=jnp.uint32(n & 0xFFFFFFFF), high=jnp.uint32(n >> 32))

    total = count(a) + count(b)
    assert (int(total.high) << 32) + int(total.low) == a + b
    assert bool(count(a) <= count(b)) == (a <= b)
    assert bool(count(a).bit(place)) == bool(a >> place & 1)
    power = Count.power(jnp.int32(place))
    assert (int(power.high) << 32) + int(power.low) == 2**place
    np.testing.assert_allclose(count(a).to(jnp.float32), a, rtol=2.0**-23)


def test_counter_passes_what_float32_and_int32_can_count():
    carry = fed(stream.mean(lambda x: x), jnp.ones(3))
    late = {**carry, "count": Count(low=jnp.uint32(2**32 - 1), high=jnp.uint32(0))}
    late = stream.mean(lambda x: x).update(late, jnp.float64(1.0))
    assert (int(late["count"].low), int(late["count"].high)) == (0, 1)
    assert float(at(late["mean"].value[None], 0)) == 1.0


def test_r_hat_is_that_of_the_stored_chains():
    chains = RNG.normal(size=(40, 5, 3)) + np.array([0, 0, 0, 0, 1])[:, None] * [0, 1, 10]
    chains[..., 0] = 2.0
    reducer = stream.r_hat(lambda x: {"x": x})
    carries = jax.vmap(lambda series: fed(reducer, series), in_axes=1)(jnp.asarray(chains))
    found = reducer.result(stream.pool(reducer, carries))["x"]
    within, between = np.mean(np.var(chains, axis=0, ddof=1), axis=0), np.var(np.mean(chains, axis=0), axis=0, ddof=1)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(found, np.sqrt(39 / 40 + between / within), rtol=1e-12)
    assert np.isnan(found[0]) and found[1] < 2 < found[2]
    assert np.all(np.isnan(reducer.result(fed(reducer, jnp.asarray(chains[:, 0])))["x"]))  # one chain
