"""Several dynamics of one target, taken in turn: other methods for other parts of a tree."""

from collections.abc import Callable
from typing import Any

import jax

from treedyn import _check as check
from treedyn import noise as random
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.dynamics._dynamics import Dynamics, check_key, seen
from treedyn.dynamics._ensemble import Ensemble
from treedyn.tree import PyTree

_OWN = ("momentum", "metric", "dof", "memory", "clock")


class Own(Struct):
    """The fields of a state that one of the dynamics has for itself; documented in `State`."""

    momentum: PyTree
    metric: PyTree
    dof: PyTree
    memory: PyTree
    clock: PyTree


class InTurn(Dynamics):
    """A dynamics whose step is one step of several dynamics, one after the other.

    The dynamics share position, force and energy. What else each of them remembers is in `state.memory`, under its
    number, as an `Own`. A run does not check for energy that comes from nowhere, because no dynamics sees both ends of
    a step.

    Attributes:
        parts: the dynamics.
    """

    parts: tuple[Dynamics, ...]

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        """Return True: the next position cannot be extrapolated."""
        return True

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the initial state.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
        """
        check_key(key)
        states = [part.init(_key(key, k), position, env) for k, part in enumerate(self.parts)]
        memory = {str(k): _own(state) for k, state in enumerate(states)}
        nothing = dict.fromkeys(("momentum", "metric", "dof", "clock"))
        info = tuple(state.info for state in states)
        return states[0].replace(key=key, memory=memory, info=info, **nothing)

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return the noise of the next step of every dynamics."""
        return tuple(part.draw(_of(state, k)) for k, part in enumerate(self.parts))

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the state after a step of every dynamics."""
        for k, (part, xi) in enumerate(zip(self.parts, noise, strict=True)):
            state = _back(state, part.apply(_of(state, k), env, xi), k)
        return state

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position."""
        return _back(state, self.parts[0].evaluate(_of(state, 0), env), 0)

    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the position of the new state, since the next one is unknown."""
        return new.boxed, None

    def reverse(self, state: State) -> State:
        """Return `state` with the momenta of all dynamics reversed."""
        for k, part in enumerate(self.parts):
            state = _back(state, part.reverse(_of(state, k)), k)
        return state

    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the value of a user's function."""
        return seen(function, state, env, *rest)


def _key(key: jax.Array, k: int) -> jax.Array:
    return random.at_path(key, f"in turn {k}")


def _own(state: State) -> Own:
    return Own(**{name: getattr(state, name) for name in _OWN})


def _of(state: State, k: int) -> State:
    """Return the state as the dynamics of number k knows it."""
    own = state.memory[str(k)]
    return state.replace(key=_key(state.key, k), info=state.info[k], **{name: getattr(own, name) for name in _OWN})


def _back(state: State, new: State, k: int) -> State:
    """Return the common state after the dynamics of number k has changed its own."""
    shared = {name: getattr(new, name) for name in ("boxed", "force", "energy", "aux", "status")}
    info = (*state.info[:k], new.info, *state.info[k + 1 :])
    return state.replace(memory={**state.memory, str(k): _own(new)}, info=info, **shared)


def in_turn(*dynamics: Dynamics) -> InTurn:
    """Take a step of several dynamics in turn, such as other methods for other leaves.

    A dynamics leaves those leaves alone that have an infinite mass in it. If every dynamics keeps one density, so does
    the whole.

    Args:
        *dynamics: two or more dynamics of one target.

    Returns:
        A dynamics. `state.info` is a tuple of those of all dynamics.

    Raises:
        ValueError: there are fewer than two dynamics, one of them is an ensemble, or their targets differ.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: jnp.sum(x["a"] ** 2) / 2 + (x["b"] - x["a"][0]) ** 2
        >>> walk = td.hmc(energy, dt=0.5, steps=3, mass={"a": 1.0, "b": jnp.inf})
        >>> bath = td.langevin(energy, dt=0.5, kT=1.0, mass={"a": jnp.inf, "b": 1.0})
        >>> both = td.in_turn(walk, bath)
        >>> state = both.step(both.init(jax.random.key(0), {"a": jnp.zeros(2), "b": 0.0}))
        >>> bool(state.info[0].acceptance > 0)
        True
    """
    if len(dynamics) < 2:
        raise ValueError(f"dynamics: expected at least two, got {len(dynamics)}. Pass them one after the other.")
    for one in dynamics:
        check.instance("dynamics", one, Dynamics, "a dynamics such as td.langevin(...)")
        if isinstance(one, Ensemble):
            raise ValueError(
                "dynamics: expected those of one system, got an Ensemble. Use td.ensemble(td.in_turn(...))."
            )
    targets = [target for one in dynamics if (target := _target(one)) is not None]
    if any(target is not targets[0] for target in targets):
        raise ValueError("dynamics: expected one target for all, got different ones. Pass the same function to each.")
    return InTurn(parts=dynamics)


def _target(dynamics: Any) -> Any:
    return getattr(getattr(dynamics, "splitting", dynamics), "target", None)
