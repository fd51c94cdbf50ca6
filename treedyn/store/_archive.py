"""One PyTree in one file: written whole or not at all, and read only if every byte is what was written.

The file is a NumPy archive, a zip file of arrays, which any program can open. Zip keeps a checksum of every member, so
damage is found by a library; writing aside, `fsync` and a rename make the file appear at once. What is no array
(functions, the tree itself) is not written: a tree that is read back fills a tree that is given, like it.

A changed byte can make a decoder raise anything. So where bytes are decoded, and only there, every exception means that
the file is damaged, but for those of a system that does not let it be read.
"""

import contextlib
import errno
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path, tree_unflatten

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static_fields
from treedyn.tree import PyTree

FORMAT = 1
_MANIFEST = "manifest.json"
# what a disk that lost bytes, or an offset that was changed, leads to; `None` is what decoders raise
_UNREADABLE = {None, errno.EIO, errno.EINVAL}
_NUMBERS = {"bool": "True".__eq__, "int": int, "float": float, "complex": complex}


class DamagedFile(ValueError):
    """Report a file whose bytes are not those that were written."""


def save(path: str | os.PathLike[str], value: PyTree, *, note: Any = None) -> None:
    """Write a tree to one file; a file that was there is replaced at once, or stays as it is.

    Args:
        path: where to.
        value: any PyTree. Arrays of every dtype, random keys and Python numbers are written; what else is in it is not.
        note: what else to write: anything that JSON can hold.

    Raises:
        OSError: the file cannot be written; nothing is left of it.

    Example:
        >>> import tempfile, jax.numpy as jnp, treedyn as td
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     td.save(f"{folder}/tree.npz", {"weights": jnp.arange(3.0), "key": None})
        ...     print(td.load(f"{folder}/tree.npz", {"weights": jnp.zeros(3), "key": None})["weights"])
        [0. 1. 2.]
    """
    path = check.new_file("path", path).resolve()  # a link stays, and what it leads to is replaced
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as file:
            _write(file, value, note)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], like: PyTree, *, resized: bool = False) -> PyTree:
    """Read a tree that `save` wrote.

    Args:
        path: the file.
        like: a tree of the same structure, of arrays or of their shapes; whatever is no array is taken from it.
        resized: whether arrays may have other shapes than in `like`, and structs other sizes in their static fields, as
            a neighbor list has that grew.

    Returns:
        The tree.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: bytes were lost or changed.
        ValueError: the file holds another tree than `like`, or is of a newer format.
    """
    return read(check.file("path", path), like, "" if check.flag("resized", resized) else None)


def read(path: str | os.PathLike[str], like: PyTree, resized: str | None) -> PyTree:
    """Do what `load` does; `resized` is the path of the part that may have other shapes, `None` for none."""
    with _opened(Path(path)) as archive:
        manifest = _manifest(path, archive)
        if resized is not None:
            statics = {name: x for name, x in manifest["statics"].items() if name.startswith(resized)}
            like = _with_statics(like, statics)
        found = {leaf["path"]: (index, leaf) for index, leaf in enumerate(manifest["leaves"])}
        leaves, structure = tree_flatten_with_path(like)
        names = [keystr(name) for name, _ in leaves]
        _check_paths(path, names, list(found))
        values = []
        for name, (_, wanted) in zip(names, leaves, strict=True):
            index, leaf = found[name]
            _check_leaf(path, name, leaf, _describe(wanted), resized is not None and name.startswith(resized))
            if "dtype" in leaf:
                values.append(_read(path, archive, index, leaf))
            else:
                values.append(_NUMBERS[leaf["kind"]](leaf["value"]) if "value" in leaf else wanted)
    return tree_unflatten(structure, values)


def note_of(path: str | os.PathLike[str]) -> Any:
    """Return the note that was saved with a tree.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: bytes were lost or changed.
        ValueError: the file is of a newer format, or was written by something else.
    """
    with _opened(Path(path)) as archive:
        return _manifest(path, archive)["note"]


