"""HDF5 in the layout of H5MD, readable while it grows.

The file is in the single-writer-multiple-reader mode of HDF5, in which it is always consistent. Values are written and
flushed before their steps, so a frame counts once its step is there. HDF5 refuses to continue a file whose writer was
killed; then the complete frames are copied to a new file, which takes its place. HDF5 does not survive a full disk, so
space is reserved before anything is written, and the rest of it is returned at the end.

Reference: P. de Buyl, P. H. Colberg and F. Höfling, Comput. Phys. Commun. 185, 1546 (2014),
[doi:10.1016/j.cpc.2014.01.018](https://doi.org/10.1016/j.cpc.2014.01.018); https://www.nongnu.org/h5md/h5md.html
"""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

import treedyn
from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, ParticleWriter, content, masses
from treedyn.particles.io._species import SYMBOLS, atomic_numbers
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.space._space import Periodic
from treedyn.store._files import chunks, complete, put, replacing, sync
from treedyn.store._writer import Mode
from treedyn.tree import PyTree

_GROUP = "particles/all"
_POSITION = f"{_GROUP}/position"
_STEP, _TIME = f"{_POSITION}/step", f"{_POSITION}/time"
_EDGES = f"{_GROUP}/box/edges"
_CHUNK_BYTES = 2**16
_RESERVE = 2**20  # bytes
_END = slice(28, 36)  # the place of the length of the file, since version 2 of the format


