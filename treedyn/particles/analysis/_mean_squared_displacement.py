r"""The mean squared displacement, from many time origins at once.

$$ \mathrm{MSD}(k) = \Big\langle \frac{1}{N} \sum_i \lvert r_i(t) - r_i(t - k) \rvert^2 \Big\rangle_t $$

Paths are unwrapped: the shortest displacements between successive observations are added up from every origin. No
coordinate grows without bound, so long runs lose no digits to rounding.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int32, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn._target import call, observing
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._arguments import check_position
from treedyn.space import Space
from treedyn.stream._average import Average
from treedyn.stream._count import Count
from treedyn.stream._reducer import Carry, Reducer, check_shape, sum_dtype
from treedyn.tree import PyTree

_MASSES = "one number or one per particle [N]"


class MeanSquaredDisplacementResult(Struct):
    """The result of `mean_squared_displacement`, documented there."""

    lag: Int32[Array, "lags+1"]
    value: Float[Array, "lags+1"]
    origins: Float[Array, "lags+1"]


class MeanSquaredDisplacement(Reducer):
    """Displacements of particles from many time origins.

    The carry has the number of origins, `count`; the observations until the next origin, `wait`; the points at the last
    observation, `last`; their displacements since the last origin, `since`, `[N, d]`; the displacements from every one
    of the last origins to the last one, the newest first, `window`, `[lags + 1, N, d]`; and the mean `square` for every
    lag.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "wait", "last", "since", "window", "square")
    space: Space
    mass: Float[Array, "..."] | None = None
    lags: int = static()
    stride: int = static(default=1)

    def init(self, state: PyTree, env: PyTree = None) -> Carry:
        """Return the carry without observations."""
        points = jax.eval_shape(self._points, state, env)
        kind = sum_dtype(points.dtype)
        return {
            "count": Count.zero(),
            "wait": jnp.int32(0),
            "last": jnp.zeros(points.shape, points.dtype),
            "since": jnp.zeros(points.shape, kind),
            "window": jnp.zeros((self.lags + 1, *points.shape), kind),
            "square": Average.zero((self.lags + 1,), kind),
        }

    def update(self, carry: Carry, state: PyTree, env: PyTree = None) -> Carry:
        """Return the carry with one more observation."""
        return self._add(carry, check_shape(self._points(state, env), carry["last"].shape))

    def result(self, carry: Carry) -> MeanSquaredDisplacementResult:
        """Return the mean squared displacement for every lag."""
        origins = self._origins(carry["count"], carry["square"].dtype)
        return MeanSquaredDisplacementResult(
            lag=jnp.arange(self.lags + 1, dtype=jnp.int32) * self.stride,
            value=jnp.where(origins > 0, carry["square"].value, jnp.nan),
            origins=jnp.maximum(origins, 0),
        )

    @jax.jit
    def _add(self, carry: Carry, points: jax.Array) -> Carry:
        points = points.astype(carry["last"].dtype)
        now, last = spaces.unstack(points), spaces.unstack(carry["last"])
        step = jnp.stack(spaces.separation(self.space, now, last, far=True), axis=-1)
        if self.mass is not None:
            weight = jnp.broadcast_to(tree.align(self.mass, step, "mass"), step.shape)
            step = step - jnp.sum(weight * step, axis=0, keepdims=True) / jnp.sum(weight, axis=0, keepdims=True)
        moving = Count.zero() + 1 <= carry["count"]  # false for the first observation
        since = carry["since"] + jnp.where(moving, step, 0).astype(carry["since"].dtype)
        carry = {**carry, "last": points, "since": since}
        # a loop of at most one iteration, since a cond would evaluate both branches under vmap
        is_origin = carry["wait"] == 0
        _, carry = jax.lax.while_loop(
            lambda x: x[0], lambda x: (jnp.zeros_like(is_origin), self._origin(x[1])), (is_origin, carry)
        )
        return {**carry, "wait": jnp.where(is_origin, self.stride - 1, carry["wait"] - 1)}

    def _origin(self, carry: Carry) -> Carry:
        """Return the carry with the last observation as a new time origin."""
        moved = carry["window"] + carry["since"][None]
        window = jnp.concatenate([jnp.zeros_like(moved[:1]), moved[:-1]])
        count = carry["count"] + 1
        origins = self._origins(count, window.dtype)
        square = carry["square"].toward(jnp.mean(jnp.sum(window * window, axis=-1), axis=-1), jnp.maximum(origins, 1))
        square = jax.tree.map(lambda new, old: jnp.where(origins > 0, new, old), square, carry["square"])
        since = jnp.zeros_like(carry["since"])
        return {**carry, "count": count, "since": since, "window": window, "square": square}

    def _origins(self, count: Count, kind: DTypeLike) -> jax.Array:
        return count.to(kind) - jnp.arange(self.lags + 1, dtype=kind)

    def _points(self, state: PyTree, env: PyTree) -> jax.Array:
        return check_position(call(self.of, state, env))


def mean_squared_displacement(
    space: spaces.SpaceLike,
    lags: int,
    *,
    stride: int = 1,
    select: Callable[..., Any] | None = None,
    mass: Real[ArrayLike, ""] | Real[ArrayLike, "particles"] | None = None,
) -> Reducer:
    r"""Make a reducer for the mean squared displacement at lags 0, 1, ..., each averaged over all time origins.

    Diffusion in d dimensions has $\mathrm{MSD}(t) \to 2 d D t$. No particle may move by half a box or more between two
    observations; if it could, observe more often and use a stride. The drift of the center of mass is part of the
    displacements unless masses are given.

    Args:
        space: the space of the particles, in any dimension.
        lags: the largest lag, in strides. Memory and time of an update are proportional to it.
        stride: observations between two time origins, and between two lags.
        select: selects the points `[N, d]`: `select(state)` or `select(state, env)`; by default `state.position`.
        mass: the mass of every point, one number or one per point. If given, displacements are those relative to the
            center of mass of the points.

    Returns:
        A reducer for `treedyn.stream`, which cannot be merged. Its result has the attributes

        - `lag`: lags in observations, `[lags + 1]`;
        - `value`: the mean squared displacement, `[lags + 1]`; length². NaN for lags beyond the length of the stream;
        - `origins`: the number of time origins in every mean, `[lags + 1]`.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.periodic(8.0)
        >>> reducer = tp.mean_squared_displacement(space, lags=2, select=lambda x: x)
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
        space=spaces.check_space(space),
        mass=None if mass is None else check.floats(check.array("mass", mass, _MASSES, (0, 1), positive=True)),
        lags=check.integer("lags", lags, 1),
        stride=check.integer("stride", stride, 1),
    )


def _position(state: Any) -> Any:
    return state.position
