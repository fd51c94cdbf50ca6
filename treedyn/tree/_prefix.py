"""Prefix trees: one value for a whole subtree."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, ArrayLike, Real, Shaped

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
    """Return `tree` with `f(value, leaf, *rest)` for every leaf, where `value` is that of `prefix` for its subtree.

    Args:
        f: function of one value of `prefix`, one leaf of `tree` and the corresponding leaves of `rest`.
        prefix: one value for all leaves, or a tree whose structure is a prefix of that of `tree`.
        tree: the tree to map over.
        *rest: trees like `tree`.
        name: name of `prefix` in error messages.
        is_leaf: identifies values of `prefix` that have leaves themselves.

    Raises:
        ValueError: the structure of `prefix` does not fit.
    """

    def below(value: Any, part: PyTree, *others: PyTree) -> PyTree:
        return jax.tree.map(lambda *leaves: f(value, *leaves), part, *others)

    try:
        return jax.tree.map(below, prefix, tree, *rest, is_leaf=is_leaf)
    except ValueError as error:
        if _fits(prefix, tree, is_leaf):
            raise
        raise ValueError(
            f"{name} does not fit the position: expected one value, or a tree that is a prefix of\n"
            f"    {describe(tree)}\ngot\n    {describe(prefix)}\n"
            f"Pass {name} as a scalar, or as a tree with the same keys as the position."
        ) from error


def _fits(prefix: PyTree, tree: PyTree, is_leaf: Callable[[Any], bool] | None) -> bool:
    try:
        jax.tree.map(lambda *_: 0, prefix, tree, is_leaf=is_leaf)
    except ValueError:
        return False
    return True


def align(number: Real[ArrayLike, "..."], leaf: Shaped[Array, "..."], name: str) -> Shaped[Array, "..."]:
    """Return `number` in the dtype of `leaf`, reshaped to multiply it with aligned *leading* axes.

    A mass of shape `[N]` belongs to the N particles of a position `[N, 3]`, for any N.

    Raises:
        ValueError: the shape does not fit the leading axes of the leaf.
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
    """Return the number of every leaf of `tree`, in its dtype, from a scalar, a prefix tree or a full tree."""
    return prefix_map(lambda number, leaf: align(number, leaf, name), prefix, tree, name=name)
