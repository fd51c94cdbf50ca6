"""The compiled loop: many steps on a valid environment.

Lists are loop-invariant while they hold: the inner loop over steps closes over them, and carries only the state and the
parts of the environment that move on their own. A step whose forces turn out to stand on an invalid list is not
accepted; it is taken again, from the state before it, with a rebuilt list.

So that this hardly ever happens, a list is rebuilt after the last step that it is good for: after every step the next
position is extrapolated, by one more step like the last. The list is rebuilt for that position, where it is used first,
and so lives a step longer. Whether it is rebuilt follows from the step alone, so it does not depend on how a run is cut
into chunks.

The members of an ensemble step together, and their lists are rebuilt together. What is a scalar for one system is an
array over the members: the status words, and whether a member goes on. One that failed, or for which `until` held,
stands still.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import environment, tree
from treedyn._member import is_per_member
from treedyn._state import State
from treedyn._status import Status, clear, has, word
from treedyn._struct import Struct
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree

Predicate = Callable[..., Any]
Ahead = tuple[PyTree, jax.Array | None]

REPAIRABLE = Status.OVERFLOW | Status.BOX


class Progress(Struct):
    """How far a loop came.

    Attributes:
        steps: accepted steps.
        rebuilds: rebuilds of the environment.
        trouble: status word of the step that could not be taken, where the host may repair what was wrong; of every
            member. 0 while all is well.
        failed: status word of the step that cannot be taken; of every member.
        finished: whether the user's `until` held; of every member.
        current: whether a member took the last step.
        ahead: the position that the environment was last rebuilt for, or is about to be, boxed, and its time.
    """

    steps: jax.Array
    rebuilds: jax.Array
    trouble: jax.Array
    failed: jax.Array
    finished: jax.Array
    current: jax.Array
    ahead: Ahead

    @property
    def active(self) -> jax.Array:
        """Tell which members go on."""
        return (self.failed == jnp.uint32(0)) & ~self.finished

    @property
    def goes_on(self) -> jax.Array:
        """Tell whether there is a member that goes on, and nothing to repair first."""
        return jnp.all(self.trouble == jnp.uint32(0)) & jnp.any(self.active)


def start(ahead: Ahead, failed: jax.Array, finished: jax.Array) -> Progress:
    """Return the progress of a loop that has not begun.

    Args:
        ahead: the position that the environment was made for, boxed, and its time.
        failed: status words of members that failed before.
        finished: members for which the user's `until` held before.
    """
    return Progress(
        steps=jnp.int32(0),
        rebuilds=jnp.int32(0),
        trouble=jnp.zeros_like(failed),
        failed=failed,
        finished=finished,
        current=jnp.ones_like(finished),
        ahead=ahead,
    )


def advance(
    dynamics: Dynamics, state: State, env: PyTree, steps: jax.Array, progress: Progress, until: Predicate | None
) -> tuple[State, PyTree, Progress]:
    """Take `steps` more steps; stop early on trouble or when `until` holds.

    Args:
        dynamics: what to step.
        state: where to start, its status 0.
        env: environment.
        steps: how many steps, a number that need not be known at compile time.
        progress: how far the loop came before.
        until: `until(state, env) -> bool`, or `None`.

    Returns:
        The last accepted state, its environment, and the progress.
    """
    goal = progress.steps + steps
    stale = jnp.asarray(False)
    fresh = jnp.asarray(False)
    loop = _Loop(dynamics, goal, until)
    if not environment.refreshable(env):
        state, env, progress, _, _ = loop.while_valid(state, env, progress, fresh)
        return state, env, progress

    def on(carry: tuple[Any, ...]) -> jax.Array:
        _, _, progress, stale, _ = carry
        return ((progress.steps < goal) & progress.goes_on) | stale

    def stretch(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        state, env, progress, stale, fresh = carry

        # A loop of at most one turn instead of a cond: the branch that keeps the list would copy it.
        def rebuild(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            _, env = carry
            position, time = progress.ahead
            return jnp.asarray(False), environment.rebuild(env, tree.unbox(position), time)

        progress = progress.replace(rebuilds=progress.rebuilds + stale.astype(jnp.int32))
        _, env = jax.lax.while_loop(lambda carry: carry[0], rebuild, (stale, env))
        return loop.while_valid(state, env, progress, fresh)

    state, env, progress, _, _ = jax.lax.while_loop(on, stretch, (state, env, progress, stale, fresh))
    return state, env, progress


class _Loop:
    """What the inner loop closes over."""

    def __init__(self, dynamics: Dynamics, goal: jax.Array, until: Predicate | None) -> None:
        self.dynamics = dynamics
        self.goal = goal
        self.until = until

    def while_valid(
        self, state: State, env: PyTree, progress: Progress, fresh: jax.Array
    ) -> tuple[State, PyTree, Progress, jax.Array, jax.Array]:
        """Step until the goal, trouble, or an environment that no longer holds.

        `fresh` says that the environment was made for this very state: a step that is stale even then went too far.
        """

        def on(carry: tuple[Any, ...]) -> jax.Array:
            _, _, progress, stale, _ = carry
            return (progress.steps < self.goal) & progress.goes_on & ~stale

        def one(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            state, nodes, progress, _, fresh = carry
            there = environment.advance(environment.with_advancing(env, nodes), state)
            new = self.dynamics.step(state, tree.unbox(there))
            lost = jnp.where(progress.active, new.status, jnp.uint32(0))
            stale = has(lost, Status.STALE)
            # What was computed with a stale list says nothing, be it NaN: take the step again before believing it.
            again = jnp.asarray(False)
            if environment.refreshable(env):
                again = jnp.any(stale) & ~fresh
                lost = clear(lost, Status.STALE) | word(Status.TOO_FAR, stale)
                lost = jnp.where(again, jnp.uint32(0), lost)
            repairable = has(lost, REPAIRABLE)
            broken = jnp.any(repairable)
            good = progress.active & (lost == jnp.uint32(0)) & ~again & ~broken
            progress = progress.replace(
                steps=progress.steps + jnp.any(good).astype(jnp.int32),
                trouble=jnp.where(repairable, lost, jnp.uint32(0)),
                failed=progress.failed | jnp.where(broken, jnp.uint32(0), lost),
                current=good,
            )
            fresh = again
            if environment.refreshable(env):
                # nor is a list kept that is not going to hold for the next step
                ahead = tree.where(good, self.dynamics.ahead(state, new), (state.boxed, state.time))
                outlived = ~environment.valid(there, tree.unbox(ahead[0]), ahead[1])
                again = (again | outlived) & progress.goes_on
                progress = progress.replace(ahead=tree.where(again, ahead, progress.ahead))
            state = tree.where(good, new, state)
            nodes = [_moved(good, a, b) for a, b in zip(environment.advancing(there), nodes, strict=True)]
            if self.until is not None:
                now = environment.with_advancing(env, nodes)
                ended = jnp.asarray(self.dynamics.observe(self.until, state, now)).astype(bool)
                progress = progress.replace(finished=progress.finished | (good & ended))
            return state, nodes, progress, again, fresh

        start = (state, environment.advancing(env), progress, jnp.asarray(False), fresh)
        state, nodes, progress, stale, fresh = jax.lax.while_loop(on, one, start)
        return state, environment.with_advancing(env, nodes), progress, stale, fresh


def _moved(good: jax.Array, new: Any, old: Any) -> Any:
    """Return a part of the environment as it is after a step; what all members share goes on as long as one does."""
    return tree.where(good if is_per_member(old) else jnp.any(good), new, old)
