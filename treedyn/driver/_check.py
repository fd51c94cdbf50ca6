"""Checks of the arguments of `run` and `trajectory`, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from treedyn import environment, tree
from treedyn._check import brief, choice, flag, instance
from treedyn._check import integer as check_integer
from treedyn._check import path as check_path
from treedyn._state import State
from treedyn._target import observing
from treedyn.dynamics._dynamics import Dynamics, check_alone
from treedyn.dynamics._ensemble import Ensemble
from treedyn.store._checkpoint import RESUME
from treedyn.tree import PyTree


def check(dynamics: Any, state: Any, env: Any, steps: Any, every: Any, record: Any) -> None:
    """Check the arguments that `run` and `trajectory` share."""
    instance("dynamics", dynamics, Dynamics, "a dynamics like td.langevin(...)")
    instance("state", state, State, "what dynamics.init(key, position, env) returns")
    check_integer("steps", steps, 0)
    check_integer("every", every, 1, 2**30)
    environment.check(env)
    if isinstance(dynamics, Ensemble):
        dynamics.check_env(env)
    else:
        check_alone("env", env)
    if record is not None:
        observing("record", record)


def check_record(name: str, shapes: PyTree) -> None:
    """Check that a record has arrays."""
    if not jax.tree.leaves(shapes):
        raise ValueError(f"{name}: expected a function that returns arrays, got one without any. Record a number.")


def check_host(
    dynamics: Dynamics, state: State, env: PyTree, steps: int, until: Any, chunk: Any, progress: Any
) -> None:
    """Check the arguments that only `run` has, and that it can drive the state."""
    shape = (dynamics.members,) if isinstance(dynamics, Ensemble) else ()
    for name, value in {"dynamics": dynamics, "state": state, "env": env}.items():
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(value)):
            raise ValueError(
                f"{name}: expected known numbers, got traced ones. Use td.trajectory inside jit, vmap and grad."
            )
    if jnp.shape(state.status) != shape or (shape and state.slot is None):
        raise ValueError(
            f"state: expected {f'the states of {shape[0]} members' if shape else 'the state of one system'}, got a "
            f"status of shape {jnp.shape(state.status)}. Use td.ensemble(dynamics, members) for many systems; its init "
            "and adopt make their states."
        )
    first = int(np.max(state.step))
    if first + steps >= 2**31:
        raise ValueError(
            f"steps: expected fewer than 2^31 steps in all, got {steps} after {first}. Start from a new state: "
            "dynamics.init(key, state.position, env)."
        )
    if chunk is not None:
        check_integer("chunk", chunk, 1)
    if not isinstance(progress, str):
        flag("progress", progress)
    if until is None:
        return
    observing("until", until)
    found = jax.eval_shape(lambda s, e: _boolean(dynamics.observe(until, s, e)), state, tree.traceable(env))
    if found.shape not in {shape, ()}:
        raise ValueError(
            f"until: expected one boolean per member, got shape {found.shape}. Reduce it, for example with .all()."
        )


def _boolean(found: Any) -> Any:
    if isinstance(found, bool):
        return jnp.asarray(found)
    if not (hasattr(found, "dtype") and jnp.issubdtype(found.dtype, jnp.bool_)):
        raise ValueError(
            f"until: expected a function that returns one boolean, got one that returns {brief(found)}. Compare it, as "
            "in lambda state: state.energy < 1.0."
        )
    return found


def check_checkpoint(checkpoint: Any, every: Any, keep: Any, resume: Any, tag: Any) -> None:
    """Check the arguments of `run` about checkpoints."""
    choice("resume", resume, RESUME)
    check_integer("keep", keep, 1)
    instance("tag", tag, str, "a string")
    if checkpoint is None:
        if every is not None or resume != "auto" or tag:
            raise ValueError(
                "checkpoint_every, resume, tag: expected a folder for checkpoints as well, got none. Pass "
                'checkpoint="folder".'
            )
        return
    folder = check_path("checkpoint", checkpoint, "folder")
    if resume == "must" and not folder.is_dir():
        raise ValueError(f'resume: "must", but there is no folder {folder}. Check the path, or pass resume="auto".')
    if every is not None:
        check_integer("checkpoint_every", every, 1)
