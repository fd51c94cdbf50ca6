"""Two views of a user's PyTree: the boxed tree and its moving part.

Two views of a user's PyTree are used everywhere:

- the *boxed* tree: arrays are leaves; whatever JAX cannot trace (functions, strings, Python integers and booleans)
  sits in a `Static` node, so the tree passes through `jit`, `scan` and `vmap`;
- the *moving* part: the real floating-point leaves, with `None` wherever something only rides along.

Momenta, forces, masses and noise have the structure of the moving part.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import keystr, tree_flatten_with_path, tree_structure

PyTree = Any


@jax.tree_util.register_static
class Static:
    """Hold a value that rides along in a tree as part of its structure."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and type(self.value) is type(other.value) and self.value == other.value

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))

    def __repr__(self) -> str:
        return f"Static({self.value!r})"


def _is_static(x: Any) -> bool:
    return isinstance(x, Static)


def _is_none(x: Any) -> bool:
    return x is None


def is_array(leaf: Any) -> bool:
    """Tell whether a leaf is something JAX can trace as an array (a Python float counts: it is a 0-d array)."""
    # a class of numbers has both as well, and a layer of a network may have a dtype
    array = hasattr(leaf, "dtype") and hasattr(leaf, "shape") and not isinstance(leaf, type)
    return array or isinstance(leaf, float | complex)


def box(tree: PyTree, name: str = "the tree") -> PyTree:
    """Return `tree` with Python floats as 0-d arrays and everything that is no array in `Static` nodes.

    Args:
        tree: any tree.
        name: what it is called by the user; for the error message.

    Raises:
        ValueError: there is an array in it that JAX has no dtype for, of strings or objects.
    """

    def convert(path: Any, leaf: Any) -> Any:
        if _is_static(leaf):
            return leaf
        if not is_array(leaf):
            return Static(leaf)
        if isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind in "OSUMm":
            raise ValueError(
                f"{name}{keystr(path)}: expected arrays of numbers or booleans, got one of {leaf.dtype}; keep words "
                "and objects in tuples or outside of the tree"
            )
        return strong(leaf)

    return jax.tree_util.tree_map_with_path(convert, tree, is_leaf=_is_static)


def strong(leaf: Any) -> jax.Array:
    """Return `leaf` as an array whose dtype is its own, not the weak one of a Python number.

    A loop or a second call would otherwise find that the state changed its type after the first step.
    """
    leaf = jnp.asarray(leaf)
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    return leaf if is_key else jax.lax.convert_element_type(leaf, leaf.dtype)


def traceable(tree: PyTree) -> PyTree:
    """Return `tree` with everything that JAX cannot trace, and nothing else, in `Static` nodes; `unbox` undoes it.

    Python integers stay what they are to `jit`: numbers that may change. In a position they are structure, see `box`.
    Booleans are structure in both: they are asked by `if`.
    """

    def convert(leaf: Any) -> Any:
        number = isinstance(leaf, int) and not isinstance(leaf, bool)
        return leaf if _is_static(leaf) or is_array(leaf) or number else Static(leaf)

    return jax.tree.map(convert, tree, is_leaf=_is_static)


def unbox(tree: PyTree) -> PyTree:
    """Undo `box`: give back the user's own tree, functions and all."""
    return jax.tree.map(lambda x: x.value if _is_static(x) else x, tree, is_leaf=_is_static)


def boxed(tree: PyTree) -> bool:
    """Tell whether anything in `tree` is in a `Static` node."""
    return any(map(_is_static, jax.tree.leaves(tree, is_leaf=_is_static)))


def is_moving(leaf: Any) -> bool:
    """Tell whether a leaf is a real floating-point array, the only kind that a dynamics moves."""
    return is_array(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.floating)


def moving(boxed: PyTree) -> PyTree:
    """Return the moving part of a boxed tree: its real floating-point leaves, `None` elsewhere."""
    return jax.tree.map(lambda x: x if is_moving(x) else None, boxed, is_leaf=_is_static)


def merge(part: PyTree, boxed: PyTree) -> PyTree:
    """Return `boxed` with its moving leaves replaced by those of `part`."""
    return jax.tree.map(lambda p, b: b if p is None else p, part, boxed, is_leaf=lambda x: x is None or _is_static(x))


def describe(tree: PyTree) -> str:
    """Write the structure of a tree for an error message."""
    return str(tree_structure(tree)).removeprefix("PyTreeDef(").removesuffix(")")


def paths(tree: PyTree) -> list[str]:
    """Return the path of every leaf, as in `['layers'][0].weight`."""
    return [keystr(path) for path, _ in tree_flatten_with_path(tree)[0]]


def known(x: Any) -> np.ndarray | None:
    """Return the numbers of `x` where they are known already, so that they can be checked; `None` for a tracer."""
    if isinstance(x, Tracer):
        return None
    is_key = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.extended)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def made_up(tree: PyTree) -> PyTree:
    """Return `tree` with numbers in general position for all that move: to look at a function, not at a state."""
    random = np.random.default_rng(0)

    def one(leaf: Any) -> Any:
        kind = jnp.result_type(leaf) if is_moving(leaf) else None
        return leaf if kind is None else jnp.asarray(random.uniform(0.5, 1.5, jnp.shape(leaf)), kind)

    return jax.tree.map(one, tree)
