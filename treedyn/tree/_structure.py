"""The structure of trees: boxes, moving parts, and nodes of a kind."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import keystr, tree_flatten_with_path, tree_structure
from jaxtyping import Array, Shaped

PyTree = Any
T = TypeVar("T")


@jax.tree_util.register_static
class Static:
    """A value that is part of the structure of a tree."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return f"Static({self.value!r})"


def _is_static(x: object) -> bool:
    return isinstance(x, Static)


def is_array(leaf: object) -> bool:
    """Tell whether JAX can trace a leaf as an array; a Python float counts as a 0-d array."""
    # a scalar class like np.float32 has dtype and shape, and a layer of a network may have a dtype
    array = hasattr(leaf, "dtype") and hasattr(leaf, "shape") and not isinstance(leaf, type)
    return array or isinstance(leaf, float | complex)


def box(tree: PyTree, name: str = "the tree") -> PyTree:
    """Return `tree` with Python floats as 0-d arrays and everything except arrays in `Static` nodes.

    `name` is the name of the tree in error messages.

    Raises:
        ValueError: an array has a dtype that JAX does not have, such as strings or objects.
    """

    def convert(path: Any, leaf: Any) -> Any:
        if _is_static(leaf):
            return leaf
        if not is_array(leaf):
            return Static(leaf)
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OSUMm":
            raise ValueError(
                f"{name}{keystr(path)}: expected arrays of numbers or booleans, got one of {leaf.dtype}. Keep strings "
                "and objects in tuples or outside of the tree."
            )
        return strong(leaf)

    return jax.tree_util.tree_map_with_path(convert, tree, is_leaf=_is_static)


def strong(leaf: Any) -> Shaped[Array, "..."]:
    """Return `leaf` as an array with a dtype that is not weak.

    The weak dtype of a Python number would change after the first step, and a loop would refuse the state.
    """
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)


def traceable(tree: PyTree) -> PyTree:
    """Return `tree` with everything that `jit` cannot take as an argument in `Static` nodes; `unbox` undoes it.

    Unlike in `box`, Python integers remain leaves, so their values may change without a retrace. Booleans are static,
    because they are used in `if`.
    """

    def convert(leaf: Any) -> Any:
        number = isinstance(leaf, int) and not isinstance(leaf, bool)
        return leaf if _is_static(leaf) or is_array(leaf) or number else Static(leaf)

    return jax.tree.map(convert, tree, is_leaf=_is_static)


def unbox(tree: PyTree) -> PyTree:
    """Return `tree` with values in place of `Static` nodes; the inverse of `box`."""
    return map_nodes(lambda x: x.value, Static, tree)


def boxed(tree: PyTree) -> bool:
    """Tell whether `tree` has `Static` nodes."""
    return bool(nodes(Static, tree))


def is_moving(leaf: object) -> bool:
    """Tell whether a leaf is a real floating-point array; a dynamics moves only those."""
    return is_array(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def moving(boxed: PyTree) -> PyTree:
    """Return the moving part of a boxed tree: its real floating-point leaves, and `None` elsewhere."""
    return jax.tree.map(lambda x: x if is_moving(x) else None, boxed, is_leaf=_is_static)


def merge(part: PyTree, boxed: PyTree) -> PyTree:
    """Return `boxed` with its moving leaves replaced by those of `part`."""
    return jax.tree.map(lambda p, b: b if p is None else p, part, boxed, is_leaf=lambda x: x is None or _is_static(x))


def describe(tree: PyTree) -> str:
    """Return the structure of a tree as text for an error message."""
    return str(tree_structure(tree)).removeprefix("PyTreeDef(").removesuffix(")")


def form(tree: PyTree) -> tuple[Any, list[tuple[tuple[int, ...], str]]]:
    """Return the structure of a tree, and the shape and dtype of every leaf."""
    leaves, structure = jax.tree.flatten(traceable(tree))
    return structure, [(jnp.shape(x), str(jnp.result_type(x))) for x in leaves]


def paths(tree: PyTree) -> list[str]:
    """Return the path of every leaf, such as `['layers'][0].weight`."""
    return [keystr(path) for path, _ in tree_flatten_with_path(tree)[0]]


def known(x: Any) -> np.ndarray | None:
    """Return the numbers of `x`, or `None` for a tracer, whose numbers are not known yet."""
    if isinstance(x, Tracer):
        return None
    is_key = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.extended)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def made_up(tree: PyTree) -> PyTree:
    """Return `tree` with random numbers in its moving leaves, to examine a function rather than a state."""
    random = np.random.default_rng(0)

    def one(leaf: Any) -> Any:
        kind = jnp.result_type(leaf) if is_moving(leaf) else None
        return leaf if kind is None else jnp.asarray(random.uniform(0.5, 1.5, jnp.shape(leaf)), kind)

    return jax.tree.map(one, tree)


def nodes(kind: type[T] | tuple[type[T], ...], tree: PyTree) -> list[T]:
    """Return the nodes of a tree that are instances of `kind`, without looking inside of them."""
    found = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, kind))
    return [x for x in found if isinstance(x, kind)]


def map_nodes(f: Callable[[Any], Any], kind: type | tuple[type, ...], tree: PyTree) -> PyTree:
    """Return a tree with `f` applied to its nodes that are instances of `kind`."""
    return jax.tree.map(lambda x: f(x) if isinstance(x, kind) else x, tree, is_leaf=lambda x: isinstance(x, kind))
