r"""Quantiles of a stream of any length in bounded memory, with a known error.

Values are collected in blocks of m, and sorted. Two sorted blocks whose values stand for w observations each are merged
into one of the same size, whose values stand for 2 w each: every other value of the 2 m is kept. Blocks are merged like
digits of a binary counter, so there is at most one of every weight, and a block of weight 2^l exists where that bit of
the number of blocks is set (Munro and Paterson).

A merge moves any rank by at most w: upward where the even places are kept, downward where the odd ones are. The choice
keeps both sums equal. The rank error is then at most half the sum of the weights of all merges, for n observations
about

$$ \frac{\Delta}{n} \le \frac{\log_2(n/m)}{4 m} $$

The carry has the sum itself, so the result states the bound for this very stream, whatever the distribution or the
order of the values. For fewer than 2 m observations quantiles are exact.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._count import Count
from treedyn.stream._reducer import Accumulator, Carry, Reducer, check_shape, real
from treedyn.tree import PyTree


class QuantilesResult(Struct):
    """The result of `quantiles`, documented there."""

    q: Float[jax.Array, "*q"]
    value: PyTree
    rank_error: Float[jax.Array, ""]
    count: Float[jax.Array, ""]


class Quantiles(Accumulator):
    """Quantiles of an observable, element by element.

    The carry has the block that is being filled, `fresh`, for every leaf `[m, ...]`; the sorted `blocks`, that of
    weight 2^l at `[l]`, `[L, m, ...]`; and how far merges may have moved ranks upward and downward, in observations:
    `above` and `below`.

    Attributes:
        q: fractions.
        size: values in a block, m; a power of two.
        levels: number of weights, L.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "above", "below", "fresh", "blocks")
    q: Float[jax.Array, "*q"]
    size: int = static()
    levels: int = static()

    def _empty(self, shapes: PyTree) -> Carry:
        shapes = real(shapes, "an order")

        def zeros(*axes: int) -> PyTree:
            return jax.tree.map(lambda x: jnp.zeros((*axes, *x.shape), x.dtype), shapes)

        counts = {name: Count.zero() for name in ("count", "above", "below")}
        return {**counts, "fresh": zeros(self.size), "blocks": zeros(self.levels, self.size)}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        slot = self._filled(carry["count"])

        def put(fresh: jax.Array, x: jax.Array) -> jax.Array:
            return fresh.at[slot].set(check_shape(x, fresh.shape[1:]).astype(fresh.dtype))

        fresh = jax.tree.map(put, carry["fresh"], values)
        full = slot == self.size - 1

        def push(loop: tuple[jax.Array, Carry]) -> tuple[jax.Array, Carry]:
            block = jax.tree.map(lambda f: jnp.sort(f, axis=0), fresh)
            return jnp.zeros_like(full), self._push(loop[1], block, jnp.int32(0), full)

        # a loop of at most one turn: a cond would sort at every observation under vmap
        _, carry = jax.lax.while_loop(lambda loop: loop[0], push, (full, carry))
        return {**carry, "fresh": fresh, "count": carry["count"] + 1}

    def _summary(self, carry: Carry) -> QuantilesResult:
        kind, n = jnp.result_type(float), carry["count"]
        weights = self._weights(n, kind)
        total = jnp.sum(weights)
        lost = (total == 0) | (Count.power(self._shift(self.levels)) <= n)

        def of_leaf(fresh: jax.Array, blocks: jax.Array) -> jax.Array:
            values = jnp.concatenate([blocks.reshape((-1, *fresh.shape[1:])), fresh])
            order = jnp.argsort(values, axis=0)
            rank = jnp.cumsum(weights[order], axis=0)
            values = jnp.take_along_axis(values, order, axis=0)

            def one(q: jax.Array) -> jax.Array:
                # the first observed value with at least the fraction q at or below it
                place = jnp.argmax(rank >= jnp.maximum(q * total, 1), axis=0)
                found = jnp.take_along_axis(values, place[None], axis=0)[0]
                return jnp.where(lost, jnp.nan, found)

            flat = jax.vmap(one)(self.q.astype(kind).reshape(-1))
            return flat.reshape(self.q.shape + flat.shape[1:])

        value = jax.tree.map(of_leaf, carry["fresh"], carry["blocks"])
        number = n.to(kind)
        error = jnp.maximum(carry["above"].to(kind), carry["below"].to(kind)) / jnp.maximum(number, 1)
        return QuantilesResult(q=self.q, value=value, rank_error=error, count=number)

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both streams."""
        return self._merged(a, b)

    @jax.jit
    def _merged(self, a: Carry, b: Carry) -> Carry:
        def row(part: str, place: jax.Array) -> PyTree:
            return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, place, keepdims=False), b[part])

        def push(level: jax.Array, carry: Carry) -> Carry:
            has = b["count"].bit(self._shift(level))
            pushed = self._push(carry, row("blocks", level), level, has)
            return tree.where(has, {**pushed, "count": carry["count"] + Count.power(self._shift(level))}, pushed)

        def insert(slot: jax.Array, carry: Carry) -> Carry:
            return self._add(carry, row("fresh", slot))

        start = {**a, "above": a["above"] + b["above"], "below": a["below"] + b["below"]}
        start = jax.lax.fori_loop(0, self.levels, push, start)
        return jax.lax.fori_loop(0, self._filled(b["count"]), insert, start)

    def _shift(self, level: jax.Array | int) -> jax.Array:
        """Return the bit of the count that stands for a block of weight 2^level."""
        return jnp.asarray(level, jnp.int32) + (self.size.bit_length() - 1)

    def _filled(self, count: Count) -> jax.Array:
        return (count.low & jnp.uint32(self.size - 1)).astype(jnp.int32)

    def _push(self, carry: Carry, block: PyTree, level: jax.Array, when: jax.Array) -> Carry:
        """Add a sorted block of weight 2^level; the count stays the same."""

        def on(loop: tuple[Any, ...]) -> jax.Array:
            level, *_ = loop
            return when & (level < self.levels) & carry["count"].bit(self._shift(level))

        def merged(loop: tuple[Any, ...]) -> tuple[Any, ...]:
            level, block, above, below = loop
            weight, up = Count.power(level), above <= below

            def every_other(blocks: jax.Array, new: jax.Array) -> jax.Array:
                old = jax.lax.dynamic_index_in_dim(blocks, level, keepdims=False)
                both = jnp.sort(jnp.concatenate([old, new]), axis=0).reshape((self.size, 2, *new.shape[1:]))
                return jnp.where(up, both[:, 0], both[:, 1])

            block = jax.tree.map(every_other, carry["blocks"], block)
            return level + 1, block, tree.where(up, above + weight, above), tree.where(up, below, below + weight)

        level, block, above, below = jax.lax.while_loop(on, merged, (level, block, carry["above"], carry["below"]))
        place = jnp.where(when, level, self.levels)
        blocks = jax.tree.map(lambda old, new: old.at[place].set(new, mode="drop"), carry["blocks"], block)
        return {**carry, "blocks": blocks, "above": above, "below": below}

    def _weights(self, count: Count, dtype: DTypeLike) -> jax.Array:
        """Return how many observations every value stands for, `[(L + 1) m]`; 0 for empty slots."""
        levels = jnp.arange(self.levels)
        block = jnp.where(count.bit(self._shift(levels)), Count.power(levels).to(dtype), 0)
        fresh = (jnp.arange(self.size, dtype=jnp.int32) < self._filled(count)).astype(dtype)
        return jnp.concatenate([jnp.repeat(block, self.size), fresh])


def quantiles(of: Callable[..., Any], q: Real[ArrayLike, "*q"], *, size: int = 256, capacity: int = 2**32) -> Reducer:
    r"""Build a reducer for quantiles of an observable, element by element, in bounded memory.

    The rank error is about $\log_2(n/m)/(4m)$ of n observations, whatever the distribution or the order of the values:
    with m = 256, 1.2 % after a million. For fewer than 2 m observations there is no error. A NaN counts as larger than
    every number.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        q: fractions in [0, 1], of any shape: 0.5 is the median.
        size: values in a block, m: a power of two. The memory is that of m (1 + log2(capacity/m)) observations.
        capacity: the largest number of observations; beyond it, the result is NaN.

    Returns:
        A reducer. Its result has the attributes

        - `q`: the fractions;
        - `value`: the quantiles, for every leaf of shape `s` `[*q.shape, *s]`, each an observed value; NaN without
          observations;
        - `rank_error`: `value` is an exact quantile for a fraction that differs from `q` by at most this, and 1/n;
        - `count`: the number of observations.

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
        raise ValueError(f"q: expected fractions in [0, 1], got {q}. The 95th percentile is q=0.95.")
    size, capacity = check.integer("size", size, 2), check.integer("capacity", capacity, 2, 2**62 + 1)
    if size & (size - 1):
        raise ValueError(f"size: expected a power of two, got {size}. Use {1 << size.bit_length()}.")
    levels = max((capacity // size).bit_length(), 1)
    return Quantiles(of=observing("of", of), q=q, size=size, levels=levels)
