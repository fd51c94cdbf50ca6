"""Counts in bins that are given beforehand; what falls outside is counted, too."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._count import Count
from treedyn.stream._reducer import Reducer, check_shape, real, sum_dtype
from treedyn.tree import PyTree


class HistogramResult(Struct):
    """Hold what `histogram` returns. Counts are floats: exact up to 2^24 or 2^53, rounded beyond.

    Attributes:
        edges: edges of the bins, `[B + 1]`.
        counts: values in every bin, for a leaf of shape `s` `[*s, B]`, or `[B]` where its elements are pooled.
        density: the same, normalized so that it integrates to the fraction of values within the edges.
        under: values below the first edge, `[*s]` or `[]`.
        over: values above the last edge.
        nan: values that are NaN.
    """

    edges: jax.Array
    counts: PyTree
    density: PyTree
    under: PyTree
    over: PyTree
    nan: PyTree


class Histogram(Reducer):
    """Count the values of an observable in bins.

    Attributes:
        edges: edges of the bins, `[B + 1]`; leaves, so that batches of histograms may differ in them.
        pool: whether the elements of a leaf are counted together.
    """

    edges: jax.Array
    pool: bool = static(default=False)

    def init(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry of no observations: counts of values below, in every bin, above, and NaN."""
        shapes = real(self.shapes(state, env), "an order")
        return jax.tree.map(lambda x: Count.zero((*self._series(x), len(self.edges) + 2)), shapes)

    def update(self, carry: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry with one more observation."""
        return self._add(carry, self.observe(state, env))

    @jax.jit
    def _add(self, carry: PyTree, values: PyTree) -> PyTree:
        return jax.tree.map(self._of_leaf, values, carry)

    def result(self, carry: PyTree) -> HistogramResult:
        """Return counts and density."""
        return tree.unbox(self._result(carry))

    @jax.jit
    def _result(self, carry: PyTree) -> HistogramResult:
        kind = jnp.result_type(float)
        counts = jax.tree.map(lambda x: x.to(kind), carry, is_leaf=_is_count)
        width = jnp.diff(self.edges).astype(kind)

        def density(x: jax.Array) -> jax.Array:
            total = jnp.sum(x, axis=-1, keepdims=True)
            return x[..., 1:-2] / jnp.expand_dims(width, tuple(range(x.ndim - 1))) / total

        return HistogramResult(
            edges=self.edges,
            counts=jax.tree.map(lambda x: x[..., 1:-2], counts),
            density=jax.tree.map(density, counts),
            under=jax.tree.map(lambda x: x[..., 0], counts),
            over=jax.tree.map(lambda x: x[..., -2], counts),
            nan=jax.tree.map(lambda x: x[..., -1], counts),
        )

    def merge(self, a: PyTree, b: PyTree) -> PyTree:
        """Return the carry of both streams."""
        return jax.tree.map(lambda x, y: x + y, a, b, is_leaf=_is_count)

    def _series(self, x: Any) -> tuple[int, ...]:
        return () if self.pool else x.shape

    def _of_leaf(self, x: jax.Array, count: Count) -> Count:
        if not self.pool:
            check_shape(x, count.low.shape[:-1])
        slots, bins = count.low.shape[-1], len(self.edges) - 1
        kind = tree.widest(sum_dtype(x.dtype), self.edges.dtype)
        values, edges = x.astype(kind).reshape(-1), self.edges.astype(kind)
        slot = jnp.searchsorted(edges, values, side="right")
        # the last bin is closed on both sides, as in numpy
        slot = jnp.where(values == edges[-1], bins, slot)
        slot = jnp.where(jnp.isnan(values), slots - 1, slot)
        row = jnp.zeros_like(slot) if self.pool else jnp.arange(len(slot), dtype=slot.dtype)
        hits = jnp.zeros((1 if self.pool else len(slot), slots), jnp.uint32).at[row, slot].add(jnp.uint32(1))
        return count + hits.reshape(count.low.shape)


def histogram(of: Callable[..., Any], edges: Any, *, pool: bool = False) -> Histogram:
    """Make a reducer that counts the values of an observable in bins. No value is lost: see `under`, `over`, `nan`.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        edges: edges of the bins, increasing, `[B + 1]`; units of the observable. Bins are closed on the left, the last
            one on both sides.
        pool: count all elements of a leaf together; by default every element has a histogram of its own.

    Returns:
        A reducer; its result is a `HistogramResult`.

    Raises:
        ValueError: `of` is no function, or the edges are not increasing; when initialized, the observable is complex.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.histogram(lambda x: x, [0.0, 1.0, 2.0], pool=True)
        >>> x = jnp.array([0.5, 1.5, 1.7, 7.0])
        >>> out = reducer.result(reducer.update(reducer.init(x), x))
        >>> print(out.counts, out.over)
        [1. 2.] 1.0
    """
    wanted = "at least two increasing numbers, such as jnp.linspace(0.0, 1.0, 101)"
    edges = jnp.asarray(check.floats(check.array("edges", edges, wanted, (1,))))
    known = tree.known(edges)
    if len(edges) < 2 or (known is not None and not np.all(np.diff(known) > 0)):
        raise ValueError(f"edges: expected {wanted}, got {edges}")
    return Histogram(of=observing("of", of), edges=edges, pool=check.flag("pool", pool))


def _is_count(x: Any) -> bool:
    return isinstance(x, Count)


__all__ = ["Histogram", "HistogramResult", "histogram"]
