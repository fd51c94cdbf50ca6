"""Any PyTree in Zarr: every leaf is an array whose first axis grows.

The steps are written last, so the file holds complete frames even if its writer dies.
"""

import json
import os
import shutil
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
from treedyn.store._files import chunks, complete, put, sync
from treedyn.store._frames import Frames
from treedyn.store._writer import FileWriter, Mode
from treedyn.tree import PyTree

_FORMAT = "treedyn-tree"
_VERSION = 2
_CHUNK_BYTES = 2**20
_STEPS = "steps"


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
        if self.path.is_file():
            raise FileExistsError(f"path: expected a directory, but {str(self.path)!r} is a file")
        self._arrays: dict[str, Any] = {}
        self._touched: set[Path] = set()
        if mode == "w":
            _remove(self.path)
        if _is_begun(self.path):
            group = self._zarr.open_group(str(self.path), mode="r+")
            self._structure = _structure(group, self.path)
            names = [leaf["name"] for leaf in _arrays(json.loads(self._structure))]
            self._arrays = {name: group[name] for name in [*names, _STEPS]}
            self._keep(complete(group[_STEPS]))

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        frames = tree.unbox(frames)
        leaves = [(path, leaf) for path, leaf in tree_flatten_with_path(frames)[0] if tree.is_array(leaf)]
        for path, leaf in leaves:
            _check_storable(f"frames{keystr(path)}", leaf)
        packed, arrays = pack(frames, _describe_frame), {}
        for name, (_, leaf), about in zip(_names([path for path, _ in leaves]), leaves, _arrays(packed), strict=True):
            about["name"], arrays[name] = name, plain_array(leaf)
        arrays[_STEPS] = steps
        structure = json.dumps(packed)
        if self._structure is None:
            self._create(arrays, structure)
        if structure != self._structure:
            raise ValueError(
                f"frames: the file holds another tree\n    {self._structure}\ngot\n    {structure}\nWrite a new file."
            )
        before, after = self._count, self._count + len(steps)
        for name, values in arrays.items():  # the steps last
            array = self._arrays[name]
            put(array, values, before, after)
            folder, rest = self.path / name, ["0"] * (values.ndim - 1)
            numbers = range(before // array.chunks[0], -(-after // array.chunks[0]))
            files = [folder.joinpath("c", str(k), *rest) for k in numbers]
            self._touched |= {folder / "zarr.json", folder, *files, *(file.parent for file in files)}
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

    def _create(self, arrays: dict[str, np.ndarray], structure: str) -> None:
        _remove(self.path)
        group = self._zarr.open_group(str(self.path), mode="w")
        for name, values in arrays.items():
            self._arrays[name] = group.create_array(
                name,
                shape=(0, *values.shape[1:]),
                dtype=values.dtype,
                chunks=chunks(values.shape[1:], values.dtype, _CHUNK_BYTES),
                fill_value=-1 if name == _STEPS else 0,
                # otherwise a chunk of negative zeros would equal the fill value and not be written
                config={"write_empty_chunks": True},
            )
        # last, because a group without a structure is not yet a file of frames
        group.attrs.update({"format": _FORMAT, "version": _VERSION, "structure": structure})
        self._structure = structure


class ZarrFrames(Frames):
    """Frames of a tree in Zarr.

    Attributes:
        steps: the step of every frame.
    """

    def __init__(self, path: str | os.PathLike[str], like: PyTree = None) -> None:
        zarr = require("zarr", "zarr")
        where = check.path("path", path)
        if not _is_begun(where):
            raise ValueError(f"path: {str(where)!r} holds no frames of a tree. Give a path written by ZarrWriter.")
        self._group = zarr.open_group(str(where), mode="r")
        self._packed, self._like = json.loads(_structure(self._group, where)), like
        self.steps = complete(self._group[_STEPS])
        if like is not None:
            _ = self[:0]  # checks `like`

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return {
            leaf["name"]: typed(np.asarray(self._group[leaf["name"]][start:stop]), leaf["dtype"])
            for leaf in _arrays(self._packed)
        }

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


def _is_begun(path: Path) -> bool:
    """Return whether the Zarr group at `path` holds frames of a tree, with an array for every leaf."""
    about = path / "zarr.json"
    return about.is_file() and json.loads(about.read_text()).get("attributes", {}).get("format") == _FORMAT


def _remove(path: Path) -> None:
    """Remove `path` if it is a Zarr group or an empty directory."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / "zarr.json").is_file()):
        raise FileExistsError(f"path: {str(path)!r} is not a Zarr group and is not overwritten. Use another path.")
    shutil.rmtree(path)


def _structure(group: Any, path: Path) -> str:
    version = group.attrs["version"]
    if version != _VERSION:
        raise ValueError(
            f"path: {str(path)!r} has version {version} of the format, expected {_VERSION}. Use the release of treedyn "
            "that wrote it."
        )
    return str(group.attrs["structure"])


def _arrays(packed: Any) -> list[Description]:
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
