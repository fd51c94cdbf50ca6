"""S: positions scale with a box that changes with time, and momenta scale inversely."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._struct import function
from treedyn.metric import Metric, PointMass
from treedyn.operators._operator import Operator, common_time
from treedyn.tree import PyTree
from treedyn.tree._structure import nodes


class Deform(Operator):
    r"""The exact flow of $\dot x = (\dot L/L)\,x$, $\dot p = -(\dot L/L)\,p$ for a given length L(t)."""

    name: ClassVar[str] = "deform"
    moves: ClassVar[bool] = True
    accounts: ClassVar[bool] = False
    length: Callable[[jax.Array], Any] = function()

    def init(self, state: State) -> None:
        """Check that no leaf is on a manifold and that all leaves have one time."""
        if any(isinstance(m, PointMass) for m in nodes(Metric, state.metric)):
            raise ValueError("deform: points on a manifold cannot be scaled. Use a flat space for all leaves.")
        if state.time is None:
            raise ValueError(
                "deform: the length is a function of time, but the state has no time. Use one dt, and a drift."
            )

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        """Return the state with x scaled by L(t + h/2)/L(t - h/2), and p by the inverse."""
        part, time = state.moving, jnp.asarray(state.time)
        half = common_time(h, self.name).astype(time.dtype) / 2
        later, before = (self.length(time + t) for t in (half, -half))
        factor = tree.prefix_map(_ratio, jax.tree.map(jnp.divide, later, before), part, name="length")
        boxed = tree.merge(jax.tree.map(jnp.multiply, part, factor), state.boxed)
        return state.replace(boxed=boxed, momentum=tree.divide(state.momentum, factor)), memory


def deform(length: Callable[[jax.Array], Any]) -> Deform:
    r"""Build the operator S, the exact flow of a box with sides L(t).

    $\dot x = (\dot L/L)\,x$ and $\dot p = -(\dot L/L)\,p$.
    Placed once in the middle of a symmetric sequence, as in B A S A B, it performs the work of the box to second order
    in dt. Positions are unwrapped real coordinates (`td.euclidean()`); an energy reads the box from a `Timed` part of
    the environment.

    Args:
        length: `length(time)` returns a positive length: a number, one number per side `[d]`, or a prefix tree of
            those.

    Raises:
        ValueError: `length` is not a function of one argument.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import operators as to
        >>> A, B, S = to.drift(td.euclidean()), to.kick(), to.deform(lambda time: 1.0 - 0.05 * time)
        >>> gas = td.compose(lambda x: 0.0 * jnp.sum(x), (B, A, S, A, B), dt=0.1)
        >>> state = gas.init(jax.random.key(0), jnp.zeros(100), kT=1.0)
        >>> end = td.trajectory(gas, state, steps=100).state
        >>> print((td.temperature(end) / td.temperature(state)).round(3))
        4.0
    """
    return Deform(length=check.function("length", length, "time"))


def _ratio(ratio: ArrayLike, leaf: jax.Array) -> jax.Array:
    ratio = tree.cast(ratio, leaf)
    if ratio.ndim > 1 or (ratio.ndim and ratio.shape != leaf.shape[-1:]):
        raise ValueError(
            f"length: expected one number, or one per coordinate of shape {leaf.shape[-1:]}, got shape {ratio.shape}"
        )
    ratio = jnp.where(ratio > 0, ratio, jnp.nan)  # a length does not change its sign
    return ratio.reshape((1,) * (leaf.ndim - 1) + ratio.shape) if ratio.ndim else ratio
