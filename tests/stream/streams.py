"""Streams of states, and helpers that reduce and compare them."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal

from treedyn import stream

RNG = np.random.default_rng(7)


def mixed(steps):
    """Return a stream of states of every kind of leaf: 0-d, integer, boolean, half, single and double precision."""
    return {
        "scalar": jnp.asarray(RNG.normal(size=steps) + 3.0, jnp.float64),
        "single": jnp.asarray(RNG.normal(size=(steps, 2, 3)), jnp.float32),
        "half": jnp.asarray(RNG.normal(size=(steps, 2)), jnp.bfloat16),
        "count": jnp.asarray(RNG.integers(-5, 9, size=(steps, 2)), jnp.int32),
        "flag": (jnp.asarray(RNG.random(size=steps) < 0.3), ()),
    }


def autoregressive(keep, steps, replicas, rng=RNG):
    """Return x' = keep x + sqrt(1 - keep^2) noise, started from its stationary distribution; `[steps, replicas]`."""
    noise = rng.normal(size=(steps, replicas)) * np.sqrt(1 - keep**2)
    start = keep * rng.normal(size=(1, replicas))
    return scipy.signal.lfilter([1], [1, -keep], noise, axis=0, zi=start)[0]


def all_reducers(of):
    return {
        "mean": stream.mean(of),
        "variance": stream.variance(of),
        "covariance": stream.covariance(of),
        "across": stream.covariance(of, across=True),
        "extremes": stream.extremes(of),
        "histogram": stream.histogram(of, np.linspace(-2.0, 2.0, 9)),
        "pooled": stream.histogram(of, np.linspace(-2.0, 2.0, 9), pool=True),
        "quantiles": stream.quantiles(of, [0.1, 0.5, 0.9], size=4),
        "autocorrelation": stream.autocorrelation(of, lags=4),
        "blocking": stream.blocking(of, levels=6),
    }


MERGEABLE = ["mean", "variance", "covariance", "across", "extremes", "histogram", "pooled", "quantiles"]


def at(series, start, stop=None):
    """Return one state of a stream, or a part of the stream."""
    return jax.tree.map(lambda x: x[start] if stop is None else x[start:stop], series)


@jax.jit
def _feed(reducers, carry, series):
    return jax.lax.scan(lambda c, x: (stream.update(reducers, c, x), None), carry, series)[0]


def fed(reducers, series, carry=None):
    """Return the carry after a stream, by a compiled scan."""
    return _feed(reducers, stream.init(reducers, at(series, 0)) if carry is None else carry, series)


def reduced(reducers, series):
    """Return the result of a stream."""
    return stream.result(reducers, fed(reducers, series))


def assert_same(a, b):
    """Assert that two trees are equal in structure, dtypes and every bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def assert_close(a, b, factor=100, kind=None):
    """Assert that two trees are equal up to round-off in their dtype or in `kind`, relative to the size of a leaf."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        x, y = jnp.asarray(x), jnp.asarray(y)
        eps = factor * float(jnp.finfo(kind or x.dtype).eps) if jnp.issubdtype(x.dtype, jnp.floating) else 0.0
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        scale = np.max(np.abs(y[np.isfinite(y)]), initial=0.0)
        np.testing.assert_allclose(x, y, rtol=eps, atol=eps * scale)
