"""How a tree is written in a file: its structure and the kind of each leaf as JSON, its arrays in plain dtypes.

The archive and Zarr share this module. Arrays, Python numbers and strings are written. Functions and other objects are
only named, and structs become the names of their fields, so reading a file never makes Python import or run anything.
Whatever is not in the file comes from a tree `like` the one that was written.
"""

import collections
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, FlattenedIndexKey, GetAttrKey, SequenceKey, keystr, tree_flatten_with_path

from treedyn import tree
from treedyn._struct import Struct, static_fields
from treedyn.tree import PyTree, Static

_CONTAINERS = {dict: "dict", collections.OrderedDict: "ordered", list: "list", tuple: "tuple"}
NUMBERS: dict[str, Callable[[str], Any]] = {"bool": "True".__eq__, "int": int, "float": float, "complex": complex}

Description = dict[str, Any]


def describe(leaf: Any) -> Description:
    """Return the kind of a leaf with its dtype and shape, its value, or the name of its type."""
    kind = type(leaf).__name__
    if not tree.is_array(leaf) or type(leaf) in (float, complex):
        if kind in NUMBERS:
            return {"kind": kind, "value": repr(leaf)}
        about = {"kind": "other", "type": getattr(leaf, "__qualname__", type(leaf).__qualname__)}
        return about | {"value": leaf} if type(leaf) is str else about
    shape = list(leaf.shape)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        about = {"kind": "key", "dtype": str(leaf.dtype), "shape": shape}
        return about if isinstance(leaf, jax.ShapeDtypeStruct) else about | {"impl": str(jax.random.key_impl(leaf))}
    kind = "numpy" if isinstance(leaf, np.ndarray | np.generic) else "array"
    about = {"kind": kind, "dtype": np.dtype(leaf.dtype).name, "shape": shape}
    return about | {"weak": True} if getattr(leaf, "weak_type", False) else about


def plain_array(leaf: Any) -> np.ndarray:
    """Return a leaf as an array of a dtype that NumPy itself knows: bfloat16 and its like as their bits."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return array if array.dtype.isbuiltin == 1 else np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def typed(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return a plain array in the dtype that it had before `plain_array`."""
    return array if array.dtype.name == dtype else array.view(jnp.dtype(dtype))


def restore(array: np.ndarray, about: Description) -> Any:
    """Return the leaf that was described, from its plain array."""
    if about["kind"] == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=about["impl"])
    array = typed(array, about["dtype"]).reshape(about["shape"])
    if about.get("weak"):  # an array made from a Python number still adopts the dtype of its partner
        strong = jnp.asarray(array)
        return jax.lax.convert_element_type_p.bind(strong, new_dtype=strong.dtype, weak_type=True, sharding=None)
    return array if about["kind"] == "numpy" else jnp.asarray(array, dtype=array.dtype)


def pack(value: PyTree, describe: Callable[[Any], Description] = describe) -> Any:
    """Return the structure of a tree as JSON: nested containers, with a description of each leaf."""

    def one(node: Any, path: str) -> Any:
        if node is None:
            return None
        children = tree_flatten_with_path(node, is_leaf=lambda x: x is not node)[0]
        if len(children) == 1 and not children[0][0]:
            return {"path": path, **describe(node)}
        return {
            "kind": _CONTAINERS.get(type(node), "node"),
            "keys": [_key(entry[0], path) for entry, _ in children],
            "children": [one(child, path + keystr(entry)) for entry, child in children],
        }

    return one(value, "")


def unpack(packed: Any, read: Callable[[Description], Any]) -> PyTree:
    """Return the tree that was packed: dicts, lists, tuples, `None`, numbers and strings; other nodes as dicts."""
    if packed is None:
        return None
    if "children" not in packed:
        if "dtype" in packed:
            return read(packed)
        if "value" in packed:
            return NUMBERS.get(packed["kind"], str)(packed["value"])
        raise ValueError(
            f"like: the tree holds an object of type {packed['type']} at {packed['path'] or 'its root'}, which a file "
            "cannot hold. Pass like=, a tree of the same structure that has the object."
        )
    children = [unpack(child, read) for child in packed["children"]]
    if packed["kind"] in ("list", "tuple"):
        return children if packed["kind"] == "list" else tuple(children)
    kept = zip(packed["keys"], children, strict=True)
    return collections.OrderedDict(kept) if packed["kind"] == "ordered" else dict(kept)


def leaves_of(packed: Any) -> list[Description]:
    """Return the descriptions in a packed tree, in the order of `jax.tree.leaves`."""
    if packed is None or "children" not in packed:
        return [] if packed is None else [packed]
    return [leaf for child in packed["children"] for leaf in leaves_of(child)]


