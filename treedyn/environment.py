"""What a target needs besides the position: neighbor lists, minibatches, a projectile.

The environment `env` is any PyTree. Most of it is plain data. Two kinds of node are looked after by the driver,
wherever in the tree they stand:

- a `Refreshable` holds for some positions only (a neighbor list): it can say whether it is `valid`, `rebuild` itself
  under jit, and `allocate` itself anew on the host when it ran out of room;
- an `Advancing` moves on its own: `advance` is called once after every step.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn.struct import Struct
from treedyn.tree import PyTree


class Pace(NamedTuple):
    """Say how fast a run is.

    Attributes:
        seconds: seconds per step.
        life: steps between two rebuilds.
        left: steps that are still to be taken.
    """

    seconds: float
    life: float
    left: int


class Refreshable(Struct):
    """Hold something that was made for one position and is good for positions near it.

    `valid` is asked at every force evaluation, with the position the force is computed at; a step that used an
    invalid one sets `Status.STALE`, and `run` takes it again with a rebuilt one.

    Attributes:
        margin: `update` rebuilds once this fraction of the way to invalidity is used up, so that a loop which calls
            it after every step never steps onto stale ground. In `(0, 1]`.
    """

    margin: ClassVar[float] = 0.75

    @property
    def status(self) -> jax.Array:
        """Return the status word: what went wrong while this was built."""
        return jnp.uint32(0)

    def valid(self, position: PyTree, margin: float = 1.0) -> jax.Array:
        """Tell whether this still holds at `position`, with at most the fraction `margin` of its room used up."""
        raise NotImplementedError

    def rebuild(self, position: PyTree) -> Self:
        """Return one made for `position`, with unchanged shapes: pure and safe under jit."""
        raise NotImplementedError

    def allocate(self, position: PyTree) -> Self:
        """Return one made for `position`, with shapes that are large enough: on the host, never under jit."""
        raise NotImplementedError

    def tuned(self, position: PyTree, pace: "Pace") -> Self:
        """Return one that is as good at `position` and makes the rest of a run faster: on the host, by default itself.

        `run` asks once, when it knows its pace.
        """
        del position, pace
        return self

    def update(self, position: PyTree) -> Self:
        """Return one that holds at `position` and for a step beyond: itself where it does, else rebuilt.

        Under `vmap` all members of a batch are rebuilt as soon as one of them has to be.
        """
        holds = for_all(self.valid(position, margin=self.margin))
        return either(holds, self, lambda env, x: env.rebuild(x), position)


def either(holds: jax.Array, node: Any, rebuilt: Callable[..., Any], *arguments: PyTree) -> Any:
    """Return `node` where it holds, else `rebuilt(node, *arguments)`; functions may be in any of them."""

    def anew(node: PyTree, *arguments: PyTree) -> PyTree:
        return tree.traceable(rebuilt(tree.unbox(node), *map(tree.unbox, arguments)))

    operands = map(tree.traceable, (node, *arguments))
    return tree.unbox(jax.lax.cond(holds, lambda node, *_: node, anew, *operands))


@jax.custom_batching.custom_vmap
def for_all(holds: jax.Array) -> jax.Array:
    """Return `holds`; under `vmap`, whether it holds for the whole batch.

    A condition that differs within a batch would be a choice between two results that are both computed, every time.
    """
    return holds


@for_all.def_vmap
def _for_all_of_batch(axis_size: int, in_batched: list[bool], holds: jax.Array) -> tuple[jax.Array, bool]:
    del axis_size
    return (jnp.all(holds), False) if in_batched[0] else (holds, False)


class Advancing(Struct):
    """Hold something that changes by itself from step to step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> class Projectile(td.Advancing):
        ...     position: jax.Array
        ...     velocity: jax.Array
        ...     def advance(self, state):
        ...         return self.replace(position=self.position + 0.1 * self.velocity)
        >>> shot = Projectile(position=jnp.zeros(2), velocity=jnp.array([1.0, 0.0]))
        >>> print(td.environment.advance({"shot": shot}, None)["shot"].position)
        [0.1 0. ]
    """

    def advance(self, state: Any) -> Self:
        """Return what this becomes once `state` was reached."""
        raise NotImplementedError


def _is_refreshable(x: Any) -> bool:
    return isinstance(x, Refreshable)


def _is_advancing(x: Any) -> bool:
    return isinstance(x, Advancing)


def refreshable(env: PyTree) -> list[Refreshable]:
    """Return the parts of `env` that have to be kept valid."""
    return [tree.unbox(x) for x in jax.tree.leaves(env, is_leaf=_is_refreshable) if _is_refreshable(x)]


def plain(env: PyTree) -> PyTree:
    """Return `env` with `None` for every part that has to be kept valid: what does not follow from a position."""
    return _each(_is_refreshable, lambda _: None, env)


def valid(env: PyTree, position: PyTree) -> jax.Array:
    """Tell whether every part of `env` holds at `position`."""
    held = [jnp.asarray(node.valid(position)) for node in refreshable(env)]
    return jnp.all(jnp.stack(held)) if held else jnp.asarray(True)


def status(env: PyTree) -> jax.Array:
    """Return the status words of all parts of `env`, combined."""
    word = jnp.uint32(0)
    for node in refreshable(env):
        word = word | node.status
    return word


def _each(kind: Callable[[Any], bool], f: Callable[[Any], Any], env: PyTree) -> PyTree:
    def one(node: Any) -> Any:
        if not kind(node):
            return node
        # A node sees its own fields; it is given back with functions in boxes if that is how it came.
        out = f(tree.unbox(node))
        return tree.traceable(out) if tree.boxed(node) else out

    return jax.tree.map(one, env, is_leaf=kind)


def update(env: PyTree, position: PyTree) -> PyTree:
    """Return `env` with every part that no longer holds for long rebuilt."""
    return _each(_is_refreshable, lambda node: node.update(position), env)


def rebuild(env: PyTree, position: PyTree) -> PyTree:
    """Return `env` with every refreshable part rebuilt for `position`."""
    return _each(_is_refreshable, lambda node: node.rebuild(position), env)


def allocate(env: PyTree, position: PyTree) -> PyTree:
    """Return `env` with every refreshable part allocated anew for `position`, on the host."""
    return _each(_is_refreshable, lambda node: node.allocate(position), env)


def tuned(env: PyTree, position: PyTree, pace: Pace) -> PyTree:
    """Return `env` with every refreshable part made as fast as it can be, on the host."""
    return _each(_is_refreshable, lambda node: node.tuned(position, pace), env)


def advance(env: PyTree, state: Any) -> PyTree:
    """Return `env` with every advancing part moved on by one step.

    Raises:
        ValueError: one changed something that is no array.
    """

    def moved(node: Advancing) -> Advancing:
        out = node.advance(state)
        before, after = (jax.tree.structure(tree.traceable(x)) for x in (node, out))
        if before != after:
            raise ValueError(
                f"env: {type(node).__name__}.advance must return the same tree, with other numbers in it; got\n"
                f"    {after}\nfor\n    {before}\nkeep what changes in arrays: jnp.asarray(True), not True"
            )
        return out

    return _each(_is_advancing, moved, env)


def advancing(env: PyTree) -> list[Advancing]:
    """Return the parts of `env` that move on their own.

    With `with_advancing` this lets a loop over steps carry only those: whatever else is in `env`, a neighbor list of
    many megabytes first of all, stays outside the carry, where XLA would copy it every time around.
    """
    return [x for x in jax.tree.leaves(env, is_leaf=_is_advancing) if _is_advancing(x)]


def with_advancing(env: PyTree, nodes: list[Advancing]) -> PyTree:
    """Return `env` with the parts that move on their own replaced, in order, by `nodes`."""
    if not isinstance(nodes, list) or len(nodes) != len(advancing(env)):
        raise ValueError(f"nodes: expected the {len(advancing(env))} that env has, in a list, got {nodes!r}")
    replacement = iter(nodes)
    return _each(_is_advancing, lambda _: next(replacement), env)
