"""One chunk of a run: compiled steps, with records and reductions between them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn.driver import _compact as compact
from treedyn.driver import _reduction as reduction
from treedyn.driver._run_state import RunState
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree

Observer = Callable[..., Any]


@partial(jax.jit, static_argnames=("records", "until", "watch"), donate_argnames=("buffers",))
def advance(
    dynamics: PyTree,
    run: RunState,
    buffers: tuple[PyTree, ...],
    goal: jax.Array,
    every: jax.Array,
    reduce: PyTree,
    members: jax.Array | None,
    *,
    records: tuple[Observer, ...],
    until: Observer | None,
    watch: bool,
) -> tuple[RunState, tuple[PyTree, ...]]:
    """Step until `goal` steps are taken in all; record and reduce at every multiple of an `every`.

    Args:
        dynamics: what to step, traceable.
        run: where to start.
        buffers: for each of `records` a tree like its result, with a first axis longer than the number of records.
        goal: number of steps.
        every: steps between two records, for each of `records`, and for the reducers if there are any.
        reduce: a tree of reducers, or `None`.
        members: which members of an ensemble to step; `None` for all.
        records: what to record.
        until: `until(state, env) -> bool`, or `None`.
        watch: whether to refuse steps that gain energy from nowhere.
    """
    dynamics = tree.unbox(dynamics)
    run = run.replace(trouble=jnp.zeros_like(run.failed), current=jnp.ones_like(run.finished))
    if not records and reduce is None:
        return compact.advance(dynamics, run, goal, until, watch, members), buffers

    def on(carry: tuple[Any, ...]) -> jax.Array:
        _, run, _ = carry
        return (run.steps < goal) & run.goes_on

    def block(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        made, run, buffers = carry
        stop = jnp.minimum(run.steps + jnp.min(every - run.steps % every), goal)
        run = compact.advance(dynamics, run, stop, until, watch, members)
        due = (run.steps == stop) & (stop % every == 0)
        buffers = tuple(
            _written(buffer, made[k], due[k], dynamics, record, run)
            for k, (buffer, record) in enumerate(zip(buffers, records, strict=True))
        )
        if reduce is not None:
            run = run.replace(sums=jax.lax.cond(due[-1], partial(reduction.update, dynamics, reduce), _sums, run))
        return made + due.astype(jnp.int32), run, buffers

    _, run, buffers = jax.lax.while_loop(on, block, (jnp.zeros_like(every), run, buffers))
    return run, buffers


def _sums(run: RunState) -> PyTree:
    return run.sums


def _written(
    buffer: PyTree, place: jax.Array, due: jax.Array, dynamics: Dynamics, record: Observer, run: RunState
) -> PyTree:
    """Return the buffer with one more record, if one is due."""

    def take(run: RunState) -> PyTree:
        return tree.box(dynamics.observe(record, run.state, run.env))

    def nothing(run: RunState) -> PyTree:
        return jax.tree.map(lambda b: jnp.zeros(b.shape[1:], b.dtype), buffer)

    # A record that is not due goes to a place that is overwritten later or never read, so the buffer is never copied.
    taken = jax.lax.cond(due, take, nothing, run)
    return jax.tree.map(lambda b, x: jax.lax.dynamic_update_index_in_dim(b, x, place, 0), buffer, taken)
