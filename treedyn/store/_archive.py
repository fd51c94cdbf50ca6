"""One PyTree in one file: written as a whole or not at all, and read only if every byte is intact.

The file is a NumPy archive, a zip file of arrays, which any program can open. Zip keeps a checksum of every member, so
damage is detected. A new file is written aside, synchronized and renamed. Functions and the structure of the tree are
not written: reading fills a tree `like` the one that was saved.

Nothing is larger than the file declares, because nothing is compressed: sizes are compared before memory is asked for.
"""

import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import _check as check
from treedyn.store._codec import (
    NUMBERS,
    Description,
    check_leaf,
    describe,
    fill,
    plain_array,
    restore,
    structs,
    with_statics,
)
from treedyn.store._files import decoding, replacing
from treedyn.tree import PyTree

FORMAT = 1
_MANIFEST = "manifest.json"


class DamagedFile(ValueError):
    """A file whose bytes are not those that were written."""


def save(path: str | os.PathLike[str], value: PyTree, *, note: Any = None) -> None:
    """Write a tree to one file. An existing file is replaced at once, or stays as it is after an error.

    Args:
        path: the file.
        value: any PyTree. Arrays of every dtype, random keys and Python numbers are written, other objects are not.
        note: anything that JSON can hold, written beside the tree.

    Raises:
        ValueError: `value` holds arrays of strings or objects, or JSON cannot hold `note`.
        OSError: the file cannot be written.

    Example:
        >>> import tempfile, jax.numpy as jnp, treedyn as td
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     td.save(f"{folder}/tree.npz", {"weights": jnp.arange(3.0), "key": None})
        ...     print(td.load(f"{folder}/tree.npz", {"weights": jnp.zeros(3), "key": None})["weights"])
        [0. 1. 2.]
    """
    # the target of a link is replaced, not the link
    with replacing(check.new_file("path", path).resolve()) as aside, aside.open("wb") as file:
        _write(file, value, note)


def load(path: str | os.PathLike[str], like: PyTree, *, resized: bool = False) -> PyTree:
    """Read a tree that `save` wrote.

    Args:
        path: the file.
        like: a tree of the same structure, with arrays or their shapes. Objects that are not arrays or Python numbers
            are taken from it.
        resized: accept other shapes than those in `like`, and other sizes in the static fields of structs, as in a
            neighbor list that has grown.

    Returns:
        The tree.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFile: bytes were lost or changed.
        ValueError: the file holds another tree than `like`, or has a newer format.
    """
    return read(check.file("path", path), like, "" if check.flag("resized", resized) else None)


def read(path: str | os.PathLike[str], like: PyTree, resized: str | None) -> PyTree:
    """Read a tree; `resized` is the path of the part that may have other shapes, `None` for no part."""
    with _opened(Path(path)) as archive:
        manifest = _manifest(path, archive)
        if resized is not None:
            statics = {name: x for name, x in manifest["statics"].items() if name.startswith(resized)}
            like = with_statics(like, statics)
        members = {leaf["path"]: f"{index}.npy" for index, leaf in enumerate(manifest["leaves"])}

        def array(leaf: Description) -> Any:
            with decoding(f"{path}: {leaf['path']} is damaged", DamagedFile):
                return restore(_array(archive, members[leaf["path"]]), leaf)

        def check_resized(name: str, found: Description, leaf: Any) -> None:
            grown = resized is not None and name.startswith(resized)
            wanted = describe(leaf)
            # a Python number of the start of a run is an array after the first step
            if not (grown and wanted["kind"] in NUMBERS and found.get("shape") == []):
                check_leaf(str(path), name, found, wanted, {"shape"} if grown else set())

        return fill(str(path), like, manifest["leaves"], array, check_resized)


def note_of(path: str | os.PathLike[str]) -> Any:
    """Return the note that was saved with a tree."""
    with _opened(Path(path)) as archive:
        return _manifest(path, archive)["note"]


def verify(path: str | os.PathLike[str]) -> None:
    """Check that a file is intact; raise `DamagedFile` if not."""
    with _opened(Path(path)) as archive, decoding(f"{path} is damaged", DamagedFile):
        wrong = archive.testzip()
    if wrong is not None:
        raise DamagedFile(f"{path}: {wrong} is damaged: its checksum is wrong")


def _write(file: BinaryIO, value: PyTree, note: Any) -> None:
    leaves = [(keystr(name), leaf) for name, leaf in tree_flatten_with_path(value)[0]]
    for name, leaf in leaves:
        if getattr(getattr(leaf, "dtype", None), "kind", "f") in "OSU":
            raise ValueError(f"value{name}: expected an array of numbers, got {leaf.dtype}. Pass words as note=.")
    described = [{"path": name, **describe(leaf)} for name, leaf in leaves]
    statics = {path: plain for path, _, plain in structs(value) if plain}
    try:
        manifest = json.dumps({"format": FORMAT, "leaves": described, "statics": statics, "note": note})
    except (TypeError, ValueError) as error:
        raise ValueError(f"note: expected numbers, strings, lists and dicts, which JSON can hold: {error}") from error
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_MANIFEST, manifest)
        for index, ((_, leaf), about) in enumerate(zip(leaves, described, strict=True)):
            if "dtype" in about:
                with archive.open(f"{index}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, plain_array(leaf), allow_pickle=False)


def _opened(path: Path) -> zipfile.ZipFile:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file")
    with decoding(f"{path} is damaged", DamagedFile):
        archive, size = zipfile.ZipFile(path), path.stat().st_size
        if any(x.compress_type != zipfile.ZIP_STORED or x.file_size > size for x in archive.infolist()):
            archive.close()
            raise ValueError("it declares members that are compressed, or larger than the file")
        return archive


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as member:
        np.lib.format.read_magic(member)
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        if math.prod(shape) * dtype.itemsize != archive.getinfo(name).file_size - member.tell():
            raise ValueError(f"{name} declares another size than it has")
        member.seek(0)
        array = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to the end, where the checksum is compared
        return array


def _manifest(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> dict[str, Any]:
    if _MANIFEST not in archive.namelist():
        raise DamagedFile(f"{path}: expected a file written by td.save, but it has no list of contents")
    with decoding(f"{path}: the list of contents is damaged", DamagedFile):
        manifest = json.loads(archive.read(_MANIFEST))
        if not isinstance(manifest, dict) or not manifest.keys() >= {"format", "leaves", "statics", "note"}:
            raise ValueError("expected format, leaves, statics and note")
    if manifest["format"] > FORMAT:
        raise ValueError(
            f"{path}: the file has format {manifest['format']} of a newer version; this version reads up to format "
            f"{FORMAT}. To read it, update treedyn."
        )
    return manifest
