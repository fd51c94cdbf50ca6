"""The compiled loop: many steps, each of them on a valid environment.

While neighbor lists are valid they are loop invariants: the inner loop closes over them and carries only the run state
and the parts of the environment that advance. A step whose forces used an invalid list is refused. It is taken again,
from the state before it, with a rebuilt list.

Refused steps are rare, because a list is rebuilt after the last step for which it is valid. After every step, the next
position is extrapolated by one more step like the last. If the list is not valid there, it is rebuilt for that
position, where it is used first, so it lives one step longer. Whether a list is rebuilt depends on the step alone, so
results do not depend on how a run is cut into chunks.

The members of an ensemble step together, and their lists are rebuilt together. Scalars of one system, such as status
words and flags, are arrays over the members. A member that failed or finished stands still.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import environment, tree
from treedyn._member import is_per_member
from treedyn._state import State
from treedyn._status import Status, clear, has, word
from treedyn.driver._run_state import RunState
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree

Predicate = Callable[..., Any]

REPAIRABLE = Status.OVERFLOW | Status.BOX


def advance(dynamics: Dynamics, run: RunState, goal: jax.Array, until: Predicate | None, watch: bool) -> RunState:
    """Step until `goal` steps are taken in all; stop early on trouble or when `until` holds.

    Args:
        dynamics: what to step.
        run: where to start, the status of its state 0.
        goal: number of steps, which need not be known at compile time.
        until: `until(state, env) -> bool`, or `None`.
        watch: whether to refuse steps that gain energy from nowhere.
    """
    loop = _Loop(dynamics, goal, until, watch)
    no = jnp.asarray(False)
    if not environment.refreshable(run.env):
        run, _, _ = loop.while_valid(run, no)
        return run

    def on(carry: tuple[RunState, jax.Array, jax.Array]) -> jax.Array:
        run, stale, _ = carry
        return ((run.steps < goal) & run.goes_on) | stale

    def stretch(carry: tuple[RunState, jax.Array, jax.Array]) -> tuple[RunState, jax.Array, jax.Array]:
        run, stale, fresh = carry
        position, time = run.ahead

        # A loop of at most one turn instead of a cond: the branch that keeps the list would copy it.
        def rebuild(carry: tuple[jax.Array, PyTree]) -> tuple[jax.Array, PyTree]:
            return no, environment.rebuild(carry[1], tree.unbox(position), time)

        _, env = jax.lax.while_loop(lambda carry: carry[0], rebuild, (stale, run.env))
        run = run.replace(env=env, rebuilds=run.rebuilds + stale.astype(jnp.int32))
        return loop.while_valid(run, fresh)

    run, _, _ = jax.lax.while_loop(on, stretch, (run, no, no))
    return run


class _Loop:
    """What the inner loop closes over."""

    def __init__(self, dynamics: Dynamics, goal: jax.Array, until: Predicate | None, watch: bool) -> None:
        self.dynamics, self.goal, self.until, self.watch = dynamics, goal, until, watch

    def while_valid(self, run: RunState, fresh: jax.Array) -> tuple[RunState, jax.Array, jax.Array]:
        """Step until the goal, trouble, or an invalid environment.

        `fresh` says that the environment was built for this very state: a step that is stale even then went too far.

        Returns:
            The run, whether its environment has to be rebuilt, and `fresh`.
        """
        env = run.env  # not carried: it is the same in every step, but for the parts that advance

        def on(carry: tuple[Any, ...]) -> jax.Array:
            run, _, stale, _ = carry
            return (run.steps < self.goal) & run.goes_on & ~stale

        def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            run, nodes, _, fresh = carry
            there = environment.advance(environment.with_advancing(env, nodes), run.state)
            new = self.dynamics.step(run.state, tree.unbox(there))
            run, again, fresh = self._judged(run, new, there, fresh)
            moved = zip(environment.advancing(there), nodes, strict=True)
            nodes = [_moved(run.current, a, b) for a, b in moved]
            if self.until is not None:
                now = environment.with_advancing(env, nodes)
                ended = jnp.asarray(self.dynamics.observe(self.until, run.state, now)).astype(bool)
                run = run.replace(finished=run.finished | (run.current & ended))
            return run, nodes, again, fresh

        start = (run.replace(env=None, sums=None, awake=None), environment.advancing(env), jnp.asarray(False), fresh)
        end, nodes, stale, fresh = jax.lax.while_loop(on, one, start)
        return end.replace(env=environment.with_advancing(env, nodes), sums=run.sums, awake=run.awake), stale, fresh

    def _judged(
        self, run: RunState, new: State, there: PyTree, fresh: jax.Array
    ) -> tuple[RunState, jax.Array, jax.Array]:
        """Accept or refuse a step; tell whether the environment has to be rebuilt, and whether for the same state."""
        old, lists = run.state, bool(environment.refreshable(there))
        status = new.status | self.dynamics.inspect(old, new) if self.watch else new.status
        lost = jnp.where(run.active, status, jnp.uint32(0))
        stale = has(lost, Status.STALE)
        # What was computed with a stale list says nothing, be it NaN: take the step again before believing it.
        again = jnp.asarray(False)
        if lists:
            again = jnp.any(stale) & ~fresh
            lost = clear(lost, Status.STALE) | word(Status.TOO_FAR, stale)
            lost = jnp.where(again, jnp.uint32(0), lost)
        repairable = has(lost, REPAIRABLE)
        broken = jnp.any(repairable)
        good = run.active & (lost == jnp.uint32(0)) & ~again & ~broken
        run = run.replace(
            state=tree.where(good, new, old),
            steps=run.steps + jnp.any(good).astype(jnp.int32),
            trouble=jnp.where(repairable, lost, jnp.uint32(0)),
            failed=run.failed | jnp.where(broken, jnp.uint32(0), lost),
            current=good,
        )
        if not lists:
            return run, again, again
        # A list that is not going to be valid for the next step is rebuilt now.
        ahead = tree.where(good, self.dynamics.ahead(old, new), (old.boxed, old.time))
        outlived = ~environment.valid(there, tree.unbox(ahead[0]), ahead[1])
        rebuild = (again | outlived) & run.goes_on
        return run.replace(ahead=tree.where(rebuild, ahead, run.ahead)), rebuild, again


def _moved(good: jax.Array, new: Any, old: Any) -> Any:
    """Return a part of the environment after a step; a part that all members share advances as long as one does."""
    return tree.where(good if is_per_member(old) else jnp.any(good), new, old)
