r"""The autocorrelation of an observable up to a largest lag, from a window of its last values.

For every lag k the means of both sides of the pairs $(x_t, x_{t-k})$ and their covariance follow Welford's recursion.
Sums of products would lose all digits where the mean is large compared to the fluctuations.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from treedyn import _check as check
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._average import Average, is_average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Accumulator, Carry, Reducer, check_shape, real
from treedyn.tree import PyTree

# correlation times that the window of the integral has to span
_WINDOW = 5


class AutocorrelationResult(Struct):
    """The result of `autocorrelation`, documented there."""

    covariance: PyTree
    correlation: PyTree
    time: PyTree
    error: PyTree
    count: Float[jax.Array, ""]


class Autocorrelation(Accumulator):
    """The correlation of an observable with its past, element by element. Every leaf has one entry per lag.

    The carry has the window of the last values, the newest first, and the averages over the pairs: of the later side,
    of the earlier side, and of the product of the distances from both.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "window", "later", "earlier", "product")
    lags: int = static()

    def _empty(self, shapes: PyTree) -> Carry:
        shapes = real(shapes, "the autocorrelation")
        zero = jax.tree.map(lambda x: Average.zero((self.lags + 1, *x.shape), x.dtype), shapes)
        window = jax.tree.map(lambda x: x.high, zero, is_leaf=is_average)
        return {"count": Count.zero(), "window": window, "later": zero, "earlier": zero, "product": zero}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        count = carry["count"] + 1

        def shifted(x: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.concatenate([check_shape(x, old.shape[1:]).astype(old.dtype)[None], old[:-1]])

        def toward(old: Average, x: jax.Array) -> Average:
            pairs = self._pairs(count, old.high)
            new = old.toward(x, jnp.maximum(pairs, 1))
            return jax.tree.map(lambda x, y: jnp.where(pairs > 0, x, y), new, old)

        window = jax.tree.map(shifted, values, carry["window"])
        now = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), window)
        later = jax.tree.map(toward, carry["later"], now, is_leaf=is_average)
        earlier = jax.tree.map(toward, carry["earlier"], window, is_leaf=is_average)
        products = jax.tree.map(lambda x, y, a, b: a.distance(x) * b.distance(y), now, window, carry["later"], earlier)
        product = jax.tree.map(toward, carry["product"], products, is_leaf=is_average)
        return {"count": count, "window": window, "later": later, "earlier": earlier, "product": product}

    def _summary(self, carry: Carry) -> AutocorrelationResult:
        count = carry["count"]

        def covariance(later: Average, earlier: Average, product: Average) -> jax.Array:
            pairs, n = self._pairs(count, later.high), count.to(later.dtype)
            mean = later.value[:1]
            shifts = (later.value - mean) * (earlier.value - mean)
            return jnp.where(pairs > 0, (product.value + shifts) * (pairs / jnp.maximum(n, 1)), jnp.nan)

        found = jax.tree.map(covariance, *(carry[k] for k in ("later", "earlier", "product")), is_leaf=is_average)
        correlation = jax.tree.map(lambda c: c / c[:1], found)
        time = jax.tree.map(_integrated, correlation)
        error = jax.tree.map(lambda c, t: jnp.sqrt(c[0] * t / count.to(c.dtype)), found, time)
        count = count.to(jnp.result_type(float))
        return AutocorrelationResult(covariance=found, correlation=correlation, time=time, error=error, count=count)

    def _pairs(self, count: Count, like: jax.Array) -> jax.Array:
        """Return the number of pairs for every lag, shaped to broadcast against `like`."""
        n = count.to(like.dtype) - jnp.arange(self.lags + 1, dtype=like.dtype)
        return n.reshape((-1,) + (1,) * (like.ndim - 1))


def autocorrelation(of: Callable[..., Any], lags: int) -> Reducer:
    r"""Build a reducer for the autocorrelation of an observable, element by element.

    $$ C_k = \frac{1}{n} \sum_{t=k}^{n-1} (x_t - \bar x)(x_{t-k} - \bar x), \qquad \rho_k = C_k / C_0, \qquad
       \tau = 1 + 2 \sum_{k=1}^{M} \rho_k $$

    with the smallest window $M \ge 5 \tau$; the standard error of the mean is $\sqrt{C_0 \tau / n}$.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        lags: the largest lag, in observations. The memory and time of an update grow in proportion.

    Returns:
        A reducer, which cannot be merged. Its result has the attributes

        - `covariance`: for every leaf of shape `s` the autocovariance at lags 0, 1, ..., `[lags + 1, *s]`; NaN for lags
          beyond the length of the stream;
        - `correlation`: the same, divided by that at lag 0;
        - `time`: the integrated time, `[*s]`: the number of observations that are worth one independent observation.
          NaN where `lags` is too small for the window;
        - `error`: the standard error of the mean, `[*s]`;
        - `count`: the number of observations.

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


def _integrated(correlation: jax.Array) -> jax.Array:
    """Return the integrated time in the smallest window that is long enough; NaN if there is none."""
    times = 2 * jnp.cumsum(correlation, axis=0) - 1
    lag = jnp.arange(len(times), dtype=times.dtype).reshape((-1,) + (1,) * (times.ndim - 1))
    enough = lag >= _WINDOW * times
    window = jnp.argmax(enough, axis=0)
    time = jnp.take_along_axis(times, window[None], axis=0)[0]
    return jnp.where(jnp.any(enough, axis=0) & ~jnp.isnan(correlation[-1]), time, jnp.nan)
