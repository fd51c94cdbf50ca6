"""Functions of a whole environment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, UInt32

from treedyn import tree
from treedyn._check import instance
from treedyn._member import PerMember, is_per_member, take
from treedyn._state import State
from treedyn.environment._parts import Advancing, Pace, Refreshable, Timed, either, for_all
from treedyn.tree import PyTree
from treedyn.tree._structure import form, map_nodes, nodes


def refreshable(env: PyTree) -> list[Refreshable]:
    """Return the `Refreshable` parts of `env`; those of an ensemble as batches."""
    return [tree.unbox(x) for x in nodes(Refreshable, env)]


def plain(env: PyTree) -> PyTree:
    """Return `env` with `None` for every `Refreshable` part, whose numbers follow from the position."""
    return map_nodes(lambda _: None, Refreshable, env)


def at(env: PyTree, time: Float[Array, "..."] | None) -> PyTree:
    """Return `env` as a target sees it at a time: with the value of every `Timed` part at that time.

    In an ensemble, there is one time for each member. It is `None` where every leaf has its own dt.

    Raises:
        ValueError: there is a `Timed` part, but no time.
    """
    timed = nodes(Timed, env)
    if timed and time is None:
        raise ValueError(
            f"env: {type(timed[0]).__name__} is a function of time, but this dynamics has no time, because every leaf "
            "has its own dt or because nothing advances its clock. Give one dt and scale the masses instead. An "
            "operator advances the clock if it sets clock = True, and a dynamics if it calls state.later(h)."
        )
    if not timed or time is None:
        return env
    if not time.ndim:
        return _each(Timed, lambda node, time: node.at(time), env, time)

    # the time of every member: a shared part has one value for each
    def of_all(node: Timed, time: jax.Array) -> Any:
        return tree.unbox(jax.vmap(lambda t: tree.traceable(node.at(t)))(time))

    return _each(Timed, lambda node, time: node.at(time), env, time, shared=of_all)


def trusted(env: PyTree) -> PyTree:
    """Return `env` as the target of a dynamics sees it, which asks for the validity of every part itself."""
    return _replaced(Refreshable, lambda node: node.trusted(), env)


def valid(env: PyTree, position: PyTree, time: Float[Array, "..."] | None = None) -> Bool[Array, ""]:
    """Tell whether every part of `env` is valid at `position` and `time`."""
    held = _gather(lambda node, x, t: jnp.asarray(_then(node, t).valid(x)), env, position, time)
    return jnp.all(jnp.stack(held)) if held else jnp.asarray(True)


def status(env: PyTree) -> UInt32[Array, ""]:
    """Return the status words of all parts and members of `env`, combined."""
    word = jnp.uint32(0)
    for found in _gather(lambda node: node.status, env):
        word = word | found
    return word


def update(env: PyTree, state: State) -> PyTree:
    """Return `env` valid at `state` and for one more step, with parts rebuilt where necessary."""
    return _each(Refreshable, lambda node, x, t: _then(node, t).update(x), env, *_where(state))


def refresh(env: PyTree, state: State) -> PyTree:
    """Return `env` valid at `state`, with parts rebuilt where necessary.

    Unlike `update` it leaves no margin, so call it inside a step that moves far, such as a proposal of many force
    evaluations.
    """

    def one(node: Refreshable, x: PyTree, t: jax.Array | None) -> Refreshable:
        node = _then(node, t)
        return either(for_all(node.valid(x)), node, lambda node, x: node.rebuild(x), x)

    return _each(Refreshable, one, env, *_where(state))


def _where(state: State) -> tuple[PyTree, jax.Array | None]:
    instance("state", state, State, "what dynamics.init or step returns")
    return state.position, state.time


def rebuild(env: PyTree, position: PyTree, time: Float[Array, "..."] | None = None) -> PyTree:
    """Return `env` with every `Refreshable` part rebuilt for `position`."""
    return _each(Refreshable, lambda node, x, t: _then(node, t).rebuild(x), env, position, time)


def allocate(
    env: PyTree, position: PyTree, time: Float[Array, "..."] | None = None, stand_ins: np.ndarray | None = None
) -> PyTree:
    """Return `env` with every `Refreshable` part allocated for `position`, on the host.

    Args:
        env: environment.
        position: the position, in an ensemble that of all members.
        time: time of the position, for parts that depend on it.
        stand_ins: for every member, the number of the member whose part and position to use; by default its own.
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
            return node.replace(values=_replaced(Refreshable, batch, node.values))
        return _then(tree.unbox(node), time).allocate(position)

    return map_nodes(one, (Refreshable, PerMember), env)


def enlarged(env: PyTree) -> PyTree:
    """Return `env` with larger `Refreshable` parts, on the host."""
    return _each(Refreshable, lambda node: node.enlarged(), env)


def tuned(env: PyTree, position: PyTree, pace: Pace) -> PyTree:
    """Return `env` with every shared `Refreshable` part tuned for speed, on the host."""

    def one(x: Any) -> Any:
        return x if is_per_member(x) else _replaced(Refreshable, lambda node: node.tuned(position, pace), x)

    return map_nodes(one, (Refreshable, PerMember), env)