class H5MDWriter(ParticleWriter):
    """A writer of HDF5 in the layout of H5MD.

    Values that a frame has once become observables. The time of frames without one is their step.
    """

    _file: Any = None
    _count = 0
    _reserved = 0

    def _open(self, mode: Mode) -> None:
        self._h5py = require("h5py", "hdf5")
        if mode == "w":
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            self._continue()

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        found = content(steps, frames, self._space)
        values = _values(found, isinstance(self._space, Periodic))
        if self._file is None:
            self._create(found, values)
        held = {name: (array.shape[1:], array.dtype) for name, array in self._arrays().items()}
        given = {name: (x.shape[1:], x.dtype) for name, x in values.items()}
        if given != held:
            raise ValueError(f"frames: expected the arrays {held} as in the file, got {given}. Begin a new file.")
        before, after = self._count, self._count + len(steps)
        assert self._file is not None
        with _hdf5_errors(self.path):
            self._reserve({name: self._file[f"{name}/value"] for name in values}, len(steps))
            for name, x in values.items():
                put(self._file[f"{name}/value"], x, before, after)
            put(self._file[_TIME], steps.astype(np.float64) if found.time is None else found.time, before, after)
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
        with _hdf5_errors(self.path), self._file as file:
            for dataset in (*self._arrays().values(), file[_STEP], file[_TIME]):
                if len(dataset) > self._count:
                    dataset.resize(self._count, axis=0)
            file.flush()
        with open(self.path, "rb") as closed:
            os.truncate(self.path, int.from_bytes(closed.read(_END.stop)[_END], "little"))
        sync(self.path)

    def _keep(self, steps: np.ndarray) -> None:
        self._count, self.last = len(steps), int(steps[-1]) if len(steps) else None

    def _arrays(self) -> dict[str, Any]:
        """Return the arrays that frames of this file have."""
        out = {f"{_GROUP}/{name}": x["value"] for name, x in _elements(self._file[_GROUP]).items()}
        out |= {f"observables/{name}": x["value"] for name, x in _elements(self._file.get("observables", {})).items()}
        return out | ({_EDGES: self._file[f"{_EDGES}/value"]} if _EDGES in self._file else {})

    def _create(self, found: Content, values: dict[str, np.ndarray]) -> None:
        species, mass = atomic_numbers(self._species, found.count), masses(self._mass, found.count)
        with replacing(self.path) as aside:
            _allocate(aside, _RESERVE)
            with self._h5py.File(aside, "w", libver="latest") as file:
                boundary = np.array(["periodic" if axis else "none" for axis in found.axes], "S8")
                for name, attributes in {
                    "h5md": {"version": np.array([1, 1])},
                    "h5md/author": {"name": "unknown"},
                    "h5md/creator": {"name": "treedyn", "version": treedyn.__version__},
                    f"{_GROUP}/box": {"dimension": found.dimension, "boundary": boundary},
                }.items():
                    file.require_group(name).attrs.update(attributes)
                file[f"{_GROUP}/species"] = species
                if mass is not None:
                    file[f"{_GROUP}/mass"] = mass
                _grow(file, _STEP, found.steps, -1)
                _grow(file, _TIME, np.zeros(0) if found.time is None else found.time, 0)
                for name, x in values.items():
                    _grow(file, f"{name}/value", x, 0)
                    if name != _POSITION:
                        file[f"{name}/step"], file[f"{name}/time"] = file[_STEP], file[_TIME]
        self._open_to_append()

    def _reserve(self, datasets: dict[str, Any], frames: int) -> None:
        """Reserve space for all chunks that may be written, or raise an OSError."""
        need = _RESERVE
        for dataset in datasets.values():
            need += (frames // dataset.chunks[0] + 2) * int(np.prod(dataset.chunks)) * dataset.dtype.itemsize
        size = self._file.id.get_filesize()
        if size + need > self._reserved:
            _allocate(self.path, size + need + _RESERVE)
            self._reserved = size + need + _RESERVE

    def _open_to_append(self) -> None:
        self._file = self._h5py.File(self.path, "r+", libver="latest")
        self._file.swmr_mode = True

    def _continue(self) -> None:
        try:
            with self._h5py.File(self.path, "r+", libver="latest") as file:
                self._check_layout(file)
        except OSError:
            self._recover()
        self._open_to_append()
        self._keep(complete(self._file[_STEP]))

    def _recover(self) -> None:
        """Copy the frames of a writer that was killed to a new file, which takes the place of this one."""
        try:
            with (
                replacing(self.path) as aside,
                self._h5py.File(self.path, "r", libver="latest", swmr=True) as old,
                self._h5py.File(aside, "w", libver="latest") as new,
            ):
                self._check_layout(old)
                # at once, because a copy keeps the hard links within it
                old.copy("/", new, "all")
                for name in old:
                    new.move(f"all/{name}", name)
                del new["all"]
        except OSError as error:
            raise ValueError(
                f"path: {str(self.path)!r} cannot be continued: it is open in another process, or damaged ({error})"
            ) from error

    def _check_layout(self, file: Any) -> None:
        if _STEP not in file or not _is_ours(file):
            raise ValueError(
                f"path: {str(self.path)!r} was written by another program, so it cannot be continued. Write a new file."
            )


class H5MDTrajectory(Trajectory):
    """The frames in H5MD at the time of opening; the file may grow.

    Arrays that are stored at other steps than the positions are left out.
    """

    def __init__(self, path: str | os.PathLike[str], group: str | None = None) -> None:
        self._h5py = require("h5py", "hdf5")
        self._file = _opened(self._h5py, check.file("path", path))
        groups = list(self._file.get("particles", ()))
        if not groups or (group is not None and (not isinstance(group, str) or group not in groups)):
            raise ValueError(f"group: expected one of the groups of particles {groups} of {str(path)!r}, got {group!r}")
        name = f"particles/{groups[0] if group is None else group}"
        if f"{name}/position/value" not in self._file:
            raise ValueError(f"path: {str(path)!r} has no positions in {name}. Give a file with positions.")
        self._particles: Any = self._file[name]
        self._position: Any = self._particles["position"]
        self.steps = _steps(self._position)
        self._is_ours = _is_ours(self._file)
        elements = _elements(self._file.get("observables", {})) | _elements(self._particles)
        self._values = {name: x["value"] for name, x in elements.items() if self._has_steps(x)}

    def _has_steps(self, element: Any) -> bool:
        """Return whether an element is stored at the steps of the positions."""
        own, other = self._position.get("step"), element.get("step")
        # the same dataset, which may have grown since
        return (own is not None and own == other) or np.array_equal(_steps(element), self.steps)

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        count, particles = stop - start, self._particles
        out = {name: x[start:stop] for name, x in self._values.items()}
        for name in ("species", "mass"):  # usually constant
            if isinstance(constant := particles.get(name), self._h5py.Dataset):
                out[name] = np.broadcast_to(constant[:], (count, len(constant)))
        if "species" in out:
            stored = particles["species"]
            out["species"] = self._names(out["species"], stored.get("value") if hasattr(stored, "keys") else stored)
        boundary = np.ravel(particles["box"].attrs.get("boundary", ())).astype(str)
        out["periodic"] = np.broadcast_to(boundary == "periodic", (count, len(boundary)))
        if "time" in self._position and not _is_step(self._position, start, stop):
            out["time"] = self._position["time"][start:stop]
        edges = particles["box"].get("edges")
        return out if edges is None else out | {"cell": _matrices(edges, start, stop)}

    def _names(self, numbers: np.ndarray, dataset: Any) -> np.ndarray:
        """Return the names of species: those of an enumeration, chemical symbols of ours, else the numbers."""
        named = self._h5py.check_enum_dtype(dataset.dtype)
        if named is None and not self._is_ours:
            return numbers
        names = dict(enumerate(SYMBOLS)) if named is None else {number: name for name, number in named.items()}
        return np.array([names[int(number)] for number in np.ravel(numbers)]).reshape(numbers.shape)


def read_h5md(path: str | os.PathLike[str], *, group: str | None = None) -> H5MDTrajectory:
    """Open HDF5 in the layout of H5MD to read.

    Args:
        path: the file, also one that is being written.
        group: the group of particles, by default the first.

    Returns:
        Its frames at this time. Read again to see later ones.

    Raises:
        ValueError: the file has no positions.
        ImportError: h5py is not installed.
    """
    return H5MDTrajectory(path, group)


@contextlib.contextmanager
def _hdf5_errors(path: Path) -> Generator[None, None, None]:
    """Raise the RuntimeError of HDF5 as the OSError that other libraries raise."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(f"{path}: {error}") from error


def _opened(h5py: Any, path: Path) -> Any:
    try:
        # only a file that says that it is being written is opened beside its writer
        return h5py.File(path, "r", **({"libver": "latest", "swmr": True} if _is_growing(path) else {}))
    except OSError as error:
        raise ValueError(f"path: expected a file in HDF5, but {str(path)!r} is not one: {error}") from error


def _is_growing(path: Path) -> bool:
    """Return whether a file is marked as open for a single writer and multiple readers, in version 3 of its format."""
    with open(path, "rb") as file:
        head = file.read(12)
    return head[:8] == b"\x89HDF\r\n\x1a\n" and head[8:9] == b"\x03" and bool(head[11] & 4)


def _is_ours(file: Any) -> bool:
    return "h5md/creator" in file and file["h5md/creator"].attrs.get("name") == "treedyn"


def _values(found: Content, rectangular: bool) -> dict[str, np.ndarray]:
    """Return the arrays of frames by their places in the file."""
    for name in (*found.particles, *found.frames):
        if "/" in name or name in ("", ".", "box", "species"):
            raise ValueError(f"frames[{name!r}]: H5MD cannot hold an array of this name. Use another name.")
    out = {_POSITION: found.position}
    out |= {f"{_GROUP}/{name}": x for name, x in found.particles.items()}
    out |= {f"observables/{name}": x for name, x in found.frames.items()}
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


def _allocate(path: Path, size: int) -> None:
    """Extend a file to at least `size` bytes that are reserved on the disk."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, 0, size)
        finally:
            os.close(descriptor)


def _steps(element: Any) -> np.ndarray:
    """Return the steps of the complete frames, which may be at a fixed distance or missing in files of others."""
    step = element.get("step")
    if step is None or step.shape == ():
        first, each = (0, 1) if step is None else (int(step.attrs.get("offset", 0)), int(step[()]))
        return first + each * np.arange(element["value"].shape[0])
    return complete(step)


def _is_step(position: Any, start: int, stop: int) -> bool:
    """Return whether the time is only a copy of the step."""
    if position["time"].shape == ():
        return True
    return "step" in position and np.array_equal(position["time"][start:stop], position["step"][start:stop])


def _matrices(edges: Any, start: int, stop: int) -> np.ndarray:
    fixed = "value" not in edges if hasattr(edges, "keys") else True
    value = np.asarray(edges[()])[None].repeat(stop - start, axis=0) if fixed else edges["value"][start:stop]
    return value if value.ndim == 3 else value[:, :, None] * np.eye(value.shape[1])