def verify(path: str | os.PathLike[str]) -> None:
    """Read all of a file, to see that it is whole.

    Raises:
        DamagedFile: bytes were lost or changed.
    """
    with _opened(Path(path)) as archive, _believed(f"{path}: the file"):
        wrong = archive.testzip()
    if wrong is not None:
        raise DamagedFile(f"{path}: {wrong} is damaged: its checksum is wrong")


def _write(file: Any, value: PyTree, note: Any) -> None:
    leaves = [(keystr(name), leaf) for name, leaf in tree_flatten_with_path(value)[0]]
    for name, leaf in leaves:
        if getattr(getattr(leaf, "dtype", None), "kind", "f") in "OSU":
            raise ValueError(f"value{name}: expected arrays of numbers, got one of {leaf.dtype}; keep words in note=")
    described = [{"path": name, **_describe(leaf)} for name, leaf in leaves]
    manifest = {
        "format": FORMAT,
        "leaves": described,
        "statics": {path: plain for path, _, plain in structs(value) if plain},
        "note": note,
    }
    try:
        text = json.dumps(manifest)
    except (TypeError, ValueError) as error:
        raise ValueError(f"note: expected numbers, texts, lists and dicts, as JSON can hold them: {error}") from error
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_MANIFEST, text)
        for index, ((_, leaf), about) in enumerate(zip(leaves, described, strict=True)):
            if "dtype" in about:
                with archive.open(_member(index), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, plain_array(leaf), allow_pickle=False)


def _member(index: int) -> str:
    return f"{index}.npy"


def _describe(leaf: Any) -> dict[str, Any]:
    """Say what kind of leaf it is, in words that JSON can hold."""
    if not tree.is_array(leaf) or type(leaf) in (float, complex):
        if type(leaf).__name__ in _NUMBERS:
            return {"kind": type(leaf).__name__, "value": repr(leaf)}
        return {"kind": "other", "type": getattr(leaf, "__qualname__", type(leaf).__qualname__)}
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        about = {"kind": "key", "dtype": str(leaf.dtype), "shape": list(leaf.shape)}
        return about if isinstance(leaf, jax.ShapeDtypeStruct) else {**about, "impl": str(jax.random.key_impl(leaf))}
    kind = "numpy" if isinstance(leaf, np.ndarray | np.generic) else "array"
    about = {"kind": kind, "dtype": np.dtype(leaf.dtype).name, "shape": list(leaf.shape)}
    return {**about, "weak": True} if getattr(leaf, "weak_type", False) else about


def plain_array(leaf: Any) -> np.ndarray:
    """Return a leaf as an array of a dtype that NumPy itself knows."""
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    array = np.asarray(jax.random.key_data(leaf) if is_key else leaf)
    return array if array.dtype.isbuiltin == 1 else np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def _read(path: Any, archive: zipfile.ZipFile, index: int, leaf: dict[str, Any]) -> Any:
    with _believed(f"{path}: {leaf['path']}"), archive.open(_member(index)) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to the end, where the checksum is compared
    kind = leaf["kind"]
    if kind == "key":
        return jax.random.wrap_key_data(jnp.asarray(array), impl=leaf["impl"])
    array = array if array.dtype.name == leaf["dtype"] else array.view(jnp.dtype(leaf["dtype"]))
    array = array.reshape(leaf["shape"])
    if leaf.get("weak"):  # what came of a number of Python still gives way to the dtype that it meets
        strong = jnp.asarray(array)
        return jax.lax.convert_element_type_p.bind(strong, new_dtype=strong.dtype, weak_type=True, sharding=None)
    return array if kind == "numpy" else jnp.asarray(array, dtype=array.dtype)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    with _believed(f"{path}: the file"):
        return zipfile.ZipFile(path)


@contextlib.contextmanager
def _believed(what: str) -> Iterator[None]:
    """Turn whatever bytes that make no sense lead to into `DamagedFile`, and leave alone what the machine refuses."""
    try:
        yield
    except Exception as error:
        # A file that may not be opened now, for lack of rights or of handles, is as good as it was.
        if isinstance(error, OSError) and error.errno not in _UNREADABLE:
            raise
        raise DamagedFile(f"{what} is damaged: {error}") from error


