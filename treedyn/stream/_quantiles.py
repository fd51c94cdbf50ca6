r"""Quantiles of a stream of any length in bounded memory, with an error that is known.

Values are collected in blocks of m, and sorted. Two sorted blocks whose values stand for w observations each are merged
into one of the same size, of which every value stands for 2 w: every other value of the 2 m is kept. Blocks are merged
like digits in a binary counter, so there is at most one of every weight, and a block of weight 2^l exists where that
bit of the number of blocks is set (Munro and Paterson).

A merge moves the rank of anything by at most w: upward where the even places are kept, downward where the odd ones are.
Which are kept is chosen so that both sums stay equal. The rank error is then at most half the sum of the weights of all
merges, for n observations about

$$ \frac{\Delta}{n} \le \frac{\log_2(n/m)}{4 m} $$

and the sum itself is carried along, so that the result states the bound that holds for it. Nothing is assumed about the
distribution or the order of the values. For fewer than 2 m observations quantiles are exact.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._count import Count
from treedyn.stream._reducer import Reducer, check_shape, real
from treedyn.tree import PyTree


class Sketch(Struct):
    """Hold a sample of the stream, weighted.

    Attributes:
        count: number of observations.
        above: how far merges may have moved ranks upward, in observations.
        below: how far merges may have moved ranks downward.
        fresh: values of the block that is being filled, for every leaf `[m, ...]`.
        blocks: sorted blocks, that of weight 2^l at `[l]`, `[L, m, ...]`.
    """

    count: Count
    above: Count
    below: Count
    fresh: PyTree
    blocks: PyTree


class QuantilesResult(Struct):
    """Hold what `quantiles` returns.

    Attributes:
        q: the fractions that were asked for.
        value: the quantiles, for every leaf of shape `s` `[*q.shape, *s]`: values that were observed.
        rank_error: `value` is an exact quantile for a fraction that is off by at most this, and 1/n.
        count: number of observations.
    """

    q: jax.Array
    value: PyTree
    rank_error: jax.Array
    count: jax.Array


class Quantiles(Reducer):
    """Estimate quantiles of an observable, element by element.

    Attributes:
        q: fractions, a leaf.
        size: values in a block, m; a power of two.
        levels: number of weights, L.
    """

    carries: ClassVar[type] = Sketch
    q: jax.Array
    size: int = static()
    levels: int = static()

    def init(self, state: PyTree, env: PyTree = None) -> Sketch:
        """Return the carry of no observations."""
        shapes = real(self.shapes(state, env), "an order")
        return Sketch(
            count=Count.zero(),
            above=Count.zero(),
            below=Count.zero(),
            fresh=jax.tree.map(lambda x: jnp.zeros((self.size, *x.shape), x.dtype), shapes),
            blocks=jax.tree.map(lambda x: jnp.zeros((self.levels, self.size, *x.shape), x.dtype), shapes),
        )

    def update(self, carry: Sketch, state: PyTree, env: PyTree = None) -> Sketch:
        """Return the carry with one more observation."""
        return self._insert(carry, self.observe(state, env))

    def result(self, carry: Sketch) -> QuantilesResult:
        """Return the quantiles and the bound on their rank; NaN without observations, or with too many."""
        return tree.unbox(self._result(carry))

    @jax.jit
    def _result(self, carry: Sketch) -> QuantilesResult:
        kind, n = jnp.result_type(float), carry.count
        weights = self._weights(n, kind)
        total = jnp.sum(weights)
        lost = (total == 0) | (Count.power(self._shift(self.levels)) <= n)

        def of_leaf(fresh: jax.Array, blocks: jax.Array) -> jax.Array:
            values = jnp.concatenate([blocks.reshape((-1, *fresh.shape[1:])), fresh])
            order = jnp.argsort(values, axis=0)
            rank = jnp.cumsum(weights[order], axis=0)
            values = jnp.take_along_axis(values, order, axis=0)

            def one(q: jax.Array) -> jax.Array:
                # the first value that has at least the fraction q at or below it, and has been observed at all
                place = jnp.argmax(rank >= jnp.maximum(q * total, 1), axis=0)
                found = jnp.take_along_axis(values, place[None], axis=0)[0]
                return jnp.where(lost, jnp.nan, found)

            flat = jax.vmap(one)(self.q.astype(kind).reshape(-1))
            return flat.reshape(self.q.shape + flat.shape[1:])

        value = jax.tree.map(of_leaf, carry.fresh, carry.blocks)
        number = n.to(kind)
        error = jnp.maximum(carry.above.to(kind), carry.below.to(kind)) / jnp.maximum(number, 1)
        return QuantilesResult(q=self.q, value=value, rank_error=error, count=number)

    @jax.jit
    def merge(self, a: Sketch, b: Sketch) -> Sketch:
        """Return the carry of both streams."""

        def push(level: jax.Array, sketch: Sketch) -> Sketch:
            block = jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, level, keepdims=False), b.blocks)
            has = b.count.bit(self._shift(level))
            pushed = self._push(sketch, block, level, has)
            return tree.where(has, pushed.replace(count=sketch.count + Count.power(self._shift(level))), pushed)

        def insert(slot: jax.Array, sketch: Sketch) -> Sketch:
            return self._insert(
                sketch, jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, slot, keepdims=False), b.fresh)
            )

        start = a.replace(above=a.above + b.above, below=a.below + b.below)
        start = jax.lax.fori_loop(0, self.levels, push, start)
        return jax.lax.fori_loop(0, self._filled(b.count), insert, start)

    def _shift(self, level: Any) -> jax.Array:
        """Return the bit of the count that stands for a block of weight 2^level."""
        return jnp.asarray(level, jnp.int32) + (self.size.bit_length() - 1)

    def _filled(self, count: Count) -> jax.Array:
        return (count.low & jnp.uint32(self.size - 1)).astype(jnp.int32)

    @jax.jit
    def _insert(self, sketch: Sketch, values: PyTree) -> Sketch:
        slot = self._filled(sketch.count)
        fresh = jax.tree.map(
            lambda f, x: f.at[slot].set(check_shape(x, f.shape[1:]).astype(f.dtype)), sketch.fresh, values
        )
        full = slot == self.size - 1
        # A loop of at most one turn: what it does is for one observation in many, also under vmap.
        _, sketch = jax.lax.while_loop(
            lambda carry: carry[0],
            lambda carry: (
                jnp.zeros_like(full),
                self._push(carry[1], jax.tree.map(lambda f: jnp.sort(f, axis=0), fresh), jnp.int32(0), full),
            ),
            (full, sketch),
        )
        return sketch.replace(fresh=fresh, count=sketch.count + 1)

    def _push(self, sketch: Sketch, block: PyTree, level: jax.Array, when: jax.Array) -> Sketch:
        """Add a sorted block of weight 2^level; the count stays as it was."""

        def on(carry: tuple[Any, ...]) -> jax.Array:
            level, *_ = carry
            return when & (level < self.levels) & sketch.count.bit(self._shift(level))

        def merged(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            level, block, above, below = carry
            weight, up = Count.power(level), above <= below

            def every_other(blocks: jax.Array, new: jax.Array) -> jax.Array:
                old = jax.lax.dynamic_index_in_dim(blocks, level, keepdims=False)
                both = jnp.sort(jnp.concatenate([old, new]), axis=0).reshape((self.size, 2, *new.shape[1:]))
                return jnp.where(up, both[:, 0], both[:, 1])

            block = jax.tree.map(every_other, sketch.blocks, block)
            return level + 1, block, tree.where(up, above + weight, above), tree.where(up, below, below + weight)

        level, block, above, below = jax.lax.while_loop(on, merged, (level, block, sketch.above, sketch.below))
        place = jnp.where(when, level, self.levels)
        blocks = jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), sketch.blocks, block)
        return sketch.replace(blocks=blocks, above=above, below=below)

    def _weights(self, count: Count, dtype: Any) -> jax.Array:
        """Return how many observations every value stands for, `[(L + 1) m]`; zero where there is none."""
        levels = jnp.arange(self.levels)
        block = jnp.where(count.bit(self._shift(levels)), Count.power(levels).to(dtype), 0)
        fresh = (jnp.arange(self.size, dtype=jnp.int32) < self._filled(count)).astype(dtype)
        return jnp.concatenate([jnp.repeat(block, self.size), fresh])


def quantiles(of: Callable[..., Any], q: Any, *, size: int = 256, capacity: int = 2**32) -> Quantiles:
    r"""Make a reducer for quantiles of an observable, element by element, in bounded memory.

    The result holds values that were observed, and the bound on their rank that holds for this stream, about
    $\log_2(n/m)/(4m)$ of all observations: with m = 256, 1.2 % after a million. Whatever the distribution or the order
    of values; for fewer than 2 m observations there is no error. A NaN counts as larger than everything.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        q: fractions in [0, 1], of any shape: 0.5 is the median.
        size: values in a block, m: a power of two. The memory is that of m (1 + log2(capacity/m)) observations.
        capacity: how many observations there is room for; with more, the result is NaN.

    Returns:
        A reducer; its result is a `QuantilesResult`.

    Raises:
        ValueError: an argument is out of range; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.quantiles(lambda x: x, [0.25, 0.5])
        >>> step = lambda carry, x: (reducer.update(carry, x), None)
        >>> carry, _ = jax.lax.scan(step, reducer.init(0.0), jnp.arange(100.0))
        >>> print(reducer.result(carry).value)
        [24. 49.]

    Reference:
        Munro, Paterson, Theor. Comput. Sci. 12, 315 (1980), doi:10.1016/0304-3975(80)90061-4.
    """
    q = jnp.asarray(check.array("q", q, "fractions in [0, 1]"), jnp.result_type(float))
    known = tree.known(q)
    if known is not None and not np.all((known >= 0) & (known <= 1)):
        raise ValueError(f"q: expected fractions in [0, 1], got {q}; the 95th percentile is 0.95")
    size, capacity = check.integer("size", size, 2), check.integer("capacity", capacity, 2)
    if size & (size - 1):
        raise ValueError(f"size: expected a power of two, got {size}; use {1 << size.bit_length()}")
    if capacity > 2**62:
        raise ValueError(f"capacity: expected at most 2**62 observations, got {capacity}")
    levels = max((capacity // size).bit_length(), 1)
    return Quantiles(of=observing("of", of), q=q, size=size, levels=levels)


__all__ = ["Quantiles", "QuantilesResult", "quantiles"]
