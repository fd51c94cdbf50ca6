"""The contract of every dynamics, and how a position becomes a state."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import target as target_of
from treedyn import tree
from treedyn.space import of_leaves
from treedyn.state import State
from treedyn.struct import Struct, function
from treedyn.tree import PyTree


class Dynamics(Struct):
    """Move a state step by step: integrators, thermostats and minimizers alike.

    A dynamics is a struct. Its numbers are leaves, so changing one does not retrace, `vmap` over kT is a temperature
    ladder and `grad` goes through dt. Its target may be a bare function or a PyTree with parameters of its own.

    Example:
        >>> import jax, treedyn as td
        >>> init, step = td.nve(td.from_energy(lambda x: x**2 / 2), dt=0.1)
        >>> state = step(init(jax.random.key(0), 1.0))
        >>> round(float(state.position), 3)
        0.995
    """

    target: Callable[..., Any] = function()
    space: PyTree

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the state in which to start."""
        raise NotImplementedError

    def step(self, state: State, env: PyTree = None) -> State:
        """Return the state one step later."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[Callable[..., State]]:
        """Unpack as `init, step = dynamics`."""
        return iter((self.init, self.step))

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position, and the status of this evaluation added."""
        result = target_of.evaluate(self.target, state.boxed, env, self.space)
        return state.replace(
            force=result.force, energy=result.energy, aux=result.aux, status=state.status | result.status
        )

    def begin(self, key: jax.Array, position: PyTree, env: PyTree) -> State:
        """Check what a user passed to `init`, and return a state with position, force and energy."""
        boxed = tree.box(position, "position")
        check_position(boxed)
        check_key(key)
        of_leaves(self.space, tree.moving(boxed))
        blank = State(
            boxed=boxed, force=None, energy=None, aux=None, key=key, step=jnp.int32(0), status=jnp.uint32(0), memory={}
        )
        return self.evaluate(blank, env)


def check_position(boxed: PyTree) -> None:
    """Refuse positions that no dynamics can move.

    Raises:
        ValueError: there is no floating-point leaf, one is complex, or one is not finite.
    """
    leaves = jax.tree_util.tree_leaves_with_path(boxed)
    for path, leaf in leaves:
        where = f"position{jax.tree_util.keystr(path)}"
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError(f"{where} is complex: store real and imaginary part as two real leaves")
        if not tree.is_moving(leaf) or (known := tree.known(leaf)) is None:
            continue
        # NumPy, because jnp would trace even what is known when a user calls `init` inside jit
        bad = int(np.sum(~np.isfinite(known.astype(float))))
        if bad:
            raise ValueError(f"{where} has {bad} NaN or infinite elements out of {leaf.size}: check where it was made")
    if not any(tree.is_moving(leaf) for _, leaf in leaves):
        raise ValueError(
            f"position has no floating-point leaf that could move, got {tree.describe(tree.unbox(boxed))} with leaves "
            f"{[str(leaf.dtype) for _, leaf in leaves]}: integers and functions only ride along; use e.g. 1.0, not 1"
        )


def check_state(state: Any, names: tuple[str, ...]) -> None:
    """Refuse what the `init` of another dynamics made: it lacks what this one has to remember.

    Raises:
        ValueError: `state` is no state, or its memory has no entry for one of `names`.
    """
    missing = list(names) if not isinstance(state, State) else [name for name in names if name not in state.memory]
    if missing or not isinstance(state, State):
        raise ValueError(
            f"state: expected what the init of this very dynamics returns, got a {type(state).__name__} that does not "
            f"remember {', '.join(missing)}. To go on from another dynamics, call "
            "dynamics.init(key, state.position, env), with momentum=state.momentum where both have one."
        )


def check_key(key: Any) -> None:
    """Refuse anything but one random key.

    Raises:
        ValueError: `key` is no key, or an array of keys.
    """
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    legacy = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.ndim == 1
    if not ((typed and key.ndim == 0) or legacy):
        raise ValueError(f"key: expected one random key, e.g. jax.random.key(0), got {key!r}")
