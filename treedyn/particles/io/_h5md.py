"""HDF5 in the layout of H5MD, readable while it grows.

The file is kept in the single-writer-multiple-reader mode of HDF5, in which it is consistent at every moment. Values
are written first, then flushed, then their steps: a frame counts once its step is there. After a writer was killed HDF5
refuses to continue the file; then the complete frames are copied to a new one, which takes its place. HDF5 does not
survive a full disk: room is taken before anything is written, and what is left of it is given back at the end.

Reference: P. de Buyl, P. H. Colberg and F. Höfling, Comput. Phys. Commun. 185, 1546 (2014),
[doi:10.1016/j.cpc.2014.01.018](https://doi.org/10.1016/j.cpc.2014.01.018); https://www.nongnu.org/h5md/h5md.html
"""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, check_space, content, masses
from treedyn.particles.io._species import atomic_numbers
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.space._space import Periodic
from treedyn.store._writer import FileWriter
from treedyn.tree import PyTree

_GROUP = "particles/all"
_POSITION = f"{_GROUP}/position"
_EDGES = f"{_GROUP}/box/edges"
_CHUNK_BYTES = 2**16
_ROOM = 2**20  # bytes that are taken at a time
_END = slice(28, 36)  # where a file says where it ends, since version 2 of the format


