"""What `run` and `trajectory` refuse, before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import environment, tree
from treedyn._check import brief, choice, instance
from treedyn._check import integer as check_integer
from treedyn._check import path as check_path
from treedyn._state import State
from treedyn._target import observing
from treedyn.dynamics._dynamics import Dynamics, check_alone
from treedyn.dynamics._ensemble import Ensemble
from treedyn.store._checkpoint import RESUME
from treedyn.tree import PyTree


def check(dynamics: Any, state: Any, env: Any, steps: Any, every: Any, record: Any) -> None:
    """Refuse arguments of `run` and `trajectory` that do not fit.

    Raises:
        ValueError: one does not fit.
    """
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
    """Refuse records without arrays.

    Raises:
        ValueError: there is none.
    """
    if not jax.tree.leaves(shapes):
        raise ValueError(f"{name}: expected a function that returns arrays, got one that returns none")


def check_host(dynamics: Dynamics, state: State, env: PyTree, steps: int, until: Any, chunk: Any) -> None:
    """Refuse arguments of `run` that only a driver on the host has, and states that it cannot drive.

    Raises:
        ValueError: one does not fit.
    """
    shape = (dynamics.members,) if isinstance(dynamics, Ensemble) else ()
    if tree.known(state.status) is None:
        raise ValueError(
            "state: run drives a state from the host, got a traced one; inside jit, vmap and grad use td.trajectory"
        )
    if jnp.shape(state.status) != shape or (shape and state.slot is None):
        raise ValueError(
            f"state: expected {f'the states of {shape[0]} members' if shape else 'the state of one system'}, got a "
            f"status of shape {jnp.shape(state.status)}; td.ensemble(dynamics, members) is a dynamics of many, and its "
            "init and adopt make their states"
        )
    first = int(np.max(state.step))
    if first + steps >= 2**31:
        raise ValueError(
            f"steps: expected a state to take less than 2^31 steps in all, got {steps} after {first}; "
            "start from a new state: dynamics.init(key, state.position, env)"
        )
    if chunk is not None:
        check_integer("chunk", chunk, 1)
    if until is None:
        return
    observing("until", until)
    found = jax.eval_shape(lambda s, e: _boolean(dynamics.observe(until, s, e)), state, tree.traceable(env))
    if found.shape not in {shape, ()}:
        raise ValueError(
            f"until: expected one boolean for every member, got shape {found.shape}; reduce it, as with .all()"
        )


def _boolean(found: Any) -> Any:
    if isinstance(found, bool):
        return jnp.asarray(found)
    if not (hasattr(found, "dtype") and jnp.issubdtype(found.dtype, jnp.bool_)):
        raise ValueError(
            f"until: expected a function that returns one boolean, got one that returns {brief(found)}; compare it, as "
            "in lambda state: state.energy < 1.0"
        )
    return found


def check_checkpoint(checkpoint: Any, every: Any, keep: Any, resume: Any) -> None:
    """Refuse arguments of `run` about checkpoints that do not fit.

    Raises:
        ValueError: one does not fit.
    """
    choice("resume", resume, RESUME)
    check_integer("keep", keep, 1)
    if checkpoint is None:
        if every is not None or resume != "auto":
            raise ValueError(
                'checkpoint_every, resume: they go with a folder for checkpoints; pass checkpoint="folder"'
            )
        return
    folder = check_path("checkpoint", checkpoint, "folder")
    if resume == "must" and not folder.is_dir():
        raise ValueError(f'resume: "must", but there is no folder {folder}; check the path, or pass resume="auto"')
    if every is not None:
        check_integer("checkpoint_every", every, 1)


__all__ = ["check", "check_checkpoint", "check_host", "check_integer", "check_record"]
