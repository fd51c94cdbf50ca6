r"""A step of a trajectory: one step of its splitting, or as many smaller ones as its energy needs.

The step is cut into 1, 2, 4, ... parts until the energies on the way differ by at most a tolerance. The way back may
find that fewer parts are enough. Then it would lead elsewhere, so such a step cannot be part of a trajectory.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import ArrayLike

from treedyn import schedule
from treedyn._state import State
from treedyn._status import INVALID_LIST
from treedyn._struct import Struct, static
from treedyn.dynamics._compose import Splitting
from treedyn.montecarlo._trajectories import follow, gain
from treedyn.tree import PyTree


class Stride(NamedTuple):
    """A step of a trajectory.

    Attributes:
        end: the state at its end.
        change: the energy of the end above that of the start.
        steps: number of steps of the splitting that were taken to find it.
        whole: whether one step was enough.
        retraced: whether the way back is the same.
    """

    end: State
    change: jax.Array
    steps: jax.Array
    whole: jax.Array
    retraced: jax.Array


class Strides(Struct):
    """The rule by which a step is cut into parts.

    Attributes:
        halvings: how often a step may be halved.
        tolerance: the largest difference of energies on the way, in units of kT.
    """

    halvings: int = static()
    tolerance: PyTree

    def take(self, splitting: Splitting, start: State, env: PyTree, kT: ArrayLike) -> Stride:
        """Return the step that begins at `start`."""
        true = jnp.asarray(True)
        if not self.halvings:
            end, change = _advance(splitting, start, env)
            return Stride(end, change, jnp.int32(1), true, true)

        def cut(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            level, steps, status, *_ = carry
            end, change, taken, fits = self._parts(splitting, start, env, level, kT)
            return level + 1, steps + taken, status | end.status, fits, end, change

        def on(carry: tuple[Any, ...]) -> jax.Array:
            level, _, _, fits, *_ = carry
            return ~fits & (level <= self.halvings)

        none, zero = jnp.int32(0), jnp.zeros((), _kind(start))
        tried = lax.while_loop(on, cut, (none, none, start.status, ~true, start, zero))
        level, steps, status, fits, end, change = tried
        back = splitting.reverse(end)

        def shorter(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            fewer, steps, status, _ = carry
            there, _, taken, found = self._parts(splitting, back, env, fewer, kT)
            return fewer + 1, steps + taken, status | there.status, found

        def another(carry: tuple[Any, ...]) -> jax.Array:
            fewer, _, _, found = carry
            return ~found & (fewer < level - 1)

        _, steps, status, found = lax.while_loop(another, shorter, (none, steps, status, ~fits))
        # the number of parts depends on every attempt, so a list that was not valid in one of them counts
        end = end.replace(status=end.status | (status & jnp.uint32(int(INVALID_LIST))))
        return Stride(end, jnp.where(fits, change, jnp.nan), steps, level == 1, ~found)

    def _parts(
        self, splitting: Splitting, start: State, env: PyTree, level: jax.Array, kT: ArrayLike
    ) -> tuple[State, jax.Array, jax.Array, jax.Array]:
        """Take a step in 2^level parts, as long as the energies are within the tolerance.

        Returns:
            The end, the change of the energy, the number of parts taken, and whether all energies fit.
        """
        count = jnp.left_shift(jnp.int32(1), level)
        dt = schedule.at(splitting.dt, start.step)
        fine = splitting.replace(dt=jax.tree.map(lambda h: h / count.astype(_float(h)), dt))

        def fits(low: jax.Array, high: jax.Array) -> jax.Array:
            return high - low <= (jnp.asarray(self.tolerance) * kT).astype(low.dtype)

        def on(carry: tuple[Any, ...]) -> jax.Array:
            taken, _, _, low, high = carry
            return (taken < count) & fits(low, high)

        def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            taken, now, change, low, high = carry
            now, more = _advance(fine, now, env)
            change = change + more
            return taken + 1, now, change, jnp.minimum(low, change), jnp.maximum(high, change)

        zero = jnp.zeros((), _kind(start))
        taken, end, change, low, high = lax.while_loop(on, one, (jnp.int32(0), start, zero, zero, zero))
        return end, change, taken, fits(low, high)


def _advance(splitting: Splitting, start: State, env: PyTree) -> tuple[State, jax.Array]:
    """Return the state one step later, and the change of the energy."""
    end, _ = follow(splitting, start, env, splitting.draw(start))
    assert end.energy is not None and start.energy is not None  # `init` refuses forces
    gained = gain(start, end)
    return end, (end.energy - start.energy).astype(gained.dtype) + gained


def _kind(state: State) -> Any:
    return jax.eval_shape(lambda: gain(state, state)).dtype


def _float(h: ArrayLike) -> Any:
    return jnp.result_type(h) if jnp.issubdtype(jnp.result_type(h), jnp.floating) else float
