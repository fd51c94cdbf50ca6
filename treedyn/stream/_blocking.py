"""The standard error of the mean of a correlated stream, by blocking: pairs are averaged as they come."""

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

# the same as for a stored series: fewer blocks tell nothing about their scatter
_FEWEST_BLOCKS = 8
_FEWEST_VALUES = 16


class Levels(Struct):
    """Hold the blocks of one leaf, those of 2^l observations at `[l]`; all relative to the first observation.

    Attributes:
        origin: the first observation.
        waiting: the block that waits for the next one, to be averaged with it.
        mean: mean of the blocks.
        square: mean square of their distance to it.
    """

    origin: jax.Array
    waiting: jax.Array
    mean: Average
    square: Average


class BlockingCarry(Struct):
    """Hold how many observations there were, and their blocks."""

    count: Count
    levels: PyTree


class BlockingResult(Struct):
    """Hold what `blocking` returns.

    Attributes:
        mean: the mean, a tree like the observable.
        error: its standard error; NaN while there are too few observations for their correlation time.
        errors: the naive standard error for blocks of 1, 2, 4, ... observations, for every leaf of shape `s`
            `[levels, *s]`, NaN where there are fewer than two blocks: it rises to a plateau, which is the error.
        count: number of observations.
    """

    mean: PyTree
    error: PyTree
    errors: PyTree
    count: jax.Array


class Blocking(Reducer):
    """Take the mean of an observable and its standard error, element by element.

    Attributes:
        levels: number of block lengths.
    """

    carries: ClassVar[type] = BlockingCarry
    levels: int = static(default=32)

    def init(self, state: PyTree, env: PyTree = None) -> BlockingCarry:
        """Return the carry of no observations."""

        def one(x: Any) -> Levels:
            zero = Average.zero((self.levels, *x.shape), x.dtype)
            return Levels(origin=jnp.zeros(x.shape, x.dtype), waiting=zero.high, mean=zero, square=zero)

        return BlockingCarry(
            count=Count.zero(), levels=jax.tree.map(one, real(self.shapes(state, env), "a standard error"))
        )

    def update(self, carry: BlockingCarry, state: PyTree, env: PyTree = None) -> BlockingCarry:
        """Return the carry with one more observation."""
        return self._add(carry, self.observe(state, env))

    @jax.jit
    def _add(self, carry: BlockingCarry, values: PyTree) -> BlockingCarry:
        count = carry.count + 1
        is_first = ~(Count.zero() + 1 <= carry.count)
        leaves = jax.tree.map(lambda x, old: _begin(x, old, is_first), values, carry.levels)
        # what is added at a level: the observation itself at first, then averages of more and more
        added = jax.tree.map(lambda x, new: x.astype(new.origin.dtype) - new.origin, values, leaves)
        blocks = self._blocks(count, jnp.result_type(float))

        def on(loop: tuple[Any, ...]) -> jax.Array:
            level, complete, *_ = loop
            return complete & (level < self.levels)

        def climb(loop: tuple[Any, ...]) -> tuple[Any, ...]:
            level, _, added, leaves = loop
            pair = jax.tree.map(lambda x, old: (old.waiting[level] + x) / 2, added, leaves)
            leaves = jax.tree.map(lambda x, old: _add(x, old, level, blocks[level]), added, leaves)
            return level + 1, ~count.bit(level), pair, leaves

        *_, leaves = jax.lax.while_loop(on, climb, (jnp.int32(0), jnp.asarray(True), added, leaves))
        return BlockingCarry(count=count, levels=leaves)

    def result(self, carry: BlockingCarry) -> BlockingResult:
        """Return mean and standard error."""
        return tree.unbox(self._result(carry))

    @jax.jit
    def _result(self, carry: BlockingCarry) -> BlockingResult:
        n = carry.count

        def errors(x: Levels) -> jax.Array:
            blocks = _lead(self._blocks(n, x.waiting.dtype), x.waiting)
            return jnp.where(blocks > 1, jnp.sqrt(x.square.value / jnp.maximum(blocks - 1, 1)), jnp.nan)

        def mean(x: Levels) -> jax.Array:
            return jnp.where(n.to(jnp.float32) > 0, x.origin + x.mean.value[0], jnp.nan)

        found = jax.tree.map(errors, carry.levels, is_leaf=_is_levels)
        return BlockingResult(
            mean=jax.tree.map(mean, carry.levels, is_leaf=_is_levels),
            error=jax.tree.map(lambda x: self._plateau(x, n), found),
            errors=found,
            count=n.to(jnp.result_type(float)),
        )

    def _blocks(self, count: Count, dtype: Any) -> jax.Array:
        """Return the number of complete blocks at every level, `[levels]`."""
        level = jnp.arange(self.levels, dtype=jnp.uint32)
        scale = jnp.asarray(2.0, dtype) ** (32 - level.astype(dtype))
        low = jnp.right_shift(jnp.broadcast_to(count.low, level.shape), level)
        return count.high.astype(dtype) * scale + low.astype(dtype)

    def _plateau(self, errors: jax.Array, count: Count) -> jax.Array:
        """Return the error for the shortest blocks that are long enough."""
        kind, n = errors.dtype, count.to(errors.dtype)
        blocks = _lead(self._blocks(count, kind), errors)
        length = _lead(jnp.asarray(2.0, kind) ** jnp.arange(self.levels, dtype=kind), errors)
        growth = errors / jnp.where(errors[:1] == 0, 1, errors[:1])
        enough = (blocks >= _FEWEST_BLOCKS) & (length**3 > 2 * n * growth**4)
        place = jnp.argmax(enough, axis=0)
        error = jnp.take_along_axis(errors, place[None], axis=0)[0]
        error = jnp.where(jnp.any(enough, axis=0), error, jnp.nan)
        return jnp.where(n < _FEWEST_VALUES, jnp.nan, jnp.where(errors[0] == 0, 0, error))


