"""What differs from member to member of an ensemble, in trees that are otherwise shared.

An ensemble is one dynamics, one environment and one state for many members. Whatever is not marked is the same for all;
a `PerMember` node holds something else for each of them.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct
from treedyn.tree import PyTree


class PerMember(Struct):
    """A tree for every member of an ensemble.

    Attributes:
        values: the trees, stacked: every leaf with one more axis in front, the members.
    """

    values: PyTree

    @property
    def members(self) -> int:
        """Return the number of members."""
        return next(jnp.shape(x)[0] for x in jax.tree.leaves(self.values) if tree.is_array(x))


def per_member(values: PyTree) -> PerMember:
    """Mark a tree as one that differs from member to member.

    Args:
        values: any tree whose array leaves have one axis in front, the members, all of the same length.

    Returns:
        A `PerMember`, to stand in a position, a dynamics or an environment.

    Raises:
        ValueError: leaves have no first axis, or different ones.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> starts = td.per_member({"w": jnp.zeros((8, 3)), "b": jnp.zeros(8)})
        >>> starts.members
        8
    """
    if marked(values):
        raise ValueError("values: expected a tree without PerMember nodes, got one that has some; mark each part once")
    numbers = [x for x in jax.tree.leaves(values) if tree.is_array(x) or isinstance(x, int)]
    lengths = {jnp.shape(number)[:1] for number in numbers}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        found = ", ".join(str(n[0]) if n else "none" for n in sorted(lengths)) or "no array"
        raise ValueError(
            f"values: expected leaves with one first axis for all, the members, got {found}; stack what each member "
            "has with td.stack([first, second, ...])"
        )
    return PerMember(values=values)


def stack(trees: Sequence[PyTree]) -> PerMember:
    """Stack a tree for each member.

    Args:
        trees: trees of the same structure, shapes and dtypes, one for each member.

    Returns:
        A `PerMember`, to stand in a position, a dynamics or an environment.

    Raises:
        ValueError: the trees differ in structure or shape.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> starts = td.stack([{"w": jnp.zeros(3)}, {"w": jnp.ones(3)}])
        >>> starts.values["w"].shape
        (2, 3)
    """
    if not isinstance(trees, list | tuple) or not trees:
        raise ValueError(f"trees: expected a list with one tree for each member, got {trees!r}")
    if marked(list(trees)):
        raise ValueError("trees: expected trees without PerMember nodes, got one that has some; mark each part once")
    boxed = [tree.box(_numbers(one), f"trees[{k}]") for k, one in enumerate(trees)]
    for k, one in enumerate(boxed):
        if _form(one) != _form(boxed[0]):
            raise ValueError(
                f"trees: expected the same structure, shapes and dtypes for all members, got for member {k}\n    "
                f"{_form(one)}\nand for member 0\n    {_form(boxed[0])}"
            )
    return PerMember(values=tree.unbox(jax.tree.map(lambda *leaves: jnp.stack(leaves), *boxed)))


def _numbers(one: PyTree) -> PyTree:
    """Return a tree whose Python integers are arrays, so that they can differ from member to member."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, int) and not isinstance(x, bool) else x, one)


def _form(boxed: PyTree) -> tuple[Any, list[Any]]:
    return jax.tree.structure(boxed), [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(boxed)]


def is_per_member(x: Any) -> bool:
    """Tell whether `x` differs from member to member."""
    return isinstance(x, PerMember)


def marked(value: PyTree) -> list[PerMember]:
    """Return the nodes of a tree that differ from member to member."""
    return [x for x in jax.tree.leaves(value, is_leaf=is_per_member) if is_per_member(x)]


def unmarked(value: PyTree) -> PyTree:
    """Return `value` with what the marked nodes hold in their places, all members at once."""
    return jax.tree.map(lambda x: x.values if is_per_member(x) else x, value, is_leaf=is_per_member)


def each(value: PyTree, f: Callable[[PyTree], PyTree]) -> PyTree:
    """Return `value` with `f` applied to what its marked nodes hold."""
    return jax.tree.map(
        lambda x: x.replace(values=f(x.values)) if is_per_member(x) else x, value, is_leaf=is_per_member
    )


def over_members(f: Callable[..., Any], shared: PyTree, *batched: PyTree) -> Any:
    """Return `f(shared, *batched)` for every member at once.

    Args:
        f: sees `shared` as one member does, with its own values in place of the marked nodes, and its own part of
            `batched`. It returns arrays.
        shared: any tree of arrays, with marked nodes in it.
        *batched: trees whose leaves all have the members as their first axis.
    """
    leaves, structure = jax.tree.flatten(shared, is_leaf=is_per_member)
    places = [k for k, leaf in enumerate(leaves) if is_per_member(leaf)]

    def one(own: list[PyTree], *batched: PyTree) -> Any:
        filled = list(leaves)
        for k, values in zip(places, own, strict=True):
            filled[k] = values
        return f(jax.tree.unflatten(structure, filled), *batched)

    return jax.vmap(one)([leaves[k].values for k in places], *batched)


def member(value: PyTree, k: int) -> PyTree:
    """Return what member `k` sees of a dynamics or an environment: its own values in place of the marked nodes.

    Raises:
        ValueError: `k` is not the number of a member.
    """
    for node in marked(value):
        check.integer("k", k, 0, node.members)
    return jax.tree.map(
        lambda x: take(x.values, jnp.asarray(k)) if is_per_member(x) else x,
        value,
        is_leaf=is_per_member,
    )


def take(batched: PyTree, members: jax.Array | np.ndarray) -> PyTree:
    """Return some of the members, or one; leaves that are not arrays are shared."""
    return jax.tree.map(lambda leaf: leaf[members] if tree.is_array(leaf) else leaf, batched)


def put(batched: PyTree, members: jax.Array, some: PyTree) -> PyTree:
    """Return `batched` with some of its members replaced."""

    def one(all_: jax.Array, part: jax.Array) -> jax.Array:
        if jnp.issubdtype(all_.dtype, jax.dtypes.prng_key):
            data = jax.random.key_data(all_).at[members].set(jax.random.key_data(part))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(all_))
        return all_.at[members].set(part)

    return jax.tree.map(one, batched, some)


__all__ = ["PerMember", "per_member", "stack"]
