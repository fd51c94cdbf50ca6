"""Gibbs sampling: a part of the position is drawn from its conditional distribution."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax

from treedyn import _check as check
from treedyn import noise, tree
from treedyn._state import State
from treedyn._struct import function
from treedyn._target import observing
from treedyn.dynamics._dynamics import Targeted
from treedyn.montecarlo._metropolis import check_still
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Gibbs(Targeted):
    """A dynamics that draws a part of the position from its conditional distribution.

    Attributes:
        conditional: `conditional(key, position)`, returns the new position.
    """

    jumps: ClassVar[bool] = True
    conditional: Callable[..., Any] = function()

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the initial state; the environment may not depend on time."""
        check_still(env)
        return self.begin(key, position, env, time=None)

    def draw(self, state: State) -> jax.Array:
        """Return the key of the step."""
        return noise.of_step(state)

    def apply(self, state: State, env: PyTree, noise: jax.Array) -> State:
        """Return the state at the new position."""
        new = tree.box(self.conditional(noise, state.position), "conditional: the result")
        if jax.tree.structure(new) != jax.tree.structure(state.boxed):
            raise ValueError(
                f"conditional: expected a position like\n    {tree.describe(state.boxed)}\ngot\n    "
                f"{tree.describe(new)}"
            )
        return self.explore(state.replace(boxed=new), env)


def gibbs(target: Callable[..., Any], conditional: Callable[[jax.Array, PyTree], PyTree]) -> Gibbs:
    """Draw a part of the position from its conditional distribution given the rest, as one dynamics of `td.in_turn`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy; the same as that of
            the other dynamics. It is evaluated at the new position.
        conditional: `conditional(key, position)`, returns the position with the new values. It is not checked that they
            have the distribution of the target.

    Returns:
        A dynamics.

    Raises:
        ValueError: an argument is not a function.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: x["a"] ** 2 / 2 + (x["b"] - x["a"]) ** 2 / 2
        >>> def conditional(key, x):
        ...     return {**x, "b": x["a"] + jax.random.normal(key)}
        >>> sampler = td.in_turn(td.gibbs(energy, conditional), td.mala(energy, dt=1.0, mass={"a": 1.0, "b": jnp.inf}))
        >>> state = sampler.step(sampler.init(jax.random.key(0), {"a": 0.0, "b": 0.0}))

    Reference:
        Geman, Geman, IEEE Trans. Pattern Anal. Mach. Intell. 6, 721 (1984), doi:10.1109/TPAMI.1984.4767596.
    """
    return Gibbs(
        target=observing("target", target, "position"),
        space=EUCLIDEAN,
        conditional=check.function("conditional", conditional, "key and position", 2),
    )
