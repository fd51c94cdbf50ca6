"""Run what is left of an ensemble, so that members that are done cost nothing.

Once half of the members stand still, those that go on are gathered into an ensemble of half the size, and so on: a few
sizes, for each of which the loop is compiled once. Noise belongs to the slot of a member, so nothing else changes.
"""

from typing import Any

import jax
import numpy as np

from treedyn import member
from treedyn.driver import reduction
from treedyn.driver.checkpoint import Moment
from treedyn.dynamics.dynamics import Dynamics
from treedyn.dynamics.ensemble import Ensemble
from treedyn.tree import PyTree


def chosen(dynamics: Dynamics, active: np.ndarray) -> np.ndarray | None:
    """Return the members to run: those that go on, and some that stand still to fill up; `None` for all.

    Args:
        dynamics: the whole ensemble, or a dynamics of one system.
        active: which members go on.
    """
    if not isinstance(dynamics, Ensemble):
        return None
    size = len(active)
    while size > 1 and (size + 1) // 2 >= np.sum(active):
        size = (size + 1) // 2
    order = np.argsort(~active, kind="stable")[:size]
    return None if size == len(active) else np.sort(order)


def take(moment: Moment, members: np.ndarray, reduce: PyTree) -> Moment:
    """Return what a run has to know of some members."""
    return Moment(
        state=member.take(moment.state, members),
        env=member.each(moment.env, lambda values: member.take(values, members)),
        ahead=member.take(moment.ahead, members),
        sums=reduction.of_members(reduce, moment.sums, lambda sums: member.take(sums, members)),
        failed=moment.failed[members],
        finished=moment.finished[members],
    )


def put(moment: Moment, members: np.ndarray, some: Moment, reduce: PyTree) -> Moment:
    """Return what a run has to know of all members, after some of them went on."""
    marked = iter(member.marked(moment.env))

    def widened(values: PyTree) -> PyTree:
        return member.put(next(marked).values, members, values)

    whole = np.copy(moment.failed), np.copy(moment.finished)
    whole[0][members], whole[1][members] = some.failed, some.finished
    return Moment(
        state=member.put(moment.state, members, some.state),
        env=member.each(some.env, widened),
        ahead=member.put(moment.ahead, members, some.ahead),
        sums=reduction.of_members(reduce, moment.sums, lambda sums, new: member.put(sums, members, new), some.sums),
        failed=whole[0],
        finished=whole[1],
    )


def put_records(records: PyTree, members: np.ndarray, last: PyTree) -> PyTree:
    """Return records of all members from those of some; the others stand still, and `last` is what they look like.

    Args:
        records: `[records, some, ...]`.
        members: which they are.
        last: `[members, ...]`.
    """

    def one(some: np.ndarray, all_: Any) -> np.ndarray:
        whole = np.repeat(np.asarray(all_)[None], len(some), axis=0)
        whole[:, members] = some
        return whole

    return jax.tree.map(one, records, last)


__all__ = ["chosen", "put", "put_records", "take"]
