"""HDF5 in the layout of H5MD, readable while it grows.

The file is in the single-writer-multiple-reader mode of HDF5, in which it is always consistent. Values are written and
flushed before their steps, so a frame counts once its step is there. HDF5 does not survive a full disk, so space is
reserved before anything is written, and the rest of it is returned at the end, unless the writer is killed.

Reference: P. de Buyl, P. H. Colberg and F. Höfling, Comput. Phys. Commun. 185, 1546 (2014),
[doi:10.1016/j.cpc.2014.01.018](https://doi.org/10.1016/j.cpc.2014.01.018); https://www.nongnu.org/h5md/h5md.html
"""

import contextlib
import math
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import treedyn
from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, ParticleWriter, of_others
from treedyn.particles.io._species import SYMBOLS
from treedyn.particles.io._superblock import Unmarked, is_growing, length, take_mark
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.space._space import Periodic
from treedyn.store._files import allocate, chunks, complete, decoding, put, replacing, sync
from treedyn.store._writer import Mode
from treedyn.tree import PyTree

_GROUP = "particles/all"
_POSITION = f"{_GROUP}/position"
_STEP, _TIME = f"{_POSITION}/step", f"{_POSITION}/time"
_EDGES = f"{_GROUP}/box/edges/value"
_CHUNK_BYTES = 2**16
_RESERVE = 2**20  # bytes
_COMPRESSION = 1032  # of zlib at its best


