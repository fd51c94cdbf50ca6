"""What a target needs besides the position: neighbor lists, minibatches, a projectile.

The environment `env` is any PyTree. Most of it is plain data. Three kinds of node are looked after, wherever in the
tree they stand:

- a `Refreshable` holds for some positions only (a neighbor list): it can say whether it is `valid`, `rebuild` itself
  under jit, and `allocate` itself on the host when it ran out of room;
- a `Timed` is a function of time: the target sees `at(time)` in its place, at the time of every force;
- an `Advancing` moves on its own, once a step.

The environment that is passed to `step` is that of the *end* of the step, where the last force of the step is computed.
So `advance` comes before the step:

    env = environment.advance(env, state)             # from the time of `state` to one step later
    state = dynamics.step(state, env)
    env = environment.update(env, state)              # so that it holds for another step

A node that holds others looks after them itself. In an ensemble, what members have of their own is in a `PerMember`; an
`Advancing` that all share is moved on once, and sees the states of all.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._check import instance
from treedyn._member import PerMember, is_per_member, take
from treedyn._member import member as member
from treedyn._state import State
from treedyn.environment._parts import (
    Advancing,
    Pace,
    Refreshable,
    Timed,
    either,
    for_all,
    is_advancing,
    is_refreshable,
    is_timed,
)
from treedyn.tree import PyTree


def refreshable(env: PyTree) -> list[Refreshable]:
    """Return the parts of `env` that have to be kept valid; those of an ensemble as batches."""
    return [tree.unbox(x) for x in jax.tree.leaves(env, is_leaf=is_refreshable) if is_refreshable(x)]


def plain(env: PyTree) -> PyTree:
    """Return `env` with `None` for every part that has to be kept valid: what does not follow from a position."""
    return jax.tree.map(lambda x: None if is_refreshable(x) else x, env, is_leaf=is_refreshable)


def at(env: PyTree, time: jax.Array | None) -> PyTree:
    """Return `env` as a target sees it at a time: every `Timed` part replaced by what it is then.

    Args:
        env: environment.
        time: the time; `None` where the leaves of the position have times of their own.

    Raises:
        ValueError: there is a `Timed` part, but no time.
    """
    timed = [x for x in jax.tree.leaves(env, is_leaf=is_timed) if is_timed(x)]
    if timed and time is None:
        raise ValueError(
            f"env: {type(timed[0]).__name__} is a function of time, but this dynamics has none: its leaves have a dt "
            "each, or nothing moves its clock. Give one dt and scale the masses instead; an operator moves the clock "
            "if it sets clock = True, and a dynamics if it calls state.later(h)"
        )
    if not timed or time is None:
        return env
    if not time.ndim:
        return _each(is_timed, lambda node, time: node.at(time), env, time)

    # of all members at once: what they share stands there once for each
    def of_all(node: Timed, time: jax.Array) -> Any:
        return tree.unbox(jax.vmap(lambda t: tree.traceable(node.at(t)))(time))

    return _each(is_timed, lambda node, time: node.at(time), env, time, shared=of_all)


def valid(env: PyTree, position: PyTree, time: jax.Array | None = None) -> jax.Array:
    """Tell whether every part of `env` holds at `position`, and at `time` where it depends on that."""
    held = _gather(lambda node, x, t: jnp.asarray(_then(node, t).valid(x)), env, position, time)
    return jnp.all(jnp.stack(held)) if held else jnp.asarray(True)


def status(env: PyTree) -> jax.Array:
    """Return the status words of all parts of `env`, and of all members, combined."""
    word = jnp.uint32(0)
    for found in _gather(lambda node: node.status, env):
        word = word | found
    return word


def update(env: PyTree, state: State) -> PyTree:
    """Return `env` with every part rebuilt that does not hold at `state` and for a step beyond."""
    return _each(is_refreshable, lambda node, x, t: _then(node, t).update(x), env, *_where(state))


def refresh(env: PyTree, state: State) -> PyTree:
    """Return `env` with every part rebuilt that does not hold at the position and time of `state`.

    To be called within a step that goes far, as a proposal of many force evaluations does.
    """

    def one(node: Refreshable, x: PyTree, t: jax.Array | None) -> Refreshable:
        node = _then(node, t)
        return either(for_all(node.valid(x)), node, lambda node, x: node.rebuild(x), x)

    return _each(is_refreshable, one, env, *_where(state))


def _where(state: State) -> tuple[PyTree, jax.Array | None]:
    instance("state", state, State, "what dynamics.init or step returns")
    return state.position, state.time


def rebuild(env: PyTree, position: PyTree, time: jax.Array | None = None) -> PyTree:
    """Return `env` with every refreshable part rebuilt for `position`."""
    return _each(is_refreshable, lambda node, x, t: _then(node, t).rebuild(x), env, position, time)


def allocate(
    env: PyTree, position: PyTree, time: jax.Array | None = None, stand_ins: np.ndarray | None = None
) -> PyTree:
    """Return `env` with every refreshable part allocated for `position`, on the host.

    Args:
        env: environment.
        position: the position; of all members of an ensemble.
        time: its time, where parts depend on it.
        stand_ins: for every member the one whose part and position to take; by default its own.
    """
    if stand_ins is not None:
        position, time = take((position, time), stand_ins)

    def batch(node: Refreshable) -> Refreshable:
        node = node if stand_ins is None else take(node, stand_ins)
        if isinstance(node, Timed) and time is not None:
            node = _members(lambda own, t: own.at(t), PerMember(values=node), time).values
        return node.allocate_members(position)

    def one(node: Any) -> Any:
        if is_per_member(node):
            return node.replace(values=_replaced(is_refreshable, batch, node.values))
        return _then(tree.unbox(node), time).allocate(position) if is_refreshable(node) else node

    return jax.tree.map(one, env, is_leaf=lambda x: is_refreshable(x) or is_per_member(x))


def enlarged(env: PyTree) -> PyTree:
    """Return `env` with more room in every refreshable part, on the host."""
    return _each(is_refreshable, lambda node: node.enlarged(), env)


def tuned(env: PyTree, position: PyTree, pace: Pace) -> PyTree:
    """Return `env` with every refreshable part made as fast as it can be, on the host; lists of members stay."""
    return _shared(is_refreshable, lambda node: node.tuned(position, pace), env)


def advance(env: PyTree, state: Any) -> PyTree:
    """Return `env` at the end of the step that begins at `state`: every advancing part moved on.

    Raises:
        ValueError: one changed more than numbers.
    """

    def moved(node: Advancing, state: Any) -> Advancing:
        out = node.advance(state)
        before, after = (_form(x) for x in (node, out))
        if before != after:
            raise ValueError(
                f"env: {type(node).__name__}.advance must return the same tree, with other numbers in it; got\n"
                f"    {after}\nfor\n    {before}\nkeep what changes in arrays of one shape and dtype: "
                "jnp.asarray(True), not True. What the members of an ensemble share sees the states of all"
            )
        return out

    return _each(is_advancing, moved, env, state)


def moves(env: PyTree) -> bool:
    """Tell whether a part of `env` changes with time."""
    leaves = jax.tree.leaves(env, is_leaf=lambda x: is_timed(x) or is_advancing(x))
    return any(is_timed(x) or is_advancing(x) for x in leaves)


def advancing(env: PyTree) -> list[Any]:
    """Return the parts of `env` that move on their own; those that members have of their own in a `PerMember`.

    With `with_advancing` this lets a loop over steps carry only those: whatever else is in `env`, a neighbor list of
    many megabytes first of all, stays outside the carry, where XLA would copy it every time around.
    """
    found = []
    for x in jax.tree.leaves(env, is_leaf=lambda x: is_advancing(x) or is_per_member(x)):
        if is_advancing(x):
            found.append(x)
        elif is_per_member(x):
            found += [x.replace(values=node) for node in advancing(x.values)]
    return found


def with_advancing(env: PyTree, nodes: list[Any]) -> PyTree:
    """Return `env` with the parts that move on their own replaced, in order, by `nodes`."""
    if not isinstance(nodes, list) or len(nodes) != len(advancing(env)):
        raise ValueError(f"nodes: expected the {len(advancing(env))} that env has, in a list, got {nodes!r}")
    rest = iter(nodes)

    def one(x: Any) -> Any:
        if is_per_member(x):
            return x.replace(values=_replaced(is_advancing, lambda _: next(rest).values, x.values))
        return next(rest) if is_advancing(x) else x

    return jax.tree.map(one, env, is_leaf=lambda x: is_advancing(x) or is_per_member(x))


def check(env: PyTree, holder: Any = None) -> None:
    """Refuse an environment in which a part holds another that it cannot look after.

    Raises:
        ValueError: there is one.
    """
    for x in jax.tree.leaves(env, is_leaf=lambda x: x is not holder and _is_looked_after(x)):
        if not _is_looked_after(x):
            continue
        blind = is_refreshable(holder) and is_timed(x) and not is_timed(holder)
        if holder is not None and (blind or is_per_member(x)):
            raise ValueError(
                f"env: a {type(holder).__name__} holds a {type(x).__name__}, where it is not looked after; "
                + ("derive it from td.Timed as well" if blind else "mark it as a whole, by td.per_member or td.stack")
            )
        check(x, x)


def _is_looked_after(x: Any) -> bool:
    return isinstance(x, Refreshable | Timed | Advancing | PerMember)


def _form(node: Any) -> tuple[Any, list[tuple[Any, Any]]]:
    leaves, structure = jax.tree.flatten(tree.traceable(node))
    return structure, [(jnp.shape(x), str(jnp.result_type(x))) for x in leaves]


def _then(node: Refreshable, time: jax.Array | None) -> Refreshable:
    """Return a part that depends on time as it is then."""
    return node.at(time) if isinstance(node, Timed) and time is not None else node


def _replaced(kind: Callable[[Any], bool], f: Callable[[Any], Any], env: PyTree) -> PyTree:
    """Return `env` with `f` applied to its nodes of a kind."""

    def one(node: Any) -> Any:
        if not kind(node):
            return node
        # A node sees its own fields; it is given back with functions in boxes if that is how it came.
        out = f(tree.unbox(node))
        return tree.traceable(out) if tree.boxed(node) else out

    return jax.tree.map(one, env, is_leaf=kind)


def _shared(kind: Callable[[Any], bool], f: Callable[[Any], Any], env: PyTree) -> PyTree:
    """Return `env` with `f` applied to its nodes of a kind, but for those of members."""
    return jax.tree.map(
        lambda x: x if is_per_member(x) else _replaced(kind, f, x), env, is_leaf=lambda x: kind(x) or is_per_member(x)
    )


def _each(
    kind: Callable[[Any], bool],
    f: Callable[..., Any],
    env: PyTree,
    *context: PyTree,
    shared: Callable[..., Any] | None = None,
) -> PyTree:
    """Return `env` with `f(node, *context)` for its nodes of a kind; those of members see the context of theirs.

    What members share is given to `shared` instead, where there is one.
    """

    def one(x: Any) -> Any:
        if is_per_member(x):
            return _members(lambda values, *own: _each(kind, f, values, *own), x, *context)
        return _replaced(kind, lambda node: (shared or f)(node, *context), x)

    return jax.tree.map(one, env, is_leaf=lambda x: kind(x) or is_per_member(x))


def _gather(f: Callable[..., jax.Array], env: PyTree, *context: PyTree) -> list[jax.Array]:
    """Return `f(node, *context)` of every refreshable node; of those of members combined over the members."""
    found = []
    for x in jax.tree.leaves(env, is_leaf=lambda x: is_refreshable(x) or is_per_member(x)):
        if is_refreshable(x):
            found.append(f(tree.unbox(x), *context))
        elif is_per_member(x) and refreshable(x.values):
            out = _members(lambda values, *own: _gather(f, values, *own), x, *context).values
            found += [jnp.all(y) if y.dtype == bool else jnp.bitwise_or.reduce(y) for y in out]
    return found


def _members(f: Callable[..., Any], node: Any, *context: PyTree) -> Any:
    """Return the marked node with `f(values, *context)` in it, for every member."""

    def one(values: PyTree, *own: PyTree) -> PyTree:
        return tree.traceable(f(tree.unbox(values), *map(tree.unbox, own)))

    out = jax.vmap(one)(*map(tree.traceable, (node.values, *context)))
    return node.replace(values=out if tree.boxed(node.values) else tree.unbox(out))
