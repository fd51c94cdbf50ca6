"""The structure of a tree as JSON, so that a file can say what its arrays are the leaves of.

Dicts, lists, tuples, `None`, strings, integers and booleans come back as what they were. Of any other node (a struct, a
named tuple, a module) the names of its children are kept, and it comes back as a dict of those: a file never makes
Python import anything. Give the reader a tree `like` the one that was written, and it comes back as that.
"""

import collections
from collections.abc import Callable
from typing import Any

import jax
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, keystr

from treedyn.tree import PyTree, Static, is_array

_PLAIN = (str, int, bool)


def pack(tree: PyTree, name: Callable[[int], str]) -> Any:
    """Return the structure of `tree` as JSON.

    Args:
        tree: any tree.
        name: returns the name under which the array with a given number is kept, in the order of `jax.tree.leaves`.

    Raises:
        ValueError: a key of a dict is no string, number or `None`.
    """
    numbers = iter(range(2**31))

    def one(node: Any, path: str) -> Any:
        node = node.value if isinstance(node, Static) else node
        if node is None:
            return {"kind": "none"}
        if is_array(node):
            return {"kind": "array", "name": name(next(numbers))}
        if isinstance(node, _PLAIN):
            return {"kind": "value", "value": node}
        children, _ = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
        if len(children) == 1 and not children[0][0]:
            return {"kind": "other", "path": path, "repr": repr(node)}
        kind = {dict: "dict", collections.OrderedDict: "ordered", list: "list", tuple: "tuple"}.get(type(node), "node")
        keys = [_key(entry[0], path) for entry, _ in children]
        packed = [one(child, path + keystr(entry)) for entry, child in children]
        return {"kind": kind, "keys": keys, "children": packed}

    return one(tree, "")


def unpack(packed: Any, arrays: dict[str, Any]) -> PyTree:
    """Return the tree whose structure was packed, with arrays in their places.

    Raises:
        ValueError: there is something in it that no file can hold.
    """
    kind = packed["kind"]
    if kind == "none":
        return None
    if kind == "array":
        return arrays[packed["name"]]
    if kind == "value":
        return packed["value"]
    if kind == "other":
        raise ValueError(
            f"like: the tree holds {packed['repr']} at {packed['path'] or 'its root'}, which a file cannot; pass "
            "like=, a tree of the same structure that has it"
        )
    children = [unpack(child, arrays) for child in packed["children"]]
    if kind in ("list", "tuple"):
        return children if kind == "list" else tuple(children)
    kept = zip(packed["keys"], children, strict=True)
    return collections.OrderedDict(kept) if kind == "ordered" else dict(kept)


def array_leaves(tree: PyTree) -> list[tuple[Any, Any]]:
    """Return the paths and values of all leaves that are arrays, as they are: nothing is sent to a device."""
    return [(path, leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0] if is_array(leaf)]


def with_arrays(like: PyTree, arrays: list[Any]) -> PyTree:
    """Return a tree like `like` with these arrays in place of its own."""
    leaves, structure = jax.tree.flatten(like, is_leaf=lambda x: isinstance(x, Static))
    following = iter(arrays)

    def one(leaf: Any) -> Any:
        return leaf.value if isinstance(leaf, Static) else next(following) if is_array(leaf) else leaf

    return jax.tree.unflatten(structure, [one(leaf) for leaf in leaves])


def _key(entry: Any, path: str) -> Any:
    if isinstance(entry, SequenceKey):
        return entry.idx
    if isinstance(entry, GetAttrKey):
        return entry.name
    key = entry.key if isinstance(entry, DictKey | FlattenedIndexKey) else str(entry)
    if not isinstance(key, str | int | float | bool | None):
        raise ValueError(f"frames{path}: expected keys that are strings or numbers, got {key!r}")
    return key