def fill(
    where: str,
    like: PyTree,
    leaves: Iterable[Description],
    read: Callable[[Description], Any],
    check: Callable[[str, Description, Any], None],
) -> PyTree:
    """Return `like` with the arrays and numbers of a file, found by their paths.

    `read` returns an array of the file. `check` gets a path, the description in the file and the leaf of `like`.
    """
    found = {leaf["path"]: leaf for leaf in leaves}
    entries, structure = tree_flatten_with_path(like, is_leaf=lambda x: isinstance(x, Static))
    names = [keystr(path) for path, _ in entries]
    written = {name for name, (_, leaf) in zip(names, entries, strict=True) if not isinstance(leaf, Static)}
    missing, extra = written - set(found), set(found) - set(names)
    if missing or extra:
        parts = [f"{verb} {', '.join(sorted(x)[:4])}" for verb, x in (("it lacks", missing), ("it has", extra)) if x]
        raise ValueError(
            f"{where}: the tree in the file has another structure than `like`: {', and '.join(parts)}. "
            "Pass a tree of the structure that was written."
        )

    def value(name: str, leaf: Any) -> Any:
        if isinstance(leaf, Static):
            return leaf
        about = found[name]
        check(name, about, leaf)
        if "dtype" in about:
            return read(about)
        return NUMBERS[about["kind"]](about["value"]) if about["kind"] in NUMBERS else leaf

    return jax.tree.unflatten(structure, [value(name, leaf) for name, (_, leaf) in zip(names, entries, strict=True)])


def check_leaf(where: str, name: str, found: Description, wanted: Description, ignored: set[str]) -> None:
    """Check that a leaf of a file has the kind, dtype and shape of a leaf of `like`, except what is ignored."""
    ignored = ignored | {"path", "name", "impl", "value", "weak"}
    if {found["kind"], wanted["kind"]} <= {"array", "numpy"}:
        ignored |= {"kind"}
    if any(found.get(key) != wanted.get(key) for key in {*found, *wanted} - ignored):
        raise ValueError(
            f"{where}: {name or 'the tree'} is {_said(found)} in the file, expected {_said(wanted)} as in `like`. "
            "Pass a tree with the dtypes and shapes that were written."
        )


def _said(leaf: Description) -> str:
    if "shape" not in leaf:
        return f"a {leaf['type'] if leaf['kind'] == 'other' else leaf['kind']}"
    return f"{'a key ' if leaf['kind'] == 'key' else ''}{leaf['dtype']}{leaf['shape']}"


def structs(value: PyTree, path: str = "") -> Iterator[tuple[str, Struct, dict[str, Any]]]:
    """Find all structs: their paths, and those of their static fields that JSON can hold (sizes, numbers, names)."""
    if isinstance(value, Struct):
        yield path, value, {name: x for name, x in static_fields(value).items() if _is_plain(x)}
    for name, inner in tree_flatten_with_path(value, is_leaf=_is_inner(value))[0]:
        if isinstance(inner, Struct):
            yield from structs(inner, path + keystr(name))


def with_statics(value: PyTree, statics: dict[str, dict[str, Any]], path: str = "") -> PyTree:
    """Return the tree with the static fields of its structs as they were written, by the paths of the structs."""
    leaves, structure = tree_flatten_with_path(value, is_leaf=_is_inner(value))
    inner = [with_statics(x, statics, path + keystr(name)) if isinstance(x, Struct) else x for name, x in leaves]
    value = jax.tree.unflatten(structure, inner)
    if not isinstance(value, Struct) or path not in statics:
        return value
    now = static_fields(value)
    return value.replace(**{name: _like(x, now[name]) for name, x in statics[path].items() if name in now})


def _key(entry: Any, path: str) -> Any:
    if isinstance(entry, SequenceKey):
        return entry.idx
    if isinstance(entry, GetAttrKey):
        return entry.name
    key = entry.key if isinstance(entry, DictKey | FlattenedIndexKey) else str(entry)
    if not isinstance(key, str | int | float | bool | None):
        raise ValueError(f"frames{path}: expected keys that are strings or numbers, got {key!r}. Use such keys.")
    return key


def _is_inner(outer: Any) -> Callable[[Any], bool]:
    return lambda x: isinstance(x, Struct) and x is not outer


def _is_plain(x: Any) -> bool:
    return all(map(_is_plain, x)) if isinstance(x, tuple) else x is None or isinstance(x, bool | int | float | str)


def _like(found: Any, now: Any) -> Any:
    """Return a static value from JSON, with the lists as the kinds of tuples that are in `now`."""
    if not isinstance(found, list):
        return found
    kind = type(now) if isinstance(now, tuple) else tuple
    inner = now if isinstance(now, tuple) and len(now) == len(found) else [None] * len(found)
    values = [_like(x, y) for x, y in zip(found, inner, strict=True)]
    return kind(*values) if hasattr(kind, "_fields") else tuple(values)
