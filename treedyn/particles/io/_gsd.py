"""GSD, the format of HOOMD-blue.

The box of GSD is centered at the origin. Its first lattice vector lies along x, the second one in the plane of x and y.
Positions are wrapped into the box, with their images, so that reading returns what was written. A cell of another
orientation is rotated, and the reader rotates it back. The box has single precision, so the log has the exact cell.
GSD has no open axes. It loses all frames if there is no room for a longer index, so room is reserved first.

Reference: https://gsd.readthedocs.io/en/stable/schema-hoomd.html
"""

import contextlib
import os
import struct
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, ParticleWriter, in_space, of_others
from treedyn.particles.io._species import SYMBOLS
from treedyn.particles.io._trajectory import Separate
from treedyn.store._files import allocate, decoding, replacing, sync
from treedyn.store._writer import Mode
from treedyn.tree import PyTree

_CELL = "treedyn/cell"
_TIME = "treedyn/time"
_VECTORS = ("velocity", "force", "momentum")
_ENTRY, _NAME = 32, 64  # bytes of an entry of the index and of a name
_RESERVE = 2**20


class GSDWriter(ParticleWriter):
    """A writer of GSD in the schema of HOOMD-blue, with the precision of the positions."""

    _file: Any = None
    _mode: str = "x"
    _form: tuple[int, int] | None = None

    def _open(self, mode: Mode) -> None:
        self._gsd = require("gsd.hoomd", "gsd")
        if mode == "w":
            self.path.unlink(missing_ok=True)
        if self.path.exists():
            self._continue()

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        found = self._content(steps, frames)
        _check(found)
        form = (found.count, found.dimension)
        if self._form is not None and form != self._form:
            raise ValueError(f"frames: expected {self._form} particles and dimensions as in the file, got {form}")
        if self._file is None:
            self._file = self._opened(found.position.dtype)
        self._reserve(found)
        try:
            for k in range(len(steps)):
                self._file.append(self._frame(found, k))
            self._file.flush()
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.close()
            self._continue()
            raise
        if len(steps):
            self._form = form

    def _reserve(self, found: Content) -> None:
        """Raise an OSError if the disk has no room for frames, and for an index that is longer than it has to be."""
        arrays = (found.position, *found.particles.values(), *found.frames.values())
        (start, size), end = _blocks(self.path)[0], self.path.stat().st_size
        index = 4 * (size + _ENTRY * len(found.steps) * (len(arrays) + 12))
        allocate(self.path, start, size)  # gsd leaves holes in it
        allocate(self.path, end, 2 * sum(x.nbytes for x in arrays) + index + _RESERVE)
        os.truncate(self.path, end)

    def _cut(self, step: int) -> None:
        """Copy the frames up to `step` to a new file, which takes the place of this one."""
        with replacing(self.path) as aside:
            with self._gsd.open(str(aside), "w", self._file.precision) as kept:
                for frame in self._file:
                    if frame.configuration.step > step:
                        break
                    kept.append(frame)
                kept.flush()
            self._file.close()
        self._continue()

    def _sync(self) -> None:
        if self._file is not None:
            self._file.flush()
            sync(self.path)

    def _close(self) -> None:
        try:
            self._sync()
        finally:
            if self._file is not None:
                self._file.close()

    def _opened(self, dtype: np.dtype) -> Any:
        """Open the file with the precision of the positions."""
        return self._gsd.open(str(self.path), self._mode, "double" if dtype == np.float64 else "single")

    def _continue(self) -> None:
        self._file = self._form = self.last = None
        self._mode = "r+"
        with decoding(f"path: {str(self.path)!r} cannot be continued as GSD"):
            _blocks(self.path)
            with self._gsd.open(str(self.path), "r") as file:
                frame = file[-1] if len(file) else None
        if frame is None:
            return
        if _CELL not in frame.log:
            raise of_others(self.path)
        self._form = (int(frame.particles.N), int(frame.configuration.dimensions))
        self.last = int(frame.configuration.step)
        self._file = self._opened(frame.particles.position.dtype)

    def _frame(self, found: Content, k: int) -> Any:
        assert found.cell is not None
        box, rotation = to_box(found.cell[k])
        box = box.astype(np.float32)
        inside, image = into_box(found.position[k] @ rotation.T, from_box(box, found.dimension))
        frame = self._gsd.Frame()
        frame.configuration.step = int(found.steps[k])
        frame.configuration.dimensions = found.dimension
        frame.configuration.box = box
        frame.particles.N = found.count
        kinds, frame.particles.typeid = np.unique(found.species, return_inverse=True)
        frame.particles.types = SYMBOLS[kinds].tolist()
        if found.mass is not None:
            frame.particles.mass = found.mass
        frame.particles.position = in_space(inside)
        frame.particles.image = in_space(image).astype(np.int32)
        for name, x in found.particles.items():
            rotated = x[k] @ rotation.T.astype(x.dtype) if name in _VECTORS else x[k]
            if name == "velocity":
                frame.particles.velocity = in_space(rotated)
            elif name == "charge" and rotated.ndim == 1:
                frame.particles.charge = rotated
            else:
                frame.log[f"particles/{name}"] = rotated
        for name, x in found.frames.items():
            frame.log[name] = np.atleast_1d(x[k])
        if found.time is not None:
            frame.log[_TIME] = np.atleast_1d(found.time[k])
        frame.log[_CELL] = found.cell[k]
        return frame


