"""Repairs on the host: neighbor lists that ran out of room, or whose box shrank."""

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _member as member
from treedyn import environment, tree
from treedyn.driver._run_state import RunState
from treedyn.tree import PyTree


def reallocated(run: RunState, trouble: np.ndarray) -> tuple[RunState, bool, str]:
    """Give a run larger lists. Members of an ensemble whose box is too small for any list fail, the others go on.

    Returns:
        The run, whether this repaired what was wrong, and why a list could not be allocated.
    """
    try:
        return run.replace(env=_allocated(run)), True, ""
    except ValueError as error:  # the box is too small for any list
        reason = str(error)
    lost = [k for k in np.flatnonzero(trouble) if not _fits(run, int(k))] if trouble.ndim else []
    if not lost:
        return run, False, reason
    run = run.replace(failed=np.where(np.isin(np.arange(len(trouble)), lost), run.failed | trouble, run.failed))
    return run.replace(env=_allocated(run)) if np.any(run.active) else run, True, reason


def _allocated(run: RunState) -> PyTree:
    """Return the environment with larger lists; failed members get a copy of the list of another member."""
    # For the position for which the list was last rebuilt: it is then what a larger list would have been in every bit.
    position, time = run.ahead
    stand_ins = None
    if np.ndim(run.failed):
        stand_ins = np.arange(len(run.failed))
        stand_ins[run.failed != 0] = np.argmin(run.failed != 0)
    return environment.allocate(run.env, tree.unbox(position), time, stand_ins)


def _fits(run: RunState, k: int) -> bool:
    """Tell whether a list can be allocated for a member."""
    position, time = member.take(run.ahead, jnp.asarray(k))
    try:
        environment.allocate(environment.member(run.env, k), tree.unbox(position), time)
    except ValueError:
        return False
    return True


def size_of(env: PyTree) -> int:
    """Return the number of elements in an environment."""
    return sum(map(jnp.size, jax.tree.leaves(env)))