def advance(env: PyTree, state: State) -> PyTree:
    """Return `env` at the end of the step that begins at `state`, with every `Advancing` part moved on.

    Raises:
        ValueError: a part changed its structure, shapes or dtypes.
    """

    def moved(node: Advancing, state: State) -> Advancing:
        out = node.advance(state)
        before, after = form(node), form(out)
        if before != after:
            raise ValueError(
                f"env: {type(node).__name__}.advance must return the same tree with other numbers, got\n"
                f"    {after}\nfor\n    {before}\nKeep changing values in arrays of one shape and dtype: "
                "jnp.asarray(True), not True. In an ensemble, a shared part sees the states of all members."
            )
        return out

    return _each(Advancing, moved, env, state)


def beginning(env: PyTree) -> PyTree:
    """Return `env`, at the end of a step, as a new force at the beginning of that step sees it."""
    return _each(Advancing, lambda node: node.beginning(), env)


def moves(env: PyTree) -> bool:
    """Tell whether a part of `env` changes with time."""
    return bool(nodes((Timed, Advancing), env))


def advancing(env: PyTree) -> list[Any]:
    """Return the `Advancing` parts of `env`; those that differ between members in `PerMember` nodes.

    With `with_advancing`, a loop over steps can carry only these parts. XLA copies what a loop carries in every
    iteration, so a large neighbor list stays outside.
    """
    found = []
    for x in nodes((Advancing, PerMember), env):
        found += [x.replace(values=node) for node in advancing(x.values)] if isinstance(x, PerMember) else [x]
    return found


def with_advancing(env: PyTree, nodes: list[Any]) -> PyTree:
    """Return `env` with its `Advancing` parts replaced by `nodes`, in the order of `advancing(env)`."""
    if not isinstance(nodes, list) or len(nodes) != len(advancing(env)):
        raise ValueError(f"nodes: expected the {len(advancing(env))} advancing parts of env in a list, got {nodes!r}")
    rest = iter(nodes)

    def one(x: Any) -> Any:
        if is_per_member(x):
            return x.replace(values=_replaced(Advancing, lambda _: next(rest).values, x.values))
        return next(rest)

    return map_nodes(one, (Advancing, PerMember), env)


def check(env: PyTree, holder: Any = None) -> None:
    """Check that arrays hold numbers, and that every part which contains other parts can update them.

    Args:
        env: the environment.
        holder: the part that contains it.

    Raises:
        ValueError: an array holds objects or strings, or a part is inside one that does not update it.
    """
    kinds = (Refreshable, Timed, Advancing, PerMember)
    for x in jax.tree.leaves(env, is_leaf=lambda x: x is not holder and isinstance(x, kinds)):
        if not isinstance(x, kinds):
            if isinstance(x, np.ndarray | np.generic) and x.dtype.kind in "OSUMm":
                raise ValueError(
                    f"env: expected arrays of numbers, got {x.dtype}{list(x.shape)}. Convert it, or leave it out."
                )
            continue
        blind = isinstance(holder, Refreshable) and isinstance(x, Timed) and not isinstance(holder, Timed)
        if holder is not None and (blind or is_per_member(x)):
            fix = "Derive it from td.Timed as well." if blind else "Mark it as a whole with td.per_member or td.stack."
            raise ValueError(f"env: a {type(holder).__name__} holds a {type(x).__name__}, which nothing updates. {fix}")
        check(x, x)


def _then(node: Refreshable, time: jax.Array | None) -> Refreshable:
    """Return a part at a time, if it depends on time."""
    return node.at(time) if isinstance(node, Timed) and time is not None else node


def _replaced(kind: type, f: Callable[[Any], Any], env: PyTree) -> PyTree:
    """Return `env` with `f` applied to its nodes of a kind."""

    def one(node: Any) -> Any:
        # f sees the fields of the node unboxed, and its result is boxed again if the node was
        out = f(tree.unbox(node))
        return tree.traceable(out) if tree.boxed(node) else out

    return map_nodes(one, kind, env)


def _each(
    kind: type, f: Callable[..., Any], env: PyTree, *context: PyTree, shared: Callable[..., Any] | None = None
) -> PyTree:
    """Return `env` with `f(node, *context)` for its nodes of a kind; nodes of a member see the context of that member.

    If `shared` is given, it is applied instead of `f` to nodes that all members share.
    """

    def one(x: Any) -> Any:
        if is_per_member(x):
            return _members(lambda values, *own: _each(kind, f, values, *own), x, *context)
        return _replaced(kind, lambda node: (shared or f)(node, *context), x)

    return map_nodes(one, (kind, PerMember), env)


def _gather(f: Callable[..., jax.Array], env: PyTree, *context: PyTree) -> list[jax.Array]:
    """Return `f(node, *context)` of every `Refreshable` node, combined over the members of an ensemble."""
    found = []
    for x in nodes((Refreshable, PerMember), env):
        if not isinstance(x, PerMember):
            found.append(f(tree.unbox(x), *context))
        elif refreshable(x.values):
            out = _members(lambda values, *own: _gather(f, values, *own), x, *context).values
            found += [jnp.all(y) if y.dtype == bool else jnp.bitwise_or.reduce(y) for y in out]
    return found


def _members(f: Callable[..., Any], node: Any, *context: PyTree) -> Any:
    """Return the `PerMember` node with `f(values, *context)` of every member."""

    def one(values: PyTree, *own: PyTree) -> PyTree:
        return tree.traceable(f(tree.unbox(values), *map(tree.unbox, own)))

    out = jax.vmap(one)(*map(tree.traceable, (node.values, *context)))
    return node.replace(values=out if tree.boxed(node.values) else tree.unbox(out))
