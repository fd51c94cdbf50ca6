"""Prefix trees: one value for a whole subtree."""

from collections.abc import Callable
from typing import Any

import jax

from treedyn.tree._arithmetic import cast
from treedyn.tree._structure import PyTree, describe


def prefix_map(
    f: Callable[..., Any],
    prefix: PyTree,
    tree: PyTree,
    *rest: PyTree,
    name: str,
    is_leaf: Callable[[Any], bool] | None = None,
) -> PyTree:
    """Map `f(value, leaf, *rest)` over the leaves of `tree`, `value` being that of the subtree of `prefix` above it.

    Args:
        f: function of one value of `prefix`, one leaf of `tree` and the leaves of `rest` at the same place.
        prefix: one value for all, or a tree whose structure is a prefix of that of `tree`.
        tree: the tree to map over.
        *rest: trees of the structure of `tree`.
        name: what the prefix is called by the user; for the error message.
        is_leaf: what to take for a value of the prefix although it has leaves of its own.

    Raises:
        ValueError: the structure of `prefix` does not fit.
    """
    try:
        return jax.tree.map(
            lambda value, part, *others: jax.tree.map(lambda *leaves: f(value, *leaves), part, *others),
            prefix,
            tree,
            *rest,
            is_leaf=is_leaf,
        )
    except ValueError as error:
        if _fits(prefix, tree, is_leaf):
            raise
        raise ValueError(
            f"{name} does not fit the position: expected one value, or a tree that is a prefix of\n"
            f"    {describe(tree)}\ngot\n    {describe(prefix)}\n"
            f"Give {name} as a scalar, or as a tree with the same keys as the position."
        ) from error


def _fits(prefix: PyTree, tree: PyTree, is_leaf: Callable[[Any], bool] | None) -> bool:
    try:
        jax.tree.map(lambda *_: 0, prefix, tree, is_leaf=is_leaf)
    except ValueError:
        return False
    return True


def align(number: Any, leaf: jax.Array, name: str) -> jax.Array:
    """Shape a number or array so that it multiplies `leaf`, its axes aligned with the *leading* axes of the leaf.

    A mass of shape `[N]` belongs to the N particles of a position of shape `[N, 3]`, whatever N is.

    Raises:
        ValueError: the shape is neither a scalar nor broadcastable to the leading axes of the leaf.
    """
    number = cast(number, leaf)
    fits = number.ndim <= leaf.ndim and all(
        n in (1, m) for n, m in zip(number.shape, leaf.shape[: number.ndim], strict=True)
    )
    if not fits:
        raise ValueError(
            f"{name} of shape {number.shape} does not fit a leaf of shape {leaf.shape}: expected a scalar, one number "
            f"per row {leaf.shape[:1]}, or the full shape {leaf.shape}"
        )
    return number.reshape(number.shape + (1,) * (leaf.ndim - number.ndim)) if number.ndim else number


def broadcast(prefix: PyTree, tree: PyTree, name: str) -> PyTree:
    """Give every leaf of `tree` its number from a scalar, a prefix tree or a full tree, in the dtype of the leaf."""
    return prefix_map(lambda number, leaf: align(number, leaf, name), prefix, tree, name=name)
