"""Any PyTree in Zarr: every leaf is an array whose first axis grows.

The steps are written last, so the file holds complete frames even if its writer dies.
"""

import json
import os
import shutil
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import _check as check
from treedyn import tree
from treedyn._extras import require
from treedyn.store._codec import Description, check_leaf, describe, fill, leaves_of, pack, plain_array, typed, unpack
from treedyn.store._files import chunks, complete, decoding, put, replacing, sync
from treedyn.store._frames import Frames
from treedyn.store._writer import FileWriter, Mode
from treedyn.tree import PyTree

_FORMAT = "treedyn-tree"
_VERSION = 3
_CHUNK_BYTES = 2**20
_STEPS = "steps"
_ABOUT = "zarr.json"


class ZarrWriter(FileWriter):
    """A writer of frames of any tree, such as numbers, weights of a network or states.

    The path is that of a directory, usually called `something.zarr`.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import store
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.zarr"
        >>> with store.ZarrWriter(path) as writer:
        ...     writer.write(np.array([10, 20]), {"w": np.ones((2, 3)), "layers": [np.zeros((2, 5, 5))]})
        >>> frames = store.read_zarr(path)
        >>> print(frames.steps, frames[-1]["w"], frames[:]["layers"][0].shape)
        [10 20] [1. 1. 1.] (2, 5, 5)
    """

    _structure: str | None = None
    _count = 0

    def _open(self, mode: Mode) -> None:
        self._zarr = require("zarr", "zarr")
        self._touched: set[Path] = set()
        found = None if mode == "w" else _opened(self._zarr, self.path, "r+")
        if found is not None:
            self._structure, self._arrays, steps = found
            self._keep(steps)
        elif self.path.exists():
            ours = mode == "w" and (self.path / _ABOUT).is_file()
            if not self.path.is_dir() or (any(self.path.iterdir()) and not ours):
                raise FileExistsError(f"path: {str(self.path)!r} was not written by ZarrWriter. Use another path.")
            shutil.rmtree(self.path)

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        frames = tree.unbox(frames)
        leaves = [(path, leaf) for path, leaf in tree_flatten_with_path(frames)[0] if tree.is_array(leaf)]
        for path, leaf in leaves:
            _check_storable(f"frames{keystr(path)}", leaf)
        packed, arrays = pack(frames, _describe_frame), {}
        for name, (_, leaf), about in zip(_names([path for path, _ in leaves]), leaves, _stored(packed), strict=True):
            about["name"], arrays[name] = name, plain_array(leaf)
        arrays[_STEPS] = steps
        structure = json.dumps(packed)
        if self._structure is None:
            self._structure, self._arrays, _ = self._create(arrays, structure)
        if structure != self._structure:
            raise ValueError(
                f"frames: the file holds another tree\n    {self._structure}\ngot\n    {structure}\nWrite a new file."
            )
        before, after = self._count, self._count + len(steps)
        with decoding(f"path: {str(self.path)!r} is damaged"):
            for name, values in arrays.items():  # the steps last
                put(self._arrays[name], values, before, after)
                files, folder = _files(self.path / name, self._arrays[name], before, after), self.path / name
                self._touched |= {folder / _ABOUT, folder, *files, *(file.parent for file in files)}
        self._count = after

    def _cut(self, step: int) -> None:
        steps = np.asarray(self._arrays[_STEPS][:])
        self._keep(steps[: np.searchsorted(steps, step, side="right")])

    def _sync(self) -> None:
        for path in sorted(path for path in self._touched if path.exists()):
            sync(path)
        self._touched.clear()

    def _keep(self, steps: np.ndarray) -> None:
        """Keep the first frames, which have these steps."""
        self._count, self.last = len(steps), int(steps[-1]) if len(steps) else None
        # erased before the array becomes shorter, because it may grow again
        self._arrays[_STEPS][self._count :] = -1
        for array in (self._arrays[_STEPS], *self._arrays.values()):
            array.resize((self._count, *array.shape[1:]))

    def _create(self, arrays: dict[str, np.ndarray], structure: str) -> tuple[str, dict[str, Any], np.ndarray]:
        with replacing(self.path) as aside:
            group = self._zarr.open_group(str(aside), mode="w")
            for name, values in arrays.items():
                group.create_array(
                    name,
                    shape=(0, *values.shape[1:]),
                    dtype=values.dtype,
                    chunks=chunks(values.shape[1:], values.dtype, _CHUNK_BYTES),
                    compressors=self._zarr.codecs.ZstdCodec(checksum=True),
                    fill_value=-1 if name == _STEPS else 0,
                )
            about = {"format": _FORMAT, "version": _VERSION, "structure": structure, "crc32": _checksum(structure)}
            group.attrs.update(about)
        self._touched |= {self.path, *self.path.rglob("*")}
        found = _opened(self._zarr, self.path, "r+")
        assert found is not None
        return found


