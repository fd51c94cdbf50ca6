"""Values that differ between the members of an ensemble, inside trees that the members share.

An ensemble is one dynamics, one environment and one state for many members. Everything is shared by the members except
`PerMember` nodes, which hold one value for each member.
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
from treedyn.tree._structure import form, map_nodes, nodes

_AXIS = "members"


class PerMember(Struct):
    """A tree for every member of an ensemble.

    Attributes:
        values: the trees, stacked: the first axis of every leaf is the members.
    """

    values: PyTree

    @property
    def members(self) -> int:
        """Return the number of members."""
        return next(jnp.shape(x)[0] for x in jax.tree.leaves(self.values) if tree.is_array(x))


def per_member(values: PyTree) -> PerMember:
    """Mark a tree that differs between members, as a node of a position, a dynamics or an environment.

    Args:
        values: any tree; the first axis of every array leaf is the members.

    Raises:
        ValueError: the leaves do not have the same first axis, or a part is marked already.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> starts = td.per_member({"w": jnp.zeros((8, 3)), "b": jnp.zeros(8)})
        >>> starts.members
        8
    """
    if marked(values):
        raise ValueError("values: expected a tree without PerMember nodes. Mark each part once.")
    numbers = [x for x in jax.tree.leaves(values) if tree.is_array(x) or isinstance(x, int)]
    lengths = {jnp.shape(number)[:1] for number in numbers}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        found = ", ".join(str(n[0]) if n else "none" for n in sorted(lengths)) or "no array"
        raise ValueError(
            f"values: expected leaves with one first axis for all, the members, got {found}. Stack the trees of the "
            "members with td.stack([first, second, ...])."
        )
    return PerMember(values=values)


def stack(trees: Sequence[PyTree]) -> PerMember:
    """Stack one tree for each member, as a node of a position, a dynamics or an environment.

    Args:
        trees: trees of the same structure, shapes and dtypes, one for each member.

    Raises:
        ValueError: the trees differ in structure, shape or dtype, or a part is marked already.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> starts = td.stack([{"w": jnp.zeros(3)}, {"w": jnp.ones(3)}])
        >>> starts.values["w"].shape
        (2, 3)
    """
    if not isinstance(trees, list | tuple) or not trees:
        raise ValueError(f"trees: expected a list with one tree for each member, got {trees!r}")
    if marked(list(trees)):
        raise ValueError("trees: expected trees without PerMember nodes. Mark each part once.")
    boxed = [tree.box(_numbers(one), f"trees[{k}]") for k, one in enumerate(trees)]
    for k, one in enumerate(boxed):
        if form(one) != form(boxed[0]):
            raise ValueError(
                f"trees: expected the same structure, shapes and dtypes for all members, got for member {k}\n    "
                f"{form(one)}\nand for member 0\n    {form(boxed[0])}"
            )
    return PerMember(values=tree.unbox(jax.tree.map(lambda *leaves: jnp.stack(leaves), *boxed)))


def _numbers(one: PyTree) -> PyTree:
    """Return a tree whose Python integers are arrays, so that they can differ between members."""
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, int) and not isinstance(x, bool) else x, one)


def is_per_member(x: object) -> bool:
    """Tell whether `x` is a `PerMember` node."""
    return isinstance(x, PerMember)


def marked(value: PyTree) -> list[PerMember]:
    """Return the `PerMember` nodes of a tree."""
    return nodes(PerMember, value)


def unmarked(value: PyTree) -> PyTree:
    """Return `value` with the values of all members in place of the `PerMember` nodes."""
    return map_nodes(lambda x: x.values, PerMember, value)


def each(value: PyTree, f: Callable[[PyTree], PyTree]) -> PyTree:
    """Return `value` with `f` applied to the values of its `PerMember` nodes."""
    return map_nodes(lambda x: x.replace(values=f(x.values)), PerMember, value)


def over_members(f: Callable[..., Any], shared: PyTree, *batched: PyTree) -> Any:
    """Return `f(shared, *batched)` for every member; `f` sees the values of its member, and its row of `batched`."""
    leaves, structure = jax.tree.flatten(shared, is_leaf=is_per_member)
    places = [k for k, leaf in enumerate(leaves) if is_per_member(leaf)]

    def one(own: list[PyTree], *batched: PyTree) -> Any:
        filled = list(leaves)
        for k, values in zip(places, own, strict=True):
            filled[k] = values
        return f(jax.tree.unflatten(structure, filled), *batched)

    return jax.vmap(one, axis_name=_AXIS)([leaves[k].values for k in places], *batched)


def of_all(values: PyTree) -> PyTree:
    """Return the values of all members, stacked, where a function of one member is mapped over an ensemble.

    Raises:
        ValueError: it is not.
    """
    try:
        return jax.lax.all_gather(values, _AXIS)
    except NameError:
        raise ValueError(
            "state: expected those of all members, because they are tuned together, got that of one member. Step the "
            "whole ensemble, or use pool=False."
        ) from None


def member(value: PyTree, k: int) -> PyTree:
    """Return a tree with the values of member `k` in place of the `PerMember` nodes.

    Raises:
        ValueError: there is no member `k`.
    """
    for node in marked(value):
        check.integer("k", k, 0, node.members)
    return map_nodes(lambda x: take(x.values, jnp.asarray(k)), PerMember, value)


def take(batched: PyTree, members: jax.Array | np.ndarray) -> PyTree:
    """Return one or some of the members; leaves that are not arrays are shared."""
    return jax.tree.map(lambda leaf: leaf[members] if tree.is_array(leaf) else leaf, batched)


def put(batched: PyTree, members: jax.Array, some: PyTree) -> PyTree:
    """Return `batched` with some of its members replaced."""
    return jax.tree.map(lambda old, new: old.at[members].set(new), batched, some)