class H5MDWriter(FileWriter):
    """Write HDF5 in the layout of H5MD.

    What there is one of in a frame becomes an observable. Where frames have no time, it is the step.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: str = "x",
        space: Any = None,
        species: Any = None,
        mass: Any = None,
    ) -> None:
        """Open a file.

        Args:
            path: where.
            mode: "x" for a new file, "w" to overwrite one, "a" to continue it.
            space: the box, where it does not change; open space by default.
            species: chemical symbols or atomic numbers, one for all or one each; X by default.
            mass: one for all or one each.

        Raises:
            FileExistsError: the file is there and was to be new.
            ValueError: it is to be continued and is no H5MD.
            ImportError: h5py is not installed.
        """
        self._h5py = require("h5py", "hdf5")
        super().__init__(path, mode)
        self._space, self._species, self._mass = check_space(space), species, mass
        self._file: Any = None
        self._count = 0
        if mode == "w" and self.path.exists():
            self.path.unlink()
        if self.path.exists():
            self._continue()

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames at the end."""
        self._check_open()
        found = content(steps, frames, self._space, self.last)
        values = _values(found, isinstance(self._space, Periodic))
        if self._file is None:
            self._file = self._create(found, values)
        held = {name: (array.shape[1:], array.dtype) for name, array in self._arrays().items()}
        given = {name: (x.shape[1:], x.dtype) for name, x in values.items()}
        if given != held:
            raise ValueError(f"frames: the file holds {held}, got {given}; begin a new file")
        try:
            self._append(found, values)
        except RuntimeError as error:  # what HDF5 says where another library would say OSError
            raise OSError(f"{self.path}: {error}") from error

    def _append(self, found: Content, values: dict[str, np.ndarray]) -> None:
        time = found.steps.astype(np.float64) if found.time is None else found.time
        before, after = self._count, self._count + len(found.steps)
        self._reserve({name: self._file[f"{name}/value"] for name in values}, len(found.steps))
        for name, x in values.items():
            _put(self._file[f"{name}/value"], x, before, after)
        _put(self._file[f"{_POSITION}/time"], time, before, after)
        self._file.flush()
        _put(self._file[f"{_POSITION}/step"], found.steps, before, after)
        self._file.flush()
        self._count, self.last = after, int(found.steps[-1]) if len(found.steps) else self.last

    def rewind(self, step: int) -> None:
        """Drop every frame after `step`."""
        self._check_open()
        if self.last is not None and self.last > step:
            dataset = self._file[f"{_POSITION}/step"]
            steps = dataset[: self._count]
            self._count = int(np.searchsorted(steps, step, side="right"))
            self.last = int(steps[self._count - 1]) if self._count else None
            # Only marked: they will be written again, and readers may be looking. `close` takes away what is left.
            dataset[self._count :] = -1
            self._file.flush()

    def flush(self) -> None:
        """Put everything on the disk."""
        self._check_open()
        if self._file is not None:
            self._file.flush()
            _sync(self.path)

    def _close(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            try:
                for dataset in _growing(file):
                    if len(dataset) > self._count:
                        dataset.resize(self._count, axis=0)
                file.flush()
            finally:
                file.close()
        except RuntimeError as error:
            raise OSError(f"{self.path}: {error}") from error
        with open(self.path, "rb") as closed:
            os.truncate(self.path, int.from_bytes(closed.read(_END.stop)[_END], "little"))
        _sync(self.path)

    def _arrays(self) -> dict[str, Any]:
        out = {f"{_GROUP}/{name}": x for name, x in _elements(self._file[_GROUP]).items()}
        out |= {f"observables/{name}": x for name, x in _elements(self._file.get("observables", {})).items()}
        return out | ({_EDGES: self._file[f"{_EDGES}/value"]} if _EDGES in self._file else {})

    def _create(self, found: Content, values: dict[str, np.ndarray]) -> Any:
        species = atomic_numbers(self._species, found.count)
        mass = None if self._mass is None else masses(self._mass, found.count)
        # made aside, so that there is either no file or one that frames can be written to
        aside = self.path.with_name(self.path.name + ".partial")
        _allocate(aside, _ROOM)
        with self._h5py.File(aside, "w", libver="latest") as file:
            for name in ("h5md/author", "h5md/creator", f"{_GROUP}/box"):
                file.create_group(name)
            file["h5md"].attrs["version"] = np.array([1, 1])
            file["h5md/author"].attrs["name"] = "unknown"
            file["h5md/creator"].attrs["name"] = "treedyn"
            file["h5md/creator"].attrs["version"] = _version()
            file[f"{_GROUP}/box"].attrs["dimension"] = found.dimension
            boundary = ["periodic" if axis else "none" for axis in found.axes]
            file[f"{_GROUP}/box"].attrs["boundary"] = np.array(boundary, "S8")
            file[f"{_GROUP}/species"] = species
            if mass is not None:
                file[f"{_GROUP}/mass"] = mass
            time = np.zeros(0, np.float64 if found.time is None else found.time.dtype)
            _grow(file, f"{_POSITION}/step", found.steps[:0], -1)
            _grow(file, f"{_POSITION}/time", time, 0)
            for name, x in values.items():
                _grow(file, f"{name}/value", x, 0)
                for shared in ("step", "time"):
                    if name != _POSITION:
                        file[f"{name}/{shared}"] = file[f"{_POSITION}/{shared}"]
        os.replace(aside, self.path)
        return self._open()

    def _reserve(self, datasets: dict[str, Any], frames: int) -> None:
        """Take room for chunks that may have to be written, and what belongs to them, or raise an OSError."""
        need = _ROOM
        for dataset in datasets.values():
            need += (frames // dataset.chunks[0] + 2) * int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
        size = self._file.id.get_filesize()
        if size + need > self._room:
            _allocate(self.path, size + need + _ROOM)
            self._room = size + need + _ROOM

    def _open(self) -> Any:
        self._room = 0
        file = self._h5py.File(self.path, "r+", libver="latest")
        file.swmr_mode = True
        return file

    def _continue(self) -> None:
        try:
            with self._h5py.File(self.path, "r+", libver="latest") as file:
                good = f"{_POSITION}/step" in file
        except OSError:
            good = self._recover()
        if not good:
            raise ValueError(f'path: {str(self.path)!r} is no H5MD with positions; mode="w" overwrites it')
        self._file = self._open()
        steps = _complete(self._file)
        self._count, self.last = len(steps), int(steps[-1]) if len(steps) else None

    def _recover(self) -> bool:
        """Copy what a killed writer left; False where there is nothing to be read."""
        aside = self.path.with_name(self.path.name + ".partial")
        try:
            with (
                self._h5py.File(self.path, "r", libver="latest", swmr=True) as old,
                self._h5py.File(aside, "w", libver="latest") as new,
            ):
                if f"{_POSITION}/step" not in old:
                    return False
                for name in old:
                    old.copy(name, new)
            _sync(aside)
            os.replace(aside, self.path)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise ValueError(
                f"path: {str(self.path)!r} cannot be continued: it is open in another process, or damaged ({error})"
            ) from error
        return True


class H5MDTrajectory(Trajectory):
    """Read H5MD, also while it is being written; the frames are those that there were when it was opened."""

    def __init__(self, path: str | os.PathLike[str], group: str | None = None) -> None:
        h5py = require("h5py", "hdf5")
        self._file = _opened(h5py, check.file("path", path))
        groups = list(self._file.get("particles", ()))
        if not groups or (group is not None and (not isinstance(group, str) or group not in groups)):
            raise ValueError(
                f"group: {str(path)!r} has the groups of particles {groups}, expected one of them, got {group!r}"
            )
        self._name = f"particles/{groups[0] if group is None else group}"
        self._particles: Any = self._file[self._name]
        if "position/value" not in self._particles:
            raise ValueError(f"path: {str(path)!r} has no positions in {self._name}")
        self.steps = _complete(self._file, self._name)
        count = self._particles["position/value"].shape[1]
        boundary = self._particles["box"].attrs.get("boundary", ())
        names = [x.decode() if isinstance(x, bytes) else str(x) for x in np.ravel(boundary)]
        self.axes = tuple(name == "periodic" for name in names)
        species = self._particles.get("species")
        self.species = atomic_numbers(species[:] if isinstance(species, h5py.Dataset) else None, count)
        mass = self._particles.get("mass")
        self.mass = mass[:] if isinstance(mass, h5py.Dataset) else None

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        out = {name: x[start:stop] for name, x in _elements(self._particles).items()}
        if "time" in self._particles["position"] and not _is_step(self._particles["position"], start, stop):
            out["time"] = self._particles["position/time"][start:stop]
        out |= {name: x[start:stop] for name, x in _elements(self._file.get("observables", {})).items()}
        edges = self._particles["box"].get("edges")
        if edges is not None:
            out["cell"] = _matrices(edges, start, stop)
        return out


def _opened(h5py: Any, path: Path) -> Any:
    try:
        return h5py.File(path, "r")
    except OSError:
        try:
            return h5py.File(path, "r", libver="latest", swmr=True)
        except OSError as error:
            raise ValueError(f"path: expected a file in HDF5, but {str(path)!r} is none: {error}") from error


def read_h5md(path: str | os.PathLike[str], *, group: str | None = None) -> H5MDTrajectory:
    """Read HDF5 in the layout of H5MD.

    Args:
        path: the file; it may be one that is being written.
        group: which group of particles, by default the first.

    Returns:
        Its frames. Those that are written from now on are not among them: read it again.

    Raises:
        ValueError: there are no positions in it.
        ImportError: h5py is not installed.
    """
    return H5MDTrajectory(path, group)


def _values(found: Content, rectangular: bool) -> dict[str, np.ndarray]:
    out = {_POSITION: found.position}
    out |= {f"{_GROUP}/{name}": x for name, x in found.particles.items()}
    out |= {f"observables/{name}": x for name, x in found.frames.items()}
    if bad := [
        name for name in (*found.particles, *found.frames) if "/" in name or name in ("", ".", "box", "species")
    ]:
        raise ValueError(f"frames[{bad[0]!r}]: is no name that H5MD has room for")
    if found.cell is not None:
        diagonal = np.diagonal(found.cell, axis1=1, axis2=2)
        flat = rectangular and np.array_equal(found.cell, diagonal[:, :, None] * np.eye(found.dimension))
        out[_EDGES] = diagonal if flat else found.cell
    return out


def _elements(group: Any) -> dict[str, Any]:
    """Return the values of everything in a group that has a value for every frame."""
    # what is constant is a dataset, and asking what is in it would read it
    return {name: entry["value"] for name, entry in group.items() if hasattr(entry, "keys") and "value" in entry}


def _grow(file: Any, name: str, like: np.ndarray, fill: int) -> None:
    size = max(int(np.prod(like.shape[1:])) * like.dtype.itemsize, 1)
    frames = int(np.clip(_CHUNK_BYTES // size, 1, 1024))
    file.create_dataset(
        name,
        shape=(0, *like.shape[1:]),
        maxshape=(None, *like.shape[1:]),
        chunks=(frames, *(max(n, 1) for n in like.shape[1:])),
        dtype=like.dtype,
        fillvalue=fill,
    )


def _put(dataset: Any, values: np.ndarray, before: int, after: int) -> None:
    if len(dataset) < after:
        dataset.resize(after, axis=0)
    if values.size:
        dataset[before:after] = values


def _allocate(path: Path, size: int) -> None:
    """Make a file at least `size` bytes long, with room on the disk for them."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def _growing(file: Any) -> list[Any]:
    found = []
    file.visititems(lambda _, x: found.append(x) if getattr(x, "maxshape", (0,))[:1] == (None,) else None)
    return found


def _complete(file: Any, group: str = _GROUP) -> np.ndarray:
    """Return the steps of the frames that are complete: those before the first that is marked as missing."""
    position = file[f"{group}/position"]
    if "step" not in position:
        return np.arange(position["value"].shape[0])
    step = position["step"]
    if step.shape == ():
        return np.arange(position["value"].shape[0]) * int(step[()])
    steps = np.asarray(step[:], np.int64)
    missing = np.flatnonzero(steps < 0)
    return steps[: missing[0]] if missing.size else steps


def _is_step(position: Any, start: int, stop: int) -> bool:
    """Tell whether the time is no more than the step, as it is written where there is none."""
    if position["time"].shape == ():
        return True
    return "step" in position and np.array_equal(position["time"][start:stop], position["step"][start:stop])


def _matrices(edges: Any, start: int, stop: int) -> np.ndarray:
    fixed = "value" not in edges if hasattr(edges, "keys") else True
    value = np.asarray(edges[()])[None].repeat(stop - start, axis=0) if fixed else edges["value"][start:stop]
    return value if value.ndim == 3 else value[:, :, None] * np.eye(value.shape[1])


def _version() -> str:
    from treedyn import __version__

    return __version__


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
