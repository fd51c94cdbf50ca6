"""What `run` and `trajectory` refuse, before anything is compiled."""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn.driver.checkpoint import RESUME
from treedyn.dynamics.dynamics import Dynamics
from treedyn.state import State
from treedyn.target import call
from treedyn.tree import PyTree


def check(dynamics: Any, state: Any, steps: Any, every: Any, record: Any) -> None:
    """Refuse arguments of `run` and `trajectory` that do not fit.

    Raises:
        ValueError: one does not fit.
    """
    if not isinstance(dynamics, Dynamics):
        raise ValueError(f"dynamics: expected a dynamics like td.langevin(...), got {type(dynamics).__name__}")
    if not isinstance(state, State):
        raise ValueError(f"state: expected what dynamics.init(key, position, env) returns, got {type(state).__name__}")
    check_integer("steps", steps, 0)
    check_integer("every", every, 1, 2**30)
    if not (record is None or callable(record)):
        raise ValueError(f"record: expected a function of state or (state, env), got {record!r}")


def check_record(name: str, shapes: PyTree) -> None:
    """Refuse records without arrays.

    Raises:
        ValueError: there is none.
    """
    if not jax.tree.leaves(shapes):
        raise ValueError(f"{name}: expected a function that returns arrays, got one that returns none")


def check_host(state: State, env: PyTree, until: Any, chunk: Any) -> None:
    """Refuse arguments of `run` that only a driver on the host has, and states that it cannot drive.

    Raises:
        ValueError: one does not fit.
    """
    if tree.known(state.status) is None or jnp.ndim(state.status):
        raise ValueError(
            "state: run drives one state from the host, got a traced or batched one; inside jit, vmap and grad use "
            "td.trajectory"
        )
    if chunk is not None:
        check_integer("chunk", chunk, 1)
    if until is None:
        return
    if not callable(until):
        raise ValueError(f"until: expected a function of state or (state, env), got {until!r}")
    found = jax.eval_shape(lambda s, e: call(until, s, e), state, env)
    if not jax.tree_util.all_leaves([found]) or found.shape != ():
        raise ValueError(f"until: expected a function that returns one boolean, got {found!r}")


def check_checkpoint(checkpoint: Any, every: Any, keep: Any, resume: Any) -> None:
    """Refuse arguments of `run` about checkpoints that do not fit.

    Raises:
        ValueError: one does not fit.
    """
    if checkpoint is None:
        if every is not None or resume != "auto":
            raise ValueError(
                'checkpoint_every, resume: they go with a folder for checkpoints; pass checkpoint="folder"'
            )
        return
    if not isinstance(checkpoint, str | os.PathLike) or not str(checkpoint):
        raise ValueError(f"checkpoint: expected the path of a folder, got {checkpoint!r}")
    if every is not None:
        check_integer("checkpoint_every", every, 1)
    check_integer("keep", keep, 1)
    if resume not in RESUME:
        raise ValueError(f"resume: expected one of {', '.join(map(repr, RESUME))}, got {resume!r}")


def check_integer(name: str, value: Any, least: int, below: int | None = None) -> None:
    """Refuse what is no integer in a range.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    if below is not None and value >= below:
        raise ValueError(f"{name}: expected an integer below {below}, got {value!r}")
