"""Blocks of compiled steps, with something recorded or reduced after each of them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._state import State
from treedyn.driver import _narrow as narrow
from treedyn.driver import _reduction as reduction
from treedyn.driver._advance import Progress
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree

Span = tuple[jax.Array, jax.Array, jax.Array]
Observer = Callable[..., Any]


def blocks(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    progress: Progress,
    span: Span,
    kept: tuple[tuple[PyTree, ...], PyTree],
    records: tuple[Observer, ...],
    reduce: PyTree,
    until: Observer | None,
    members: jax.Array | None,
) -> tuple[State, PyTree, Progress, tuple[tuple[PyTree, ...], PyTree]]:
    """Take steps; record and reduce whenever the number of steps taken in all is a multiple of an `every`.

    Args:
        dynamics: what to step.
        state: where to start.
        env: environment.
        progress: that of a loop that has not begun.
        span: steps to take now; `every` for each of `records`, and for the reducers where there are some; the steps
            taken before, modulo each of these. Numbers that need not be known at compile time.
        kept: for each of `records` a tree like `record(state, env)` with a first axis that is longer than the number of
            records, and the carry of the reducers.
        records: what to record.
        reduce: a tree of reducers; `None` for none.
        until: `until(state, env) -> bool`, or `None`.
        members: which members of an ensemble to step, the others stand still; `None` for all.

    Returns:
        State, environment, progress and what is kept; the numbers of records follow from the steps taken.
    """
    steps, every, before = span

    def on(carry: tuple[Any, ...]) -> jax.Array:
        _, _, _, progress, _ = carry
        return (progress.steps < steps) & progress.goes_on

    def block(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        made, state, env, progress, (buffers, sums) = carry
        goal = jnp.minimum(progress.steps + jnp.min(every - (before + progress.steps) % every), steps)
        state, env, progress = narrow.advance(dynamics, state, env, goal - progress.steps, progress, until, members)
        due = (progress.steps == goal) & ((before + goal) % every == 0)
        buffers = tuple(
            _written(buffer, made[k], due[k], dynamics, record, state, env)
            for k, (buffer, record) in enumerate(zip(buffers, records, strict=True))
        )
        if reduce is not None:
            shown = (sums, state, env, progress.current)
            sums = jax.lax.cond(
                due[-1], lambda *shown: reduction.update(dynamics, reduce, *shown), lambda sums, *_: sums, *shown
            )
        return made + due.astype(jnp.int32), state, env, progress, (buffers, sums)

    carry = (jnp.zeros_like(every), state, env, progress, kept)
    _, state, env, progress, kept = jax.lax.while_loop(on, block, carry)
    return state, env, progress, kept


def _written(
    buffer: PyTree,
    place: jax.Array,
    due: jax.Array,
    dynamics: Dynamics,
    record: Observer,
    state: State,
    env: PyTree,
) -> PyTree:
    """Return the buffer with one more record, where one is due."""

    def take(state: State, env: PyTree) -> PyTree:
        return tree.box(dynamics.observe(record, state, env))

    def nothing(state: State, env: PyTree) -> PyTree:
        return jax.tree.map(lambda b: jnp.zeros(b.shape[1:], b.dtype), buffer)

    # What is not due is written too, into a place that is written again or never read: the buffer is never copied.
    taken = jax.lax.cond(due, take, nothing, state, env)
    return jax.tree.map(lambda b, x: jax.lax.dynamic_update_index_in_dim(b, x, place, 0), buffer, taken)