def blocking(of: Callable[..., Any], *, levels: int = 32) -> Blocking:
    r"""Make a reducer for the mean of an observable and its standard error, correlations included.

    The same as `treedyn.standard_error` of the stored series: block averages of 1, 2, 4, ... observations, and the
    error of the shortest blocks with $B^3 > 2 n (\sigma_B/\sigma_1)^4$. An update touches two levels on average.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        levels: number of block lengths, at most 32: the longest are 2^(levels - 1) observations.

    Returns:
        A reducer; its result is a `BlockingResult`. It cannot be merged.

    Raises:
        ValueError: an argument is out of range; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducer = stream.blocking(lambda x: x)
        >>> step = lambda carry, x: (reducer.update(carry, x), None)
        >>> series = jax.random.normal(jax.random.key(0), (10_000,))
        >>> carry, _ = jax.lax.scan(step, reducer.init(series[0]), series)
        >>> print(reducer.result(carry).error.round(2))
        0.01

    Reference:
        Flyvbjerg, Petersen, J. Chem. Phys. 91, 461 (1989), doi:10.1063/1.457480; block length: Lee et al., Phys. Rev. E
        83, 066706 (2011), doi:10.1103/PhysRevE.83.066706.
    """
    # the blocks of the last of 32 levels have 2^31 observations
    return Blocking(of=observing("of", of), levels=check.integer("levels", levels, 1, 33))


def _begin(x: jax.Array, old: Levels, is_first: jax.Array) -> Levels:
    x = check_shape(x, old.origin.shape)
    return old.replace(origin=jnp.where(is_first, x.astype(old.origin.dtype), old.origin))


def _add(x: jax.Array, old: Levels, level: jax.Array, n: jax.Array) -> Levels:
    """Add the block average `x` to those at `level`, the n-th of them."""
    mean, square = (jax.tree.map(lambda a: a[level], y) for y in (old.mean, old.square))
    moved = mean.toward(x, n)
    product = ((x - mean.high) - mean.low) * ((x - moved.high) - moved.low)

    def write(a: jax.Array, b: jax.Array) -> jax.Array:
        return a.at[level].set(b)

    return old.replace(
        waiting=write(old.waiting, x),
        mean=jax.tree.map(write, old.mean, moved),
        square=jax.tree.map(write, old.square, square.toward(product, n)),
    )


def _lead(x: jax.Array, like: jax.Array) -> jax.Array:
    return x.reshape((-1,) + (1,) * (like.ndim - 1))


def _is_levels(x: Any) -> bool:
    return isinstance(x, Levels)


__all__ = ["Blocking", "BlockingResult", "blocking"]
