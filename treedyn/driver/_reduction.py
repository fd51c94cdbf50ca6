"""Reducers in a run: of one system, or of every member of an ensemble.

A reducer of an ensemble has a carry for every member. It does not change while the member stands still. A reducer whose
observable is `td.jointly(...)` sees all members at once and has one carry.
"""

from typing import Any

import jax

from treedyn import stream, tree
from treedyn._joint import is_joint
from treedyn._state import State
from treedyn.driver._run_state import RunState
from treedyn.dynamics._dynamics import Dynamics, seen
from treedyn.dynamics._ensemble import Ensemble
from treedyn.stream._reducer import Reducer
from treedyn.tree import PyTree


def init(dynamics: Dynamics, reduce: PyTree, state: State, env: PyTree) -> PyTree:
    """Return the carries of a tree of reducers before the first observation."""

    def one(reducer: Reducer) -> PyTree:
        return _observed(dynamics, reducer, lambda s, e: reducer.init(s, e), state, env)

    return jax.tree.map(one, reduce, is_leaf=_is_reducer)


def update(dynamics: Dynamics, reduce: PyTree, run: RunState) -> PyTree:
    """Return the carries with one more observation of the members that took the last step."""

    def one(reducer: Reducer, carry: PyTree) -> PyTree:
        new = _observed(dynamics, reducer, lambda s, e, c: reducer.update(c, s, e), run.state, run.env, carry)
        return tree.where(run.current, new, carry) if _is_each(dynamics, reducer) else new

    return _map(one, reduce, run.sums)


def result(dynamics: Dynamics, reduce: PyTree, sums: PyTree) -> PyTree:
    """Return the results of a tree of reducers; those of the members stacked."""

    def one(reducer: Reducer, carry: PyTree) -> PyTree:
        if not _is_each(dynamics, reducer):
            return reducer.result(carry)
        if reducer.pooled:
            return reducer.result(stream.pool(reducer, carry))
        return tree.unbox(jax.vmap(lambda c: tree.box(reducer.result(c)))(carry))

    return _map(one, reduce, sums)


def _observed(dynamics: Dynamics, reducer: Reducer, f: Any, state: State, env: PyTree, *rest: PyTree) -> PyTree:
    if _is_each(dynamics, reducer):
        return dynamics.observe(f, state, env, *rest)
    return seen(f, state, env, *rest)


def _is_each(dynamics: Dynamics, reducer: Reducer) -> bool:
    return isinstance(dynamics, Ensemble) and not is_joint(reducer.of)


def _is_reducer(x: Any) -> bool:
    return isinstance(x, Reducer)


def _map(f: Any, reduce: PyTree, *sums: PyTree) -> PyTree:
    each, structure = jax.tree.flatten(reduce, is_leaf=_is_reducer)
    columns = map(structure.flatten_up_to, sums)
    return structure.unflatten([f(*row) for row in zip(each, *columns, strict=True)])
