r"""The autocorrelation of an observable up to a largest lag, from a window of its last values.

For every lag k the means of both sides of the pairs $(x_t, x_{t-k})$ and their covariance are updated by Welford's
recursion: sums of products would lose all digits where the mean is large compared to the fluctuations.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Reducer, check_shape, real
from treedyn.tree import PyTree

# the window is long enough once it has this many correlation times
_WINDOW = 5


class Lagged(Struct):
    """Hold the pairs of one leaf, one entry per lag, `[lags + 1, ...]`.

    Attributes:
        window: the last values, the newest first.
        later: mean of the later side of the pairs.
        earlier: mean of the earlier side.
        product: mean product of the distances to them.
    """

    window: jax.Array
    later: Average
    earlier: Average
    product: Average


class AutocorrelationCarry(Struct):
    """Hold how many observations there were, and their pairs."""

    count: Count
    pairs: PyTree


class AutocorrelationResult(Struct):
    """Hold what `autocorrelation` returns; every leaf of shape `s` has `[lags + 1, *s]`.

    Attributes:
        covariance: autocovariance at lags 0, 1, ...; NaN for lags that the stream is too short for.
        correlation: the same divided by that at lag 0.
        time: integrated time, `[*s]`: so many observations are worth one independent one. NaN where the lags do not
            reach far enough to tell.
        error: standard error of the mean, `[*s]`.
        count: number of observations.
    """

    covariance: PyTree
    correlation: PyTree
    time: PyTree
    error: PyTree
    count: jax.Array


class Autocorrelation(Reducer):
    """Correlate an observable with its past, element by element.

    Attributes:
        lags: the largest lag.
    """

    carries: ClassVar[type] = AutocorrelationCarry
    lags: int = static()

    def init(self, state: PyTree, env: PyTree = None) -> AutocorrelationCarry:
        """Return the carry of no observations."""

        def one(x: Any) -> Lagged:
            zero = Average.zero((self.lags + 1, *x.shape), x.dtype)
            return Lagged(window=zero.high, later=zero, earlier=zero, product=zero)

        shapes = real(self.shapes(state, env), "the autocorrelation")
        return AutocorrelationCarry(count=Count.zero(), pairs=jax.tree.map(one, shapes))

    def update(self, carry: AutocorrelationCarry, state: PyTree, env: PyTree = None) -> AutocorrelationCarry:
        """Return the carry with one more observation."""
        return self._add(carry, self.observe(state, env))

    @jax.jit
    def _add(self, carry: AutocorrelationCarry, values: PyTree) -> AutocorrelationCarry:
        count = carry.count + 1

        def one(x: jax.Array, old: Lagged) -> Lagged:
            x = check_shape(x, old.window.shape[1:])
            window = jnp.concatenate([x.astype(old.window.dtype)[None], old.window[:-1]])
            pairs = self._pairs(count, window)
            n, now = jnp.maximum(pairs, 1), jnp.broadcast_to(window[:1], window.shape)
            later, earlier = old.later.toward(now, n), old.earlier.toward(window, n)
            product = _from(now, old.later) * _from(window, earlier)
            new = (later, earlier, old.product.toward(product, n))
            kept = jax.tree.map(lambda x, y: jnp.where(pairs > 0, x, y), new, (old.later, old.earlier, old.product))
            return Lagged(window=window, later=kept[0], earlier=kept[1], product=kept[2])

        return AutocorrelationCarry(count=count, pairs=jax.tree.map(one, values, carry.pairs))

    def result(self, carry: AutocorrelationCarry) -> AutocorrelationResult:
        """Return covariance, correlation, integrated time and standard error."""
        return tree.unbox(self._result(carry))

    @jax.jit
    def _result(self, carry: AutocorrelationCarry) -> AutocorrelationResult:
        def covariance(x: Lagged) -> jax.Array:
            pairs, n = self._pairs(carry.count, x.window), carry.count.to(x.window.dtype)
            mean = x.later.value[:1]
            shifts = (x.later.value - mean) * (x.earlier.value - mean)
            return jnp.where(pairs > 0, (x.product.value + shifts) * (pairs / jnp.maximum(n, 1)), jnp.nan)

        found = jax.tree.map(covariance, carry.pairs, is_leaf=lambda x: isinstance(x, Lagged))
        correlation = jax.tree.map(lambda c: c / c[:1], found)
        time = jax.tree.map(_integrated, correlation)
        error = jax.tree.map(lambda c, t: jnp.sqrt(c[0] * t / carry.count.to(c.dtype)), found, time)
        return AutocorrelationResult(
            covariance=found,
            correlation=correlation,
            time=time,
            error=error,
            count=carry.count.to(jnp.result_type(float)),
        )

    def _pairs(self, count: Count, window: jax.Array) -> jax.Array:
        """Return the number of pairs for every lag, shaped to broadcast against the window."""
        n = count.to(window.dtype) - jnp.arange(self.lags + 1, dtype=window.dtype)
        return n.reshape((-1,) + (1,) * (window.ndim - 1))


def autocorrelation(of: Callable[..., Any], lags: int) -> Autocorrelation:
    r"""Make a reducer for the autocorrelation of an observable, element by element.

    $$ C_k = \frac{1}{n} \sum_{t=k}^{n-1} (x_t - \bar x)(x_{t-k} - \bar x), \qquad \rho_k = C_k / C_0, \qquad
       \tau = 1 + 2 \sum_{k=1}^{M} \rho_k $$

    with the smallest window $M \ge 5 \tau$; the standard error of the mean is $\sqrt{C_0 \tau / n}$.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        lags: the largest lag, in observations. Memory and time of an update are that of so many observations.

    Returns:
        A reducer; its result is an `AutocorrelationResult`. It cannot be merged.

    Raises:
        ValueError: an argument is out of range; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.autocorrelation(lambda x: x, lags=2)
        >>> step = lambda carry, x: (reducer.update(carry, x), None)
        >>> carry, _ = jax.lax.scan(step, reducer.init(0.0), jnp.array([1.0, -1.0, 1.0, -1.0]))
        >>> print(reducer.result(carry).correlation)
        [ 1.   -0.75  0.5 ]

    Reference:
        Sokal, in: Functional Integration, 131 (Springer, 1997), doi:10.1007/978-1-4899-0319-8_6.
    """
    return Autocorrelation(of=observing("of", of), lags=check.integer("lags", lags, 1))


def _from(x: jax.Array, mean: Average) -> jax.Array:
    return (x - mean.high) - mean.low


def _integrated(correlation: jax.Array) -> jax.Array:
    """Return the integrated time in the smallest window that is long enough; NaN where none is."""
    times = 2 * jnp.cumsum(correlation, axis=0) - 1
    lag = jnp.arange(len(times), dtype=times.dtype).reshape((-1,) + (1,) * (times.ndim - 1))
    enough = lag >= _WINDOW * times
    window = jnp.argmax(enough, axis=0)
    time = jnp.take_along_axis(times, window[None], axis=0)[0]
    return jnp.where(jnp.any(enough, axis=0) & ~jnp.isnan(correlation[-1]), time, jnp.nan)


__all__ = ["Autocorrelation", "AutocorrelationResult", "autocorrelation"]
