"""The only tree arithmetic of the library.

Two views of a user's PyTree are used everywhere:

- the *boxed* tree: arrays are leaves; whatever JAX cannot trace (functions, strings, Python integers and booleans)
  sits in a `Static` node, so the tree passes through `jit`, `scan` and `vmap`;
- the *moving* part: the real floating-point leaves, with `None` wherever something only rides along.

Momenta, forces, masses and noise have the structure of the moving part. All arithmetic keeps the dtype of the leaf it
is done on: numbers are cast to the leaf, never the leaf to the number.
"""

import functools
from collections.abc import Callable
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


def cast(number: Any, like: jax.Array) -> jax.Array:
    """Return `number` in the dtype of `like`."""
    return jnp.asarray(number).astype(like.dtype)


def add(x: PyTree, y: PyTree) -> PyTree:
    """Return `x + y`."""
    return jax.tree.map(jnp.add, x, y)


def subtract(x: PyTree, y: PyTree) -> PyTree:
    """Return `x - y`."""
    return jax.tree.map(jnp.subtract, x, y)


def scale(a: PyTree, x: PyTree) -> PyTree:
    """Return `a x`; `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x: cast(a, x) * x, _spread(a, x), x)


def axpy(a: PyTree, x: PyTree, y: PyTree) -> PyTree:
    """Return `a x + y`; `a` is one number for all leaves or a tree like `x`."""
    return jax.tree.map(lambda a, x, y: cast(a, x) * x + y, _spread(a, x), x, y)


def divide(x: PyTree, y: PyTree) -> PyTree:
    """Return `x / y`, leaf by leaf; the leaves of `y` broadcast."""
    return jax.tree.map(jnp.divide, x, y)


def _spread(a: PyTree, x: PyTree) -> PyTree:
    return jax.tree.map(lambda _: a, x) if jax.tree_util.all_leaves([a]) else a


def where(condition: jax.Array, x: PyTree, y: PyTree) -> PyTree:
    """Return `x` where `condition` holds, else `y`; every kind of leaf, keys included.

    A condition with axes has those with which all leaves begin, as the members of an ensemble.
    """

    def one(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(condition.reshape(condition.shape + (1,) * (jnp.ndim(x) - condition.ndim)), x, y)

    condition = jnp.asarray(condition)
    return jax.tree.map(one, x, y)


def zeros_like(x: PyTree) -> PyTree:
    """Return a tree of zeros like `x`."""
    return jax.tree.map(jnp.zeros_like, x)


def widest(*dtypes: Any) -> jnp.dtype:
    """Return the dtype that holds all of `dtypes`; asked for by name, so strict promotion has nothing to forbid."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.dtype(functools.reduce(jnp.promote_types, dtypes))


def dtype(x: PyTree) -> jnp.dtype:
    """Return the dtype in which sums over all leaves are kept: the widest of them, but half precision is too narrow."""
    leaves = jax.tree.leaves(x)
    return widest(jnp.float32, *(leaf.dtype for leaf in leaves)) if leaves else jnp.dtype(jnp.result_type(float))


def total(x: PyTree) -> jax.Array:
    """Return the sum of all elements of all leaves."""
    kind = dtype(x)
    return sum((jnp.sum(leaf, dtype=kind) for leaf in jax.tree.leaves(x)), start=jnp.zeros((), kind))


def vdot(x: PyTree, y: PyTree) -> jax.Array:
    """Return the inner product of two trees."""
    kind = dtype(x)
    return total(jax.tree.map(lambda x, y: x.astype(kind) * y.astype(kind), x, y))


def norm(x: PyTree) -> jax.Array:
    """Return the Euclidean norm of a tree; its gradient is zero, not NaN, where the tree is zero."""
    square = vdot(x, x)
    zero = square == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, square)))


def max_abs(x: PyTree) -> jax.Array:
    """Return the largest absolute value among all elements of all leaves."""
    kind = dtype(x)
    largest = [jnp.max(jnp.abs(leaf)).astype(kind) for leaf in jax.tree.leaves(x) if leaf.size]
    return jnp.max(jnp.stack(largest)) if largest else jnp.zeros((), kind)


def size(x: PyTree) -> int:
    """Return the number of elements in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(x))


@jax.jit
def finite(x: PyTree) -> jax.Array:
    """Tell whether every element is finite.

    One sum is enough to see it: zero times NaN or infinity is NaN, and zeros do not overflow, as half precision would.
    """
    return jnp.isfinite(total(jax.tree.map(lambda leaf: 0 * leaf, x)))


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