def _manifest(path: Any, archive: zipfile.ZipFile) -> dict[str, Any]:
    if _MANIFEST not in archive.namelist():
        raise DamagedFile(f"{path}: expected a file written by td.save, found none of its list of contents")
    with _believed(f"{path}: its list of contents"):
        manifest = json.loads(archive.read(_MANIFEST))
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"{path}: written in format {manifest['format']} by a newer version; this one reads up to {FORMAT}: update "
            "treedyn"
        )
    return manifest


def _check_paths(path: Any, wanted: list[str], found: list[str]) -> None:
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        parts = [f"it lacks {', '.join(missing[:4])}"] * bool(missing) + [f"it has {', '.join(extra[:4])}"] * bool(
            extra
        )
        raise ValueError(
            f"{path}: the tree in the file is another one than the one expected, like: {', and '.join(parts)}"
        )


def _check_leaf(path: Any, name: str, found: dict[str, Any], wanted: dict[str, Any], resized: bool) -> None:
    ignored = {"path", "impl", "value", "weak"} | ({"shape"} if resized else set())
    # what was a Python number when a run began is an array since the first step
    if resized and wanted["kind"] in _NUMBERS and found.get("shape") == []:
        return
    # where only shapes are known, or the same numbers sit in another kind of array, the dtype and shape decide
    if {found["kind"], wanted["kind"]} <= {"array", "numpy"}:
        ignored = ignored | {"kind"}
    if any(found.get(key) != wanted.get(key) for key in {*found, *wanted} - ignored):
        raise ValueError(
            f"{path}: {name or 'the tree'} is {_said(found)} in the file, expected {_said(wanted)}, as it is in like"
        )


def _said(leaf: dict[str, Any]) -> str:
    if "shape" not in leaf:
        return f"a {leaf['type'] if leaf['kind'] == 'other' else leaf['kind']}"
    return f"{'a key ' if leaf['kind'] == 'key' else ''}{leaf['dtype']}{leaf['shape']}"


def _is_inner(struct: Any) -> Any:
    return lambda x: isinstance(x, Struct) and x is not struct


def structs(value: PyTree, path: str = "") -> Iterator[tuple[str, Struct, dict[str, Any]]]:
    """Find all structs: where they are, and what JSON can hold of their static fields, sizes and numbers."""
    if isinstance(value, Struct):
        yield path, value, {name: x for name, x in static_fields(value).items() if _is_plain(x)}
    for name, inner in tree_flatten_with_path(value, is_leaf=_is_inner(value))[0]:
        if isinstance(inner, Struct):
            yield from structs(inner, path + keystr(name))


def _with_statics(value: PyTree, statics: dict[str, dict[str, Any]], path: str = "") -> PyTree:
    """Return the tree with those fields as they were saved."""
    leaves, structure = tree_flatten_with_path(value, is_leaf=_is_inner(value))
    inner = [_with_statics(x, statics, path + keystr(name)) if isinstance(x, Struct) else x for name, x in leaves]
    value = tree_unflatten(structure, inner)
    if not isinstance(value, Struct) or path not in statics:
        return value
    now = static_fields(value)
    return value.replace(**{name: _like(x, now[name]) for name, x in statics[path].items() if name in now})


def _is_plain(x: Any) -> bool:
    return all(map(_is_plain, x)) if isinstance(x, tuple) else x is None or isinstance(x, bool | int | float | str)


def _like(found: Any, now: Any) -> Any:
    """Return what JSON made of a static value as the kind of tuple that it was."""
    if not isinstance(found, list):
        return found
    kind = type(now) if isinstance(now, tuple) else tuple
    inner = now if isinstance(now, tuple) and len(now) == len(found) else [None] * len(found)
    values = [_like(x, y) for x, y in zip(found, inner, strict=True)]
    return kind(*values) if hasattr(kind, "_fields") else tuple(values)


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened, and its entries are written at once
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


__all__ = ["DamagedFile", "load", "note_of", "plain_array", "read", "save", "structs", "verify"]
