"""Step only the active members of an ensemble, so that finished and failed ones cost nothing.

Once half of the members have stopped, the active ones are gathered into an ensemble of half the size, and so on. There
are only a few sizes, and the loop is compiled once for each. Noise belongs to the slot of a member, so a different size
changes at most the last bits. Members are gathered at fixed step counts, so results do not depend on how a run is cut
into chunks.
"""

import jax
import numpy as np

from treedyn import _member as member
from treedyn.driver import _loop as loop
from treedyn.driver._loop import Predicate
from treedyn.driver._run_state import RunState
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.tree import PyTree

_FIRST = 64
_PER_MEMBER = ("state", "ahead", "trouble", "failed", "finished", "current")


def until_next(steps: int) -> int:
    """Return the number of steps until members are gathered again."""
    span = max(_FIRST, 1 << max(steps.bit_length() - 4, 0))
    return span - steps % span


def is_due(steps: int) -> bool:
    """Tell whether members are gathered after this number of steps."""
    return steps == 0 or until_next(steps - 1) == 1


def awake(active: np.ndarray) -> np.ndarray:
    """Return which members to step: the active ones, and enough stopped ones to fill up the size."""
    size = active.size
    while size > 1 and (size + 1) // 2 >= np.sum(active):
        size = (size + 1) // 2
    chosen = np.zeros(active.size, bool)
    chosen[np.argsort(~active.ravel(), kind="stable")[:size]] = True
    return chosen.reshape(active.shape)


def advance(
    dynamics: Dynamics,
    run: RunState,
    goal: jax.Array,
    until: Predicate | None,
    watch: bool,
    members: jax.Array | None,
) -> RunState:
    """Step some of the members, or all if `members` is `None`, until `goal` steps are taken in all."""
    if members is None:
        return loop.advance(dynamics, run, goal, until, watch)
    assert isinstance(dynamics, Ensemble)

    def own(values: PyTree) -> PyTree:
        return member.take(values, members)

    some = run.replace(env=member.each(run.env, own), **{name: own(getattr(run, name)) for name in _PER_MEMBER})
    some = loop.advance(dynamics.some(members), some, goal, until, watch)
    marked = iter(member.marked(run.env))
    env = member.each(some.env, lambda values: member.put(next(marked).values, members, values))
    standing = run.replace(current=run.current & False, trouble=run.trouble & 0)
    per_member = {name: member.put(getattr(standing, name), members, getattr(some, name)) for name in _PER_MEMBER}
    return run.replace(env=env, steps=some.steps, rebuilds=some.rebuilds, **per_member)