class ZarrFrames(Frames):
    """Frames of a tree in Zarr.

    Attributes:
        path: the directory.
        steps: the step of every frame.
    """

    def __init__(self, path: str | os.PathLike[str], like: PyTree = None) -> None:
        self.path, self._like = check.path("path", path), like
        found = _opened(require("zarr", "zarr"), self.path, "r")
        if found is None:
            raise ValueError(f"path: {str(path)!r} holds no frames of a tree. Give a path written by ZarrWriter.")
        structure, self._arrays, self.steps = found
        self._packed = json.loads(structure)
        if like is not None:
            _ = self[:0]  # checks `like`

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        out = {}
        for leaf in _stored(self._packed):
            array = self._arrays[leaf["name"]]
            # zeros would take the place of what is not there
            files = _files(self.path / leaf["name"], array, start, stop) if array.size else []
            if missing := [str(file) for file in files if not file.exists()]:
                raise ValueError(f"there is no file {missing[0]!r}")
            out[leaf["name"]] = typed(np.asarray(array[start:stop]), leaf["dtype"])
        return out

    def _build(self, arrays: dict[str, np.ndarray]) -> PyTree:
        if self._like is None:
            return unpack(self._packed, lambda leaf: arrays[leaf["name"]])
        return fill("like", self._like, leaves_of(self._packed), lambda leaf: arrays[leaf["name"]], _check_like)


def read_zarr(path: str | os.PathLike[str], *, like: PyTree = None) -> ZarrFrames:
    """Read frames that `ZarrWriter` wrote, also while it still writes.

    Args:
        path: the directory.
        like: a tree of the structure of one frame. The values of its numbers do not matter. With it structs, named
            tuples and modules come back as themselves; otherwise as dicts of their fields.

    Returns:
        The frames: `frames[-1]` is the last one, `frames[10:20]` are ten, stacked, and `frames.steps` their steps.

    Raises:
        ValueError: there is no such file, or `like` has another structure.
        ImportError: zarr is not installed.
    """
    return ZarrFrames(path, like)


def _opened(zarr: Any, path: Path, mode: str) -> tuple[str, dict[str, Any], np.ndarray] | None:
    """Return the structure, the arrays by name and the steps of frames, `None` if there are no frames of a tree.

    The arrays have to be what the structure says.
    """
    if not (path / _ABOUT).is_file():
        return None
    arrays = {}
    with decoding(f"path: {str(path)!r} cannot be read"):
        about = json.loads((path / _ABOUT).read_bytes()).get("attributes", {})
        if about.get("format") != _FORMAT:
            return None
        if (version := about["version"]) != _VERSION:
            raise ValueError(
                f"it has version {version} of the format, expected {_VERSION}. Use the treedyn that wrote it."
            )
        if about["crc32"] != _checksum(structure := about["structure"]):
            raise ValueError("the checksum of its structure is wrong")
        group = zarr.open_group(str(path), mode=mode)
        for leaf in (*_stored(json.loads(structure)), {"name": _STEPS, "dtype": "int64", "shape": []}):
            # otherwise a chunk of negative zeros would equal the fill value and not be written
            array = arrays[leaf["name"]] = group[leaf["name"]].with_config({"write_empty_chunks": True})
            plain = plain_array(np.zeros(0, jnp.dtype(leaf["dtype"]))).dtype
            if array.shape[1:] != tuple(leaf["shape"]) or array.dtype != plain:
                raise ValueError(f"{leaf['name']}: expected {leaf['dtype']}{leaf['shape']}, got {array}")
        if arrays[_STEPS].fill_value != -1:
            raise ValueError(f"expected -1 for missing steps, got {arrays[_STEPS].fill_value}")
        steps = complete(arrays[_STEPS])
        if short := [name for name, array in arrays.items() if array.shape[0] < len(steps)]:
            raise ValueError(f"{short[0]}: expected {len(steps)} frames, got {arrays[short[0]].shape[0]}")
        return structure, arrays, steps


def _checksum(structure: str) -> int:
    return zlib.crc32(structure.encode())


def _files(folder: Path, array: Any, start: int, stop: int) -> list[Path]:
    """Return the files that hold frames `start` to `stop` of an array."""
    size, rest = array.chunks[0], ["0"] * (array.ndim - 1)
    return [folder.joinpath("c", str(k), *rest) for k in range(start // size, -(-stop // size))]


def _stored(packed: Any) -> list[Description]:
    """Return the descriptions of the leaves that are arrays."""
    return [leaf for leaf in leaves_of(packed) if "dtype" in leaf]


def _describe_frame(leaf: Any) -> Description:
    """Return the description of a leaf of one frame, where that of stacked frames is given."""
    about = describe(leaf)
    return {"kind": "array", "dtype": about["dtype"], "shape": about["shape"][1:]} if "dtype" in about else about


def _check_storable(name: str, leaf: Any) -> None:
    if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.extended):
        raise ValueError(f"{name}: random keys cannot be written. Write jax.random.key_data(key).")
    if np.ndim(leaf) == 0:
        raise ValueError(f"{name}: expected an array whose first axis counts the frames, got {leaf!r}")
    if np.dtype(leaf.dtype).kind in "OSUMm":
        raise ValueError(f"{name}: expected numbers, got {leaf.dtype}")


def _check_like(name: str, found: Description, leaf: Any) -> None:
    wanted = describe(np.zeros(()) if tree.is_array(leaf) else leaf)  # any array fits an array
    check_leaf("like", name, found, wanted, {"dtype", "shape"})


def _names(paths: list[Any]) -> list[str]:
    """Return the names of the arrays: their paths if every file system accepts them, otherwise numbers."""
    parts = [[keystr((entry,), simple=True) for entry in path] for path in paths]
    good = all(
        path and all((part.isascii() and part.isidentifier()) or part.isdecimal() for part in path) for path in parts
    )
    names = ["/".join(path) for path in parts]
    # some file systems ignore the case of letters
    if good and len({name.lower() for name in names}) == len(names) and not any(p[0].lower() == _STEPS for p in parts):
        return names
    return [f"leaf_{k}" for k in range(len(parts))]
