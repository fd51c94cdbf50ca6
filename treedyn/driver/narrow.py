"""Step what is left of an ensemble, so that members that are done cost nothing.

Once half of the members stand still, those that go on are gathered into an ensemble of half the size, and so on: a few
sizes, for each of which the loop is compiled once. Noise belongs to the slot of a member, so the last bits are all that
may change with the size. Which members are gathered is decided at numbers of steps that are the same for every run, so
no bit depends on how a run is cut into chunks.
"""

import jax
import numpy as np

from treedyn import member
from treedyn.driver import advance as compiled
from treedyn.driver.advance import Predicate, Progress
from treedyn.dynamics.dynamics import Dynamics
from treedyn.dynamics.ensemble import Ensemble
from treedyn.state import State
from treedyn.tree import PyTree

_FIRST = 64


def until_next(taken: int) -> int:
    """Return how many steps there are from `taken` to the next time at which it is decided anew who is stepped."""
    span = max(_FIRST, 1 << max(taken.bit_length() - 4, 0))
    return span - taken % span


def is_due(taken: int) -> bool:
    """Tell whether it is decided after so many steps who is stepped from now on."""
    return taken == 0 or until_next(taken - 1) == 1


def awake(active: np.ndarray) -> np.ndarray:
    """Return which members to step: those that go on, and some that stand still to fill up.

    Args:
        active: which members go on.
    """
    size = active.size
    while size > 1 and (size + 1) // 2 >= np.sum(active):
        size = (size + 1) // 2
    chosen = np.zeros(active.size, bool)
    chosen[np.argsort(~active.ravel(), kind="stable")[:size]] = True
    return chosen.reshape(active.shape)


def advance(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    steps: jax.Array,
    progress: Progress,
    until: Predicate | None,
    members: jax.Array | None,
) -> tuple[State, PyTree, Progress]:
    """Take `steps` more steps with some of the members; `None` stands for all.

    Returns:
        State, environment and progress of all members.
    """
    if members is None:
        return compiled.advance(dynamics, state, env, steps, progress, until)
    assert isinstance(dynamics, Ensemble)
    some = dynamics.some(members)
    own_env = member.each(env, lambda values: member.take(values, members))
    new, own_env, own = compiled.advance(
        some, member.take(state, members), own_env, steps, _some(progress, members), until
    )
    marked = iter(member.marked(env))
    whole_env = member.each(own_env, lambda values: member.put(next(marked).values, members, values))
    standing = progress.replace(current=progress.current & False, trouble=progress.trouble & 0)
    per_member = {name: member.put(getattr(standing, name), members, getattr(own, name)) for name in _PER_MEMBER}
    whole = progress.replace(steps=own.steps, rebuilds=own.rebuilds, **per_member)
    return member.put(state, members, new), whole_env, whole


_PER_MEMBER = ("trouble", "failed", "finished", "current", "ahead")


def _some(progress: Progress, members: jax.Array) -> Progress:
    own = {name: member.take(getattr(progress, name), members) for name in _PER_MEMBER}
    return progress.replace(**own)


__all__ = ["advance", "awake", "is_due", "until_next"]