class GSDTrajectory(Separate):
    """Frames in GSD, as gsd.hoomd reads them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = check.file("path", path)
        library, hoomd = require("gsd.fl", "gsd"), require("gsd.hoomd", "gsd")
        with decoding(f"path: {str(path)!r} is damaged or not GSD"):
            _blocks(self.path)
            self._file = library.open(str(self.path), "r")
            weakref.finalize(self, self._file.close)  # before the interpreter ends, when gsd could not any more
            if not (count := self._file.nframes):
                raise ValueError("it holds no frame. Give a file with frames.")
            self._frames = hoomd.HOOMDTrajectory(_WithoutLog(self._file, self.path.stat().st_size))
            self.steps = np.array([self._chunk(k, "configuration/step", [0])[0] for k in range(count)], np.int64)
        # values that are the default in all frames have no chunk
        names = ("velocity", "charge", "mass")
        self._stored = [x for x in names if self._file.find_matching_chunk_names(f"particles/{x}")]

    def _chunk(self, k: int, name: str, default: Any = None) -> Any:
        """Return a chunk of a frame; one that is missing is that of frame 0, or the default."""
        for frame in (k, 0):
            if self._file.chunk_exists(frame=frame, name=name):
                return self._file.read_chunk(frame=frame, name=name)
        return default

    def _frame(self, number: int) -> dict[str, np.ndarray]:
        found = self._frames[number]
        dimension, particles = int(found.configuration.dimensions), found.particles
        cell = from_box(found.configuration.box, dimension)
        names = self._file.find_matching_chunk_names("log/")
        log = {name.removeprefix("log/"): x for name in names if (x := self._chunk(number, name)) is not None}
        exact = log.pop(_CELL, cell)
        rotation = to_box(exact)[1]

        def rotated_back(x: np.ndarray) -> np.ndarray:
            return (x @ rotation).astype(x.dtype)

        position, image = particles.position[:, :dimension], particles.image[:, :dimension]
        out = {
            "position": ((position + image @ cell) @ rotation).astype(position.dtype),
            "species": np.array(particles.types)[particles.typeid],
        }
        out |= {name: getattr(particles, name) for name in self._stored}
        if wrong := [name for name, x in out.items() if len(x) != particles.N]:
            raise ValueError(f"expected {wrong[0]} of {particles.N} particles")
        if "velocity" in out:
            out["velocity"] = rotated_back(out["velocity"][:, :dimension])
        out |= {"cell": exact, "periodic": np.ones(dimension, bool)}
        if _TIME in log:
            out["time"] = log.pop(_TIME)[0]
        for name, x in log.items():
            short = name.removeprefix("particles/")
            x = rotated_back(x) if short != name and short in _VECTORS else x
            out[short] = x[0] if x.shape == (1,) else x
        return out


class _WithoutLog:
    """A file for gsd.hoomd, which cannot read frames before the first one that has some log."""

    def __init__(self, file: Any, size: int) -> None:
        self._file, self._size = file, size

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def find_matching_chunk_names(self, match: str) -> list[str]:
        del match
        return []

    def read_chunk(self, frame: int, name: str) -> np.ndarray:
        chunk = self._file.read_chunk(frame=frame, name=name)
        if name.endswith("/N") and chunk[0] > self._size:  # gsd.hoomd makes arrays of this length
            raise ValueError(f"{name} is {chunk[0]}, in a file of {self._size} bytes")
        return chunk


def to_box(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the box of HOOMD-blue that has the shape of a cell, and the rotation of the cell into the box.

    The cell $h$, with a lattice vector in each row, is $h = L Q$, where $L$ is lower triangular with a positive
    diagonal: $L$ is the cell of the box $(L_x, L_y, L_z, xy, xz, yz)$, and positions become $r Q^T$.

    Example:
        >>> box, _ = to_box(np.array([[4.0, 0.0], [2.0, 4.0]]))
        >>> print(box)
        [4.  4.  0.  0.5 0.  0. ]
    """
    if np.linalg.det(cell) <= 0:
        raise ValueError(
            f"space: expected right-handed lattice vectors, as GSD has them. Exchange two vectors of:\n{cell}"
        )
    if np.array_equal(cell, np.tril(cell)) and np.all(np.diag(cell) > 0):
        lower, rotation = cell, np.eye(len(cell))
    else:
        q, r = np.linalg.qr(cell.T)
        sign = np.sign(np.diag(r))
        lower, rotation = (r * sign[:, None]).T, (q * sign).T
    full = np.zeros((3, 3))
    full[: len(cell), : len(cell)] = lower
    x, y, z = np.diag(full)
    return np.array([x, y, z, full[1, 0] / y, *(full[2, :2] / [z, z] if z else (0.0, 0.0))]), rotation


