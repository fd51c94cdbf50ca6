"""The standard error of the mean of a correlated stream, by blocking: pairs of blocks are averaged as they arrive."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Float

from treedyn import _check as check
from treedyn._struct import Struct, static
from treedyn._target import observing
from treedyn.stream._average import Average, is_average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Accumulator, Carry, Reducer, check_shape, real
from treedyn.tree import PyTree

# as in treedyn.standard_error: fewer blocks say nothing about their scatter
_FEWEST_BLOCKS = 8
_FEWEST_VALUES = 16


class BlockingResult(Struct):
    """The result of `blocking`, documented there."""

    mean: PyTree
    error: PyTree
    errors: PyTree
    count: Float[jax.Array, ""]


class Blocking(Accumulator):
    """The mean of an observable and its standard error, element by element.

    Level l has the blocks of 2^l observations, relative to the first observation, which is `origin` in the carry:
    the block that is `waiting` for the next one, the `mean` of the blocks, and the mean `square` of their distance
    from it.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "origin", "waiting", "mean", "square")
    levels: int = static(default=32)

    def _empty(self, shapes: PyTree) -> Carry:
        shapes = real(shapes, "a standard error")
        origin = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        zero = jax.tree.map(lambda x: Average.zero((self.levels, *x.shape), x.dtype), shapes)
        waiting = jax.tree.map(lambda x: x.high, zero, is_leaf=is_average)
        return {"count": Count.zero(), "origin": origin, "waiting": waiting, "mean": zero, "square": zero}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        count = carry["count"] + 1
        is_first = ~(Count.zero() + 1 <= carry["count"])

        def begin(x: jax.Array, old: jax.Array) -> jax.Array:
            return jnp.where(is_first, check_shape(x, old.shape).astype(old.dtype), old)

        origin = jax.tree.map(begin, values, carry["origin"])
        # level 0 gets the observation, every further level an average of two blocks
        first = jax.tree.map(lambda x, start: x.astype(start.dtype) - start, values, origin)
        blocks = self._blocks(count, jnp.result_type(float))

        def on(loop: tuple[Any, ...]) -> jax.Array:
            level, complete, *_ = loop
            return complete & (level < self.levels)

        def climb(loop: tuple[Any, ...]) -> tuple[Any, ...]:
            level, _, block, levels = loop
            waiting, mean, square = jax.tree.map(lambda a: a[level], levels)
            pair = jax.tree.map(lambda x, old: (old + x) / 2, block, waiting)
            new = block, *_welford(block, mean, square, blocks[level])
            levels = jax.tree.map(lambda a, b: a.at[level].set(b), levels, new)
            return level + 1, ~count.bit(level), pair, levels

        levels = carry["waiting"], carry["mean"], carry["square"]
        *_, levels = jax.lax.while_loop(on, climb, (jnp.int32(0), jnp.asarray(True), first, levels))
        return {"count": count, "origin": origin, **dict(zip(("waiting", "mean", "square"), levels, strict=True))}

    def _summary(self, carry: Carry) -> BlockingResult:
        n = carry["count"]

        def errors(square: Average) -> jax.Array:
            blocks = _lead(self._blocks(n, square.dtype), square.high)
            return jnp.where(blocks > 1, jnp.sqrt(square.value / jnp.maximum(blocks - 1, 1)), jnp.nan)

        def mean(origin: jax.Array, mean: Average) -> jax.Array:
            return jnp.where(n.to(jnp.float32) > 0, origin + mean.value[0], jnp.nan)

        found = jax.tree.map(errors, carry["square"], is_leaf=is_average)
        return BlockingResult(
            mean=jax.tree.map(mean, carry["origin"], carry["mean"]),
            error=jax.tree.map(lambda x: self._plateau(x, n), found),
            errors=found,
            count=n.to(jnp.result_type(float)),
        )

    def _blocks(self, count: Count, dtype: DTypeLike) -> jax.Array:
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


def blocking(of: Callable[..., Any], *, levels: int = 32) -> Reducer:
    r"""Build a reducer for the mean of an observable and its standard error, correlations included.

    The same as `treedyn.standard_error` of the stored series: block averages of 1, 2, 4, ... observations, and the
    error of the shortest blocks with $B^3 > 2 n (\sigma_B/\sigma_1)^4$. An update touches two levels on average.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.
        levels: number of block lengths, at most 32. The longest blocks have 2^(levels - 1) observations.

    Returns:
        A reducer, which cannot be merged. Its result has the attributes

        - `mean`: the mean, a tree like the observable;
        - `error`: its standard error; NaN if the stream is too short for its correlation time;
        - `errors`: the naive standard error for blocks of 1, 2, 4, ... observations, for every leaf of shape `s`
          `[levels, *s]`; it rises to a plateau, which is `error`. NaN where there are fewer than two blocks;
        - `count`: the number of observations.

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
    return Blocking(of=observing("of", of), levels=check.integer("levels", levels, 1, 33))


def _welford(block: PyTree, mean: PyTree, square: PyTree, n: jax.Array) -> tuple[PyTree, PyTree]:
    """Return mean and mean square with one more block, the n-th."""
    moved = jax.tree.map(lambda x, old: old.toward(x, n), block, mean)
    products = jax.tree.map(lambda x, old, new: old.distance(x) * new.distance(x), block, mean, moved)
    return moved, jax.tree.map(lambda x, old: old.toward(x, n), products, square)


def _lead(x: jax.Array, like: jax.Array) -> jax.Array:
    return x.reshape((-1,) + (1,) * (like.ndim - 1))
