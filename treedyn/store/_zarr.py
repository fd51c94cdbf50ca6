"""Any PyTree in Zarr: every leaf is an array whose first axis grows.

Frames count once their steps are written, and those are written last, so a file always holds complete frames, whatever
moment its writer died at.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr

from treedyn import _check as check
from treedyn._extras import require
from treedyn.store._frames import Frames
from treedyn.store._structure import array_leaves, pack, unpack, with_arrays
from treedyn.store._writer import FileWriter, check_steps
from treedyn.tree import PyTree

_FORMAT = "treedyn-tree"
_VERSION = 1
_CHUNK_BYTES = 2**20
_STEPS = "steps"


class ZarrWriter(FileWriter):
    """Write frames of any tree: numbers, weights of a network, states.

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

    def __init__(self, path: str | os.PathLike[str], *, mode: str = "x") -> None:
        """Open a file.

        Args:
            path: a directory, usually called `something.zarr`.
            mode: "x" for a new one, "w" to overwrite, "a" to continue what is there.

        Raises:
            FileExistsError: it is there and was to be new, or is something else.
            ImportError: zarr is not installed.
        """
        self._zarr = require("zarr", "zarr")
        super().__init__(path, mode)
        if self.path.is_file():
            raise FileExistsError(f"path: expected a directory, but {str(self.path)!r} is a file")
        self._arrays: dict[str, Any] = {}
        self._structure: Any = None
        self._touched: set[Path] = set()
        self._count = 0
        if mode == "w":
            _remove(self.path)
        if _begun(self.path):
            self._continue()

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames at the end."""
        self._check_open()
        steps = check_steps(steps, frames, self.last)
        leaves = [_storable(path, leaf) for path, leaf in array_leaves(frames)]
        names = _names(frames)
        structure = json.dumps(
            {"tree": pack(frames, lambda k: names[k]), "dtypes": {n: str(x.dtype) for n, x in _zip(names, leaves)}}
        )
        if self._structure is None:
            self._create(names, leaves, structure)
        self._check(names, leaves, structure)
        before, after = self._count, self._count + len(steps)
        for name, leaf in _zip(names, leaves):
            self._put(name, _plain(leaf), before, after)
        self._put(_STEPS, steps, before, after)
        self._count, self.last = after, int(steps[-1]) if len(steps) else self.last

    def rewind(self, step: int) -> None:
        """Drop every frame after `step`."""
        self._check_open()
        if self.last is not None and self.last > step:
            steps = np.asarray(self._arrays[_STEPS][:])
            self._keep(steps[: np.searchsorted(steps, step, side="right")])

    def flush(self) -> None:
        """Put everything on the disk."""
        self._check_open()
        self._sync()

    def _sync(self) -> None:
        for path in sorted(self._touched):
            if path.exists():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
        self._touched.clear()

    def _close(self) -> None:
        self._sync()

    def _continue(self) -> None:
        group = self._zarr.open_group(str(self.path), mode="r+")
        self._structure = _structure(group, self.path)
        names = list(json.loads(self._structure)["dtypes"])
        self._arrays = {name: group[name] for name in [*names, _STEPS]}
        self._keep(_complete(group))

    def _keep(self, steps: np.ndarray) -> None:
        """Keep the frames at `steps`, the first that there are."""
        self._count, self.last = len(steps), int(steps[-1]) if len(steps) else None
        # Taken back before the array becomes shorter: where it grows again, there has to be nothing.
        self._arrays[_STEPS][self._count :] = -1
        for array in (self._arrays[_STEPS], *self._arrays.values()):
            array.resize((self._count, *array.shape[1:]))

    def _create(self, names: list[str], leaves: list[np.ndarray], structure: str) -> None:
        _remove(self.path)
        group = self._zarr.open_group(str(self.path), mode="w")
        for name, leaf in [*_zip(names, leaves), (_STEPS, np.zeros(0, np.int64))]:
            plain = _plain(leaf)
            size = int(np.prod(plain.shape[1:])) * plain.dtype.itemsize
            frames = int(np.clip(_CHUNK_BYTES // max(size, 1), 1, 1024))
            self._arrays[name] = group.create_array(
                name,
                shape=(0, *plain.shape[1:]),
                dtype=plain.dtype,
                chunks=(frames, *(max(n, 1) for n in plain.shape[1:])),
                fill_value=-1 if name == _STEPS else 0,
                # a chunk that equals the fill value may differ from it in the sign of a zero, and would not be written
                config={"write_empty_chunks": True},
            )
        # last: what has no structure was never begun
        group.attrs.update({"format": _FORMAT, "version": _VERSION, "structure": structure})
        self._structure = structure

    def _check(self, names: list[str], leaves: list[np.ndarray], structure: str) -> None:
        if structure != self._structure:
            raise ValueError(
                f"frames: the file holds another tree\n    {self._structure}\ngot\n    {structure}\nbegin a new file"
            )
        for name, leaf in _zip(names, leaves):
            if self._arrays[name].shape[1:] != leaf.shape[1:]:
                raise ValueError(
                    f"frames: {name} has shape {self._arrays[name].shape[1:]} in the file, got {leaf.shape[1:]}"
                )

    def _put(self, name: str, values: np.ndarray, before: int, after: int) -> None:
        array = self._arrays[name]
        array.resize((after, *array.shape[1:]))
        if values.size:
            array[before:after] = values
        folder, rest = self.path / name, ["0"] * (values.ndim - 1)
        chunks = range(before // array.chunks[0], -(-after // array.chunks[0]))
        files = [folder.joinpath("c", str(k), *rest) for k in chunks]
        self._touched |= {folder / "zarr.json", folder, *files, *(file.parent for file in files)}


class ZarrFrames(Frames):
    """Read frames of a tree.

    Attributes:
        steps: the step of every frame, `int64[n]`.
    """

    def __init__(self, path: str | os.PathLike[str], like: PyTree = None) -> None:
        zarr = require("zarr", "zarr")
        where = check.path("path", path)
        if not _begun(where):
            raise ValueError(f"path: {str(where)!r} holds no frames of a tree; give what ZarrWriter wrote")
        self._group = zarr.open_group(str(where), mode="r")
        about = json.loads(_structure(self._group, where))
        self._tree, self._dtypes = about["tree"], about["dtypes"]
        self.steps = _complete(self._group)
        self._like = like
        if like is not None:
            _check_like(like, self._tree, list(self._dtypes))

    def _read(self, start: int, stop: int) -> Any:
        arrays = {name: self._group[name] for name in self._dtypes}
        return {
            name: np.asarray(array[start:stop]).view(jnp.dtype(self._dtypes[name])) for name, array in arrays.items()
        }

    def _pick(self, frames: Any, which: Any) -> PyTree:
        return self._build({name: array[which] for name, array in frames.items()})

    def __getitem__(self, index: Any) -> PyTree:
        out = super().__getitem__(index)
        # an empty slice is not picked from
        return self._build(out) if isinstance(index, slice) and not range(len(self))[index] else out

    def _build(self, arrays: dict[str, np.ndarray]) -> PyTree:
        if self._like is None:
            return unpack(self._tree, arrays)
        return with_arrays(self._like, [arrays[name] for name in self._dtypes])


def read_zarr(path: str | os.PathLike[str], *, like: PyTree = None) -> ZarrFrames:
    """Read frames that `ZarrWriter` wrote, also while it still writes.

    Args:
        path: the directory.
        like: a tree of the structure that was written, for one frame; the numbers in it do not matter. Only needed to
            get back nodes other than dicts, lists and tuples as what they were, instead of as dicts of their fields.

    Returns:
        The frames: `frames[-1]` is the last one, `frames[10:20]` are ten, stacked, and `frames.steps` their steps.

    Raises:
        ValueError: there is no such file, or `like` has another structure.
        ImportError: zarr is not installed.
    """
    return ZarrFrames(path, like)


def _begun(path: Path) -> bool:
    """Tell whether there is a tree at `path`: an array was made for every leaf of it."""
    about = path / "zarr.json"
    if not about.is_file():
        return False
    return json.loads(about.read_text()).get("attributes", {}).get("format") == _FORMAT


def _remove(path: Path) -> None:
    """Remove what is at `path` if it is a Zarr group, or nothing."""
    if not path.exists():
        return
    if not path.is_dir() or (any(path.iterdir()) and not (path / "zarr.json").is_file()):
        raise FileExistsError(f"path: {str(path)!r} is no Zarr group, and is not overwritten")
    shutil.rmtree(path)


def _structure(group: Any, path: Path) -> str:
    version = group.attrs["version"]
    if version > _VERSION:
        raise ValueError(f"path: {str(path)!r} has format version {version}, this release reads up to {_VERSION}")
    return str(group.attrs["structure"])


def _complete(group: Any) -> np.ndarray:
    """Return the steps of the frames that are complete: those before the first that is still missing."""
    steps = np.asarray(group[_STEPS][:], np.int64)
    missing = np.flatnonzero(steps < 0)
    return steps[: missing[0]] if missing.size else steps


def _storable(path: Any, leaf: Any) -> np.ndarray:
    name = f"frames{keystr(path)}"
    if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.extended):
        raise ValueError(f"{name}: random keys cannot be written; jax.random.key_data(key) can")
    array = np.asarray(leaf)
    if array.ndim == 0:
        raise ValueError(f"{name}: has no first axis that could count frames")
    if array.dtype.kind in "OSUMm":
        raise ValueError(f"{name}: expected numbers, got {array.dtype}")
    return array


def _plain(array: np.ndarray) -> np.ndarray:
    """Return an array as one of the dtypes that every reader of Zarr knows; bfloat16 and its like as their bits."""
    return array if array.dtype.kind in "biufc" else array.view(np.dtype(f"u{array.dtype.itemsize}"))


def _names(frames: PyTree) -> list[str]:
    """Return the names of the leaves: their paths where these can be names of files everywhere, else numbers."""
    paths = [path for path, _ in array_leaves(frames)]
    parts = [[keystr((entry,), simple=True) for entry in path] for path in paths]
    good = all(
        path and all((part.isascii() and part.isidentifier()) or part.isdecimal() for part in path) for path in parts
    )
    names = ["/".join(path) for path in parts]
    # some file systems do not tell upper from lower case
    if good and len({name.lower() for name in names}) == len(names) and not any(p[0].lower() == _STEPS for p in parts):
        return names
    return [f"leaf_{k}" for k in range(len(parts))]


def _zip(names: list[str], leaves: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return list(zip(names, leaves, strict=True))


def _check_like(like: PyTree, packed: Any, names: list[str]) -> None:
    def name(k: int) -> str:
        return names[k] if k < len(names) else f"leaf {k}"

    found = pack(like, name)
    if found != packed:
        raise ValueError(f"like: expected the tree in the file\n    {packed}\ngot\n    {found}")
