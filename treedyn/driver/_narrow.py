"""Step only the active members of an ensemble, so that finished and failed ones cost nothing.

Once half of the members have stopped, the active ones are gathered into an ensemble of half the size, and so on. There
are only a few sizes, and the loop is compiled once for each. Noise belongs to the slot of a member, so a different size
changes at most the last bits. Members are gathered at fixed step counts, so results do not depend on how a run is cut
into chunks.
"""

import jax
import numpy as np

from treedyn import _member as member
from treedyn._state import State
from treedyn.driver import _advance as compiled
from treedyn.driver._advance import Predicate, Progress
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.tree import PyTree

_FIRST = 64


def until_next(taken: int) -> int:
    """Return the number of steps from `taken` to the next step count at which members are gathered."""
    span = max(_FIRST, 1 << max(taken.bit_length() - 4, 0))
    return span - taken % span


def is_due(taken: int) -> bool:
    """Tell whether members are gathered at the step count `taken`."""
    return taken == 0 or until_next(taken - 1) == 1


def awake(active: np.ndarray) -> np.ndarray:
    """Return which members to step: the active ones, and enough stopped ones to fill up the size.

    Args:
        active: which members are active.
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
    """Take `steps` more steps with some of the members, or with all if `members` is `None`.

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