class H5MDWriter(ParticleWriter):
    """A writer of HDF5 in the layout of H5MD."""

    _file: Any = None
    _arrays: dict[str, Any]
    _count = 0
    _reserved = 0

    def _open(self, mode: Mode) -> None:
        self._h5py = require("h5py", "hdf5")
        if mode == "w":
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            self._continue()

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        found = self._content(steps, frames)
        values = _values(found, isinstance(self._space, Periodic))
        if self._file is None:
            self._create(found, values)
        held = {name: (array.shape[1:], array.dtype) for name, array in self._arrays.items()}
        given = {name: (x.shape[1:], x.dtype) for name, x in values.items()}
        if given != held:
            raise ValueError(f"frames: expected the arrays {held} as in the file, got {given}. Begin a new file.")
        before, after = self._count, self._count + len(steps)
        assert self._file is not None
        with self._writing():
            self._reserve(len(steps))
            for name, x in values.items():
                put(self._arrays[name], x, before, after)
            self._file.flush()
            put(self._file[_STEP], steps, before, after)
            self._file.flush()
        self._count = after

    def _cut(self, step: int) -> None:
        dataset = self._file[_STEP]
        steps = dataset[: self._count]
        self._keep(steps[: np.searchsorted(steps, step, side="right")])
        # only marked, because readers may use the rest; it is written again, or dropped by `close`
        dataset[self._count :] = -1
        self._file.flush()

    def _sync(self) -> None:
        if self._file is not None:
            self._file.flush()
            sync(self.path)

    def _close(self) -> None:
        if self._file is None:
            return
        with self._lock, self._writing(), self._file as file:
            for dataset in (*self._arrays.values(), file[_STEP]):
                if len(dataset) > self._count:
                    dataset.resize(self._count, axis=0)
            file.flush()
        os.truncate(self.path, length(self.path))
        sync(self.path)

    def _keep(self, steps: np.ndarray) -> None:
        self._count, self.last = len(steps), int(steps[-1]) if len(steps) else None

    def _create(self, found: Content, values: dict[str, np.ndarray]) -> None:
        with replacing(self.path) as aside:
            allocate(aside, 0, _RESERVE)
            with self._h5py.File(aside, "w", libver="latest") as file:
                boundary = np.array(["periodic" if axis else "none" for axis in found.axes], "S8")
                for name, attributes in {
                    "h5md": {"version": np.array([1, 1])},
                    "h5md/author": {"name": "unknown"},
                    "h5md/creator": {"name": "treedyn", "version": treedyn.__version__},
                    f"{_GROUP}/box": {"dimension": found.dimension, "boundary": boundary},
                }.items():
                    file.require_group(name).attrs.update(attributes)
                file[f"{_GROUP}/species"] = found.species
                if found.mass is not None:
                    file[f"{_GROUP}/mass"] = found.mass
                _grow(file, _STEP, found.steps, -1)
                for name, x in values.items():
                    _grow(file, name, x, 0)
                for element in (file[name].parent for name in values if name not in (_TIME, f"{_POSITION}/value")):
                    for name in file[_POSITION].keys() - {"value"}:
                        element[name] = file[_POSITION][name]
        self._open_to_append()

    def _reserve(self, frames: int) -> None:
        """Reserve space for all chunks that may be written, or raise an OSError."""
        need = _RESERVE
        for dataset in self._arrays.values():
            need += (frames // dataset.chunks[0] + 2) * int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
        size = self._file.id.get_filesize()
        if size + need > self._reserved:
            self._reserved = size + need + _RESERVE
            allocate(self.path, size, self._reserved - size)

    def _continue(self) -> None:
        with H5MDTrajectory(self.path) as found:
            if not found.is_ours:
                raise of_others(self.path)
            _ = found[-1:]
        self._open_to_append()
        self._keep(complete(self._file[_STEP]))

    def _open_to_append(self) -> None:
        names: list[str] = []

        def look(name: str, x: Any) -> None:
            if hasattr(x, "shape"):
                x.id.get_storage_size()  # which reads the index of its chunks
            names.append(name)

        # damage is found before, because a writer tries again for years if a checksum is wrong
        with decoding(f"path: {str(self.path)!r} is damaged"), _opened(self._h5py, self.path) as file:
            file.visititems(look)
        flags, access = self._h5py.h5f, self._h5py.h5p.create(self._h5py.h5p.FILE_ACCESS)
        access.set_libver_bounds(flags.LIBVER_LATEST, flags.LIBVER_LATEST)
        self._lock = open(self.path, "rb")  # noqa: SIM115
        try:
            _lock(self._lock, "LOCK_EX")
            if is_growing(self.path):
                take_mark(self.path)
            _lock(self._lock, "LOCK_UN")  # HDF5 locks the file while it opens it
            file = flags.open(os.fsencode(self.path), flags.ACC_RDWR | flags.ACC_SWMR_WRITE, fapl=access)
            _lock(self._lock, "LOCK_SH")  # shared with readers, and refused to another writer
        except OSError as error:
            self._lock.close()
            raise ValueError(
                f"path: {str(self.path)!r} cannot be continued: it is open in another process, or damaged ({error})"
            ) from error
        self._file = self._h5py.File(file)
        growing = [name for name in names if name.endswith("/value")] + [_TIME] * (_TIME in self._file)
        self._arrays = {name: self._file[name] for name in growing}

    @contextlib.contextmanager
    def _writing(self) -> Generator[None, None, None]:
        """Raise the RuntimeError of HDF5 as the OSError that other libraries raise."""
        try:
            yield
        except RuntimeError as error:
            raise OSError(f"{self.path}: {error}") from error


class H5MDTrajectory(Trajectory):
    """The frames in H5MD at the time of opening; the file may grow."""

    def __init__(self, path: str | os.PathLike[str], group: str | None = None) -> None:
        self.path, self._h5py = check.file("path", path), require("h5py", "hdf5")
        self._file = _opened(self._h5py, self.path)
        damaged = f"path: {str(path)!r} is damaged or has another format"
        with decoding(damaged):
            groups = list(self._file.get("particles", ()))
        if not groups or (group is not None and (not isinstance(group, str) or group not in groups)):
            raise ValueError(f"group: expected one of the groups of particles {groups} of {str(path)!r}, got {group!r}")
        with decoding(damaged):
            self._begin(self._file["particles"][groups[0] if group is None else group])

    def _begin(self, particles: Any) -> None:
        """Look at once at what belongs to the frames, because the file may grow."""
        if "position" not in particles or "value" not in particles["position"]:
            raise ValueError(f"there are no positions in {particles.name}. Give a file with positions.")
        self._particles, self._position = particles, particles["position"]
        self.steps, creator = _steps(self._position), self._file.get("h5md/creator")
        self.is_ours = creator is not None and creator.attrs.get("name") == "treedyn"
        elements = _elements(self._file.get("observables", {})) | _elements(particles)
        self._values = {name: x["value"] for name, x in elements.items() if self._has_steps(x)}

    def _has_steps(self, element: Any) -> bool:
        """Return whether an element is stored at the steps of the positions."""
        own, other = self._position.get("step"), element.get("step")
        if own is not None and own == other:  # the same dataset, which may have grown since
            if (count := _frames(element["value"])) < len(self.steps):
                raise ValueError(f"expected {len(self.steps)} frames of {element.name}, got {count}")
            return True
        return np.array_equal(_steps(element), self.steps)

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        particles, (count, dimension) = self._particles, self._position["value"].shape[1:]
        out = {name: x[start:stop] for name, x in self._values.items()}
        for name in ("species", "mass"):  # usually constant
            if isinstance(constant := particles.get(name), self._h5py.Dataset):
                if constant.shape != (count,):
                    raise ValueError(f"expected {name} of {count} particles, got {constant.shape}")
                out[name] = np.broadcast_to(constant[:], (stop - start, count))
        if "species" in out:
            stored = particles["species"]
            out["species"] = self._names(out["species"], stored.get("value") if hasattr(stored, "keys") else stored)
        boundary = np.ravel(particles["box"].attrs.get("boundary", ())).astype(str)
        out["periodic"] = np.broadcast_to(boundary == "periodic", (stop - start, len(boundary)))
        if "time" in self._position and self._position["time"].shape:
            out["time"] = self._position["time"][start:stop]
        edges = particles["box"].get("edges")
        return out if edges is None else out | {"cell": _matrices(edges, start, stop, dimension)}

    def _names(self, numbers: np.ndarray, dataset: Any) -> np.ndarray:
        """Return the names of species: those of an enumeration, chemical symbols of ours, else the numbers."""
        named = self._h5py.check_enum_dtype(dataset.dtype)
        if named is None and not self.is_ours:
            return numbers
        names = dict(enumerate(SYMBOLS)) if named is None else {number: name for name, number in named.items()}
        return np.array([names[int(number)] for number in np.ravel(numbers)]).reshape(numbers.shape)


def _opened(h5py: Any, path: Path) -> Any:
    with decoding(f"path: expected a file in HDF5, but {str(path)!r} is not one"):
        return h5py.File(Unmarked(path) if is_growing(path) else path, "r")


def _lock(file: BinaryIO, kind: str) -> None:
    """Lock a file for this process, or raise an OSError if another process has locked it."""
    if os.name == "posix":
        import fcntl

        fcntl.flock(file, getattr(fcntl, kind) | fcntl.LOCK_NB)


def _values(found: Content, rectangular: bool) -> dict[str, np.ndarray]:
    """Return the arrays of frames by the names of their datasets."""
    for name in (*found.particles, *found.frames):
        if "/" in name or name in ("", ".", "box", "species"):
            raise ValueError(f"frames[{name!r}]: H5MD cannot hold an array of this name. Use another name.")
    out = {f"{_POSITION}/value": found.position}
    out |= {f"{_GROUP}/{name}/value": x for name, x in found.particles.items()}
    out |= {f"observables/{name}/value": x for name, x in found.frames.items()}
    if found.time is not None:
        out[_TIME] = found.time
    if found.cell is not None:
        diagonal = np.diagonal(found.cell, axis1=1, axis2=2)
        flat = rectangular and np.array_equal(found.cell, diagonal[:, :, None] * np.eye(found.dimension))
        out[_EDGES] = diagonal if flat else found.cell
    return out


def _elements(group: Any) -> dict[str, Any]:
    """Return the elements of a group that have a value for every frame, all of them in this file."""
    # a constant is a dataset, and looking for a value in it would read it
    own = [name for name in group if not hasattr(group.get(name, getlink=True), "filename")]
    return {name: group[name] for name in own if hasattr(group[name], "keys") and "value" in group[name]}


def _grow(file: Any, name: str, like: np.ndarray, fill: int) -> None:
    shape = like.shape[1:]
    size = chunks(shape, like.dtype, _CHUNK_BYTES)
    file.create_dataset(name, shape=(0, *shape), maxshape=(None, *shape), chunks=size, dtype=like.dtype, fillvalue=fill)


def _frames(dataset: Any) -> int:
    """Return the number of frames that were written to a dataset, which may declare more than it holds."""
    each = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    held = min(dataset.id.get_storage_size(), dataset.file.id.get_filesize())
    held *= _COMPRESSION if dataset.id.get_create_plist().get_nfilters() else 1
    if 0 < held < each:
        raise ValueError(f"{dataset.name} declares frames of {each} bytes, but holds {held} bytes")
    return min(len(dataset), held // each) if each else len(dataset)


def _steps(element: Any) -> np.ndarray:
    """Return the steps of the complete frames, which may be at a fixed distance or missing in files of others."""
    step, count = element.get("step"), _frames(element["value"])
    if step is None or step.shape == ():
        first, each = (0, 1) if step is None else (int(step.attrs.get("offset", 0)), int(step[()]))
        return first + each * np.arange(count)
    return complete(step[: _frames(step)])[:count]


def _matrices(edges: Any, start: int, stop: int, dimension: int) -> np.ndarray:
    """Return the cell of every frame, from edges that are constant or an element."""
    fixed = not hasattr(edges, "keys")
    shape = edges.shape if fixed else edges["value"].shape[1:]
    if shape not in ((dimension,), (dimension, dimension)):
        raise ValueError(f"expected edges of {dimension} dimensions, got {shape}")
    value = edges[()][None].repeat(stop - start, axis=0) if fixed else edges["value"][start:stop]
    return value if value.ndim == 3 else value[:, :, None] * np.eye(dimension)
