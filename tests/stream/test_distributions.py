"""Histograms and quantiles, against numpy on the stored series."""

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.stream.streams import RNG, fed, reduced
from treedyn import stream
from treedyn.stream import Count

pytestmark = pytest.mark.slow

EDGES = np.array([-1.0, -0.25, 0.0, 0.5, 2.0])


def test_histogram_is_that_of_numpy_for_every_element():
    x = RNG.normal(size=(300, 2, 3))
    x[:5, 0, 0] = [-1.0, 2.0, 0.0, 0.5, np.nextafter(2.0, 3.0)]
    out = jax.tree.map(np.asarray, reduced(stream.histogram(lambda x: x, EDGES), jnp.asarray(x)))
    for i in np.ndindex(2, 3):
        series = x[(slice(None), *i)]
        np.testing.assert_array_equal(out.counts[i], np.histogram(series, EDGES)[0])
        assert out.under[i] == np.sum(series < -1) and out.over[i] == np.sum(series > 2)
        assert out.counts[i].sum() + out.under[i] + out.over[i] + out.nan[i] == 300


def test_pooled_histogram_counts_all_elements_together():
    x = RNG.normal(size=(50, 40)).astype(np.float32)
    x[3, 4], x[5, 6] = np.nan, np.inf
    out = reduced(stream.histogram(lambda x: {"x": x}, EDGES, pool=True), jnp.asarray(x))
    out = jax.tree.map(np.asarray, out)
    np.testing.assert_array_equal(out.counts["x"], np.histogram(x[np.isfinite(x)], EDGES)[0])
    assert out.nan["x"] == 1 and out.over["x"] == np.sum(x > 2)
    inside = np.sum(out.counts["x"]) / x.size
    np.testing.assert_allclose(np.sum(out.density["x"] * np.diff(EDGES)), inside, rtol=1e-12)


def test_histogram_counts_beyond_32_bits():
    reducer = stream.histogram(lambda x: x, EDGES, pool=True)
    full = jnp.full(7, 2**32 - 1, jnp.uint32)
    carry = reducer.update(Count(low=full, high=jnp.zeros(7, jnp.uint32)), jnp.array([0.1, 0.2]))
    assert float(reducer.result(carry).counts[2]) == 2.0**32 + 1


SKETCH = stream.quantiles(lambda x: x, [0.0, 0.01, 0.25, 0.5, 0.9, 1.0], size=8, capacity=2**14)


def off_by(values, found, q):
    """Return how far the fraction q is outside of those for which `found` is an exact quantile."""
    values = np.sort(values)
    low, high = np.searchsorted(values, found, "left") / len(values), np.searchsorted(values, found, "right")
    return max(low - q, q - high / len(values), 0.0)


def series(kind, n, seed):
    rng = np.random.default_rng(seed)
    return {
        "normal": lambda: rng.normal(size=n),
        "heavy": lambda: rng.standard_cauchy(size=n),
        "offset": lambda: 1e6 + rng.random(n),
        "rising": lambda: np.arange(float(n)),
        "falling": lambda: -np.arange(float(n)),
        "sawtooth": lambda: np.arange(n) % 16.0,
        "few": lambda: rng.integers(0, 3, size=n) * 1.0,
        "two": lambda: np.where(np.arange(n) % 2 == 0, -1e9, 1e-9) * rng.random(n),
    }[kind]()


KINDS = ["normal", "heavy", "offset", "rising", "falling", "sawtooth", "few", "two"]


@hypothesis.given(st.sampled_from(KINDS), st.sampled_from([1, 7, 16, 100, 1000, 2000]), st.integers(0, 1000))
def test_quantiles_are_within_their_stated_bound(kind, n, seed):
    x = series(kind, n, seed)
    out = reduced(SKETCH, jnp.asarray(x))
    assert float(out.count) == n
    for q, value in zip(np.asarray(out.q), np.asarray(out.value), strict=True):
        assert value in x
        assert off_by(x, value, q) <= float(out.rank_error) + 1e-12


@pytest.mark.parametrize(("n", "size"), [(1000, 8), (4096, 64), (65_537, 64)])
def test_the_stated_bound_follows_the_formula(n, size):
    reducer = stream.quantiles(lambda x: x, 0.5, size=size)
    out = reduced(reducer, jnp.zeros(n))
    formula = np.log2(n / size) / (4 * size)
    # at every level the number of merges may be odd
    assert 0.5 * formula < float(out.rank_error) < formula + 1 / size


@pytest.mark.parametrize("n", [1, 2, 8, 13, 15])
def test_short_streams_are_exact(n):
    x = RNG.normal(size=(n, 3))
    q = [[0.0, 0.25], [0.5, 1.0]]
    out = reduced(stream.quantiles(lambda x: x, q, size=8), jnp.asarray(x))
    assert float(out.rank_error) == 0
    np.testing.assert_array_equal(out.value, np.quantile(x, q, axis=0, method="inverted_cdf"))


@hypothesis.given(st.sampled_from(KINDS), st.sampled_from([0, 3, 8, 1000]), st.sampled_from([0, 5, 333]))
def test_merged_quantiles_are_within_their_bound(kind, n, m):
    hypothesis.assume(n + m)
    x = series(kind, n + m, n * m)
    empty = SKETCH.init(jnp.float64(0))
    merged = SKETCH.merge(fed(SKETCH, jnp.asarray(x[:n]), empty), fed(SKETCH, jnp.asarray(x[n:]), empty))
    out = SKETCH.result(merged)
    assert float(out.count) == n + m
    assert float(out.rank_error) <= np.log2(max((n + m) / 8, 2)) / (4 * 8) + 2 / 8
    for q, value in zip(np.asarray(out.q), np.asarray(out.value), strict=True):
        assert off_by(x, value, q) <= float(out.rank_error) + 1e-12
    more = fed(SKETCH, jnp.asarray(x), merged)
    assert float(SKETCH.result(more).count) == 2 * (n + m)


def test_more_observations_than_the_capacity_are_nan():
    reducer = stream.quantiles(lambda x: x, 0.5, size=2, capacity=8)
    carry, seen = reducer.init(jnp.float64(0)), []
    for t in range(20):
        carry = reducer.update(carry, jnp.float64(t))
        seen.append(bool(jnp.isnan(reducer.result(carry).value)))
    room = seen.index(True)
    assert room >= 8 and all(seen[room:])


def test_memory_of_a_sketch_does_not_depend_on_the_length_of_the_stream():
    reducer = stream.quantiles(lambda x: x, 0.5, size=8, capacity=2**14)

    def size(carry):
        return sum(x.size for x in jax.tree.leaves(carry))

    assert size(fed(reducer, jnp.zeros(1000))) == size(reducer.init(jnp.float64(0))) < 150
