r"""The mean squared displacement, from many time origins at once.

$$ \mathrm{MSD}(k) = \Big\langle \frac{1}{N} \sum_i \lvert r_i(t) - r_i(t - k) \rvert^2 \Big\rangle_t $$

Paths are unwrapped: what is followed are the shortest displacements between successive observations, added up from
every origin on. No coordinate grows without bound, so nothing is lost to rounding in a long run.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn._struct import Struct, static
from treedyn._target import call, observing
from treedyn.particles.energies._pair import check_position, check_space
from treedyn.particles.space import _space as spaces
from treedyn.space import Space
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Reducer, check_shape, sum_dtype
from treedyn.tree import PyTree


class Paths(Struct):
    """Hold where the particles went.

    Attributes:
        count: number of origins so far.
        wait: observations until the next origin.
        last: the points at the last observation, `[N, d]`.
        since: displacement since the last origin, `[N, d]`.
        window: displacement from every one of the last origins to the last one, the newest first, `[lags + 1, N, d]`.
        square: mean squared displacement for every lag, `[lags + 1]`.
    """

    count: Count
    wait: jax.Array
    last: jax.Array
    since: jax.Array
    window: jax.Array
    square: Average


class MeanSquaredDisplacementResult(Struct):
    """Hold what `mean_squared_displacement` returns.

    Attributes:
        lag: lags in observations, `[lags + 1]`.
        value: mean squared displacement, `[lags + 1]`; length^2. NaN for lags that the stream is too short for.
        origins: how many time origins every one is the mean over, `[lags + 1]`.
    """

    lag: jax.Array
    value: jax.Array
    origins: jax.Array


class MeanSquaredDisplacement(Reducer):
    """Follow particles from many time origins.

    Attributes:
        space: how displacements are measured.
        lags: the largest lag, in origins.
        stride: observations between two origins.
    """

    carries: ClassVar[type] = Paths
    space: Space
    lags: int = static()
    stride: int = static(default=1)

    def init(self, state: PyTree, env: PyTree = None) -> Paths:
        """Return the carry of no observations."""
        points = jax.eval_shape(self._points, state, env)
        kind = sum_dtype(points.dtype)
        return Paths(
            count=Count.zero(),
            wait=jnp.int32(0),
            last=jnp.zeros(points.shape, points.dtype),
            since=jnp.zeros(points.shape, kind),
            window=jnp.zeros((self.lags + 1, *points.shape), kind),
            square=Average.zero((self.lags + 1,), kind),
        )

    def update(self, carry: Paths, state: PyTree, env: PyTree = None) -> Paths:
        """Return the carry with one more observation."""
        return self._add(carry, check_shape(self._points(state, env), carry.last.shape))

    def result(self, carry: Paths) -> MeanSquaredDisplacementResult:
        """Return the mean squared displacement for every lag."""
        origins = self._origins(carry.count, carry.square.dtype)
        return MeanSquaredDisplacementResult(
            lag=jnp.arange(self.lags + 1, dtype=jnp.int32) * self.stride,
            value=jnp.where(origins > 0, carry.square.value, jnp.nan),
            origins=jnp.maximum(origins, 0),
        )

    @jax.jit
    def _add(self, carry: Paths, points: jax.Array) -> Paths:
        points = points.astype(carry.last.dtype)
        step = jnp.stack(spaces.separation(self.space, spaces.unstack(points), spaces.unstack(carry.last)), axis=-1)
        moving = Count.zero() + 1 <= carry.count  # the first observation has nothing to be compared with
        carry = carry.replace(last=points, since=carry.since + jnp.where(moving, step, 0).astype(carry.since.dtype))
        # A loop of at most one turn instead of a cond, which would do its work every time under vmap.
        is_origin = carry.wait == 0
        _, carry = jax.lax.while_loop(
            lambda x: x[0], lambda x: (jnp.zeros_like(is_origin), self._origin(x[1])), (is_origin, carry)
        )
        return carry.replace(wait=jnp.where(is_origin, self.stride - 1, carry.wait - 1))

    def _origin(self, carry: Paths) -> Paths:
        """Return the carry with one more time origin, which is the last observation."""
        moved = carry.window + carry.since[None]
        window = jnp.concatenate([jnp.zeros_like(moved[:1]), moved[:-1]])
        count = carry.count + 1
        origins = self._origins(count, window.dtype)
        square = carry.square.toward(jnp.mean(jnp.sum(window * window, axis=-1), axis=-1), jnp.maximum(origins, 1))
        square = jax.tree.map(lambda new, old: jnp.where(origins > 0, new, old), square, carry.square)
        return carry.replace(count=count, since=jnp.zeros_like(carry.since), window=window, square=square)

    def _origins(self, count: Count, kind: Any) -> jax.Array:
        return count.to(kind) - jnp.arange(self.lags + 1, dtype=kind)

    def _points(self, state: PyTree, env: PyTree) -> jax.Array:
        return check_position(call(self.of, state, env))


def mean_squared_displacement(
    space: Any, lags: int, *, stride: int = 1, select: Callable[..., Any] | None = None
) -> MeanSquaredDisplacement:
    r"""Make a reducer for the mean squared displacement at lags 0, 1, ..., each averaged over all time origins.

    Diffusion in d dimensions has $\mathrm{MSD}(t) \to 2 d D t$. No particle may move by half a box or more between two
    observations; observe more often, with a stride, where that could be. The drift of the centre of mass counts.

    Args:
        space: the space of the particles, in any dimension.
        lags: the largest lag, in strides. Memory and time of an update are that of so many states.
        stride: observations between two time origins, and between two lags.
        select: picks the points `[N, d]`: `select(state)` or `select(state, env)`; by default `state.position`.

    Returns:
        A reducer for `treedyn.stream`; its result is a `MeanSquaredDisplacementResult`. It cannot be merged.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> from treedyn.particles.analysis._mean_squared_displacement import mean_squared_displacement
        >>> space = tp.periodic(8.0)
        >>> reducer = mean_squared_displacement(space, lags=2, select=lambda x: x)
        >>> position = jnp.zeros((5, 3))
        >>> carry = reducer.init(position)
        >>> for _ in range(10):
        ...     carry = reducer.update(carry, position)
        ...     position = space.shift(position, jnp.full((5, 3), 2.0))
        >>> print(reducer.result(carry).value)
        [ 0. 12. 48.]
    """
    return MeanSquaredDisplacement(
        of=_position if select is None else observing("select", select),
        space=check_space(space),
        lags=check.integer("lags", lags, 1),
        stride=check.integer("stride", stride, 1),
    )


def _position(state: Any) -> Any:
    return state.position


__all__ = ["MeanSquaredDisplacement", "MeanSquaredDisplacementResult", "mean_squared_displacement"]