def from_box(box: np.ndarray, dimension: int) -> np.ndarray:
    """Return the cell of a box of HOOMD-blue, a lattice vector in each row, `[d, d]`."""
    x, y, z, xy, xz, yz = np.asarray(box, np.float64)
    return np.array([[x, 0, 0], [xy * y, y, 0], [xz * z, yz * z, z]])[:dimension, :dimension]


def into_box(position: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions wrapped into the cell around the origin, and their images."""
    fraction = position.astype(np.float64) @ np.linalg.inv(cell)
    image = np.floor(fraction + 0.5)
    return position - image @ cell, image


def _blocks(path: Path) -> list[tuple[int, int]]:
    """Return start and size of the index and of the list of names."""
    with path.open("rb") as file:
        _, index, entries, names, count = struct.unpack("<5Q", file.read(40))
    blocks = [(index, entries * _ENTRY), (names, count * _NAME)]
    if any(start + size > path.stat().st_size for start, size in blocks):
        raise ValueError("it ends before its index")
    return blocks


def _check(found: Content) -> None:
    if found.dimension not in (2, 3):
        raise ValueError(f"frames['position']: GSD has 2 or 3 dimensions, got {found.dimension}")
    if found.cell is None or not all(found.axes):
        raise ValueError(
            f"space: every axis of GSD is periodic, got {found.axes}. Write .xyz or .h5md, or give a box that is large "
            "enough."
        )
    for name, x in (found.particles | found.frames).items():
        if x.ndim > 3 or x.dtype.kind not in "iuf" or x.dtype.itemsize not in (4, 8):
            raise ValueError(
                f"frames[{name!r}]: GSD holds integers and floats of 32 or 64 bits, as numbers, vectors and matrices; "
                f"got {x.dtype}{list(x.shape)}. Write .h5md."
            )
