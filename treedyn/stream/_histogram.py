"""Counts of values in given bins, and outside of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._count import Count
from treedyn.stream._reducer import Accumulator, Reducer, check_shape, real, sum_dtype
from treedyn.tree import PyTree


class HistogramResult(Struct):
    """The result of `histogram`, documented there."""

    edges: Float[jax.Array, "bins+1"]
    counts: PyTree
    density: PyTree
    under: PyTree
    over: PyTree
    nan: PyTree


class Histogram(Accumulator):
    """Counts of values in bins. The carry is a tree of counts: below, in every bin, above the last edge, and NaN."""

    edges: Float[jax.Array, "bins+1"]  # leaves: batches of histograms may differ in them
    pool: bool = static(default=False)

    def _empty(self, shapes: PyTree) -> PyTree:
        slots = len(self.edges) + 2
        return jax.tree.map(
            lambda x: Count.zero((slots,) if self.pool else (*x.shape, slots)), real(shapes, "an order")
        )

    def _add(self, carry: PyTree, values: PyTree) -> PyTree:
        return jax.tree.map(self._of_leaf, values, carry)

    def _summary(self, carry: PyTree) -> HistogramResult:
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


def histogram(of: Callable[..., Any], edges: Real[ArrayLike, "bins+1"], *, pool: bool = False) -> Reducer:
    """Build a reducer that counts the values of an observable in bins. It counts values outside of the bins, too.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        edges: edges of the bins, increasing, `[B + 1]`; units of the observable. Bins are closed on the left, the last
            one on both sides.
        pool: count all elements of a leaf together; by default every element has its own histogram.

    Returns:
        A reducer. Its result has the attributes

        - `edges`: edges of the bins, `[B + 1]`;
        - `counts`: values in every bin, for a leaf of shape `s` `[*s, B]`, or `[B]` if its elements are pooled. Counts
          are floats, exact up to 2^24 or 2^53;
        - `density`: the same, normalized: it integrates to the fraction of values within the edges;
        - `under`, `over`: values below the first and above the last edge, `[*s]` or `[]`;
        - `nan`: values that are NaN.

    Raises:
        ValueError: `of` is not a function, or `edges` are not increasing; when initialized, the observable is complex.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.histogram(lambda x: x, [0.0, 1.0, 2.0], pool=True)
        >>> x = jnp.array([0.5, 1.5, 1.7, 7.0])
        >>> out = reducer.result(reducer.update(reducer.init(x), x))
        >>> print(out.counts, out.over)
        [1. 2.] 1.0
    """
    wanted = "at least two increasing numbers"
    edges = jnp.asarray(check.floats(check.array("edges", edges, wanted, (1,))))
    known = tree.known(edges)
    if len(edges) < 2 or (known is not None and not np.all(np.diff(known) > 0)):
        raise ValueError(f"edges: expected {wanted}, got {edges}. Pass e.g. jnp.linspace(0.0, 1.0, 101).")
    return Histogram(of=observing("of", of), edges=edges, pool=check.flag("pool", pool))


def _is_count(x: Any) -> bool:
    return isinstance(x, Count)
