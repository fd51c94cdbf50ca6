"""GSD, the format of HOOMD-blue.

Its box is centred at the origin, its first lattice vector lies along x, the second in the plane of x and y.
Positions are brought into the box, and the images that this took are kept, so that reading gives back what was written;
a cell that lies otherwise is turned, and turned back by the reader. The box itself has single precision, so the cell is
kept in the log as well. Nothing in GSD can be open: an open axis is an error.

Reference: https://gsd.readthedocs.io/en/stable/schema-hoomd.html
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, check_space, content, masses
from treedyn.particles.io._species import SYMBOLS, atomic_numbers, symbols
from treedyn.particles.io._trajectory import Trajectory
from treedyn.store._writer import FileWriter
from treedyn.tree import PyTree

_CELL = "treedyn/cell"
_TIME = "treedyn/time"
_VECTORS = ("velocity", "force", "momentum")


class GSDWriter(FileWriter):
    """Write GSD in the schema of HOOMD-blue.

    The precision is that of the positions. Forces and whatever else there is are in the log.
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
            space: the box, where it does not change; every axis has to repeat.
            species: chemical symbols or atomic numbers, one for all or one each; X by default.
            mass: one for all or one each.

        Raises:
            FileExistsError: the file is there and was to be new.
            ValueError: it is to be continued and is no GSD of HOOMD-blue.
            ImportError: gsd is not installed.
        """
        self._gsd = require("gsd.hoomd", "gsd")
        super().__init__(path, mode)
        self._space, self._species, self._mass = check_space(space), species, mass
        self._file: Any = None
        self._form: Any = None
        if mode == "a" and self.path.exists():
            self._continue()
        else:
            self._file = self._gsd.open(str(self.path), "w" if mode == "w" else "x")

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames at the end."""
        self._check_open()
        found = content(steps, frames, self._space, self.last)
        _check(found)
        numbers = atomic_numbers(self._species, found.count)
        form = (found.count, found.dimension)
        if self._form is not None and form != self._form:
            raise ValueError(f"frames: the file holds {self._form} particles and dimensions, got {form}")
        if self._form is None:
            self._reopen(found.position.dtype)
        for k in range(len(found.steps)):
            self._file.append(self._frame(found, numbers, k))
        self._file.flush()
        if len(found.steps):
            self._form, self.last = form, int(found.steps[-1])

    def rewind(self, step: int) -> None:
        """Drop every frame after `step`: the others are copied to a new file, which takes the place of this one."""
        self._check_open()
        if self.last is None or self.last <= step:
            return
        aside = self.path.with_name(self.path.name + ".partial")
        with self._gsd.open(str(aside), "w", self._file.precision) as kept:
            for frame in self._file:
                if frame.configuration.step > step:
                    break
                kept.append(frame)
            kept.flush()
        self._file.close()
        _sync(aside)
        os.replace(aside, self.path)
        self._continue()

    def flush(self) -> None:
        """Put everything on the disk."""
        self._check_open()
        self._file.flush()
        _sync(self.path)

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.flush()
            finally:
                file.close()
            _sync(self.path)

    def _continue(self) -> None:
        try:
            self._file = self._gsd.open(str(self.path), "r+")
        except RuntimeError as error:
            raise ValueError(f"path: {str(self.path)!r} is no GSD that can be continued: {error}") from error
        self._form, self.last = None, None
        if len(self._file):
            frame = self._file[-1]
            self._form = (int(frame.particles.N), int(frame.configuration.dimensions))
            self.last = int(frame.configuration.step)
            self._reopen(frame.particles.position.dtype)

    def _reopen(self, dtype: Any) -> None:
        """Set the precision, which goes with the open file."""
        precision = "double" if dtype == np.float64 else "single"
        if self._file.precision != precision:
            self._file.close()
            self._file = self._gsd.open(str(self.path), "r+", precision)

    def _frame(self, found: Content, numbers: np.ndarray, k: int) -> Any:
        assert found.cell is not None
        box, rotation = to_box(found.cell[k])
        box = box.astype(np.float32)
        inside, image = into_box(found.position[k] @ rotation.T, from_box(box, found.dimension))
        frame = self._gsd.Frame()
        frame.configuration.step = int(found.steps[k])
        frame.configuration.dimensions = found.dimension
        frame.configuration.box = box
        frame.particles.N = found.count
        kinds, frame.particles.typeid = np.unique(numbers, return_inverse=True)
        frame.particles.types = symbols(kinds)
        if self._mass is not None:
            frame.particles.mass = masses(self._mass, found.count)
        frame.particles.position = _three(inside)
        frame.particles.image = _three(image).astype(np.int32)
        for name, x in found.particles.items():
            turned = x[k] @ rotation.T.astype(x.dtype) if name in _VECTORS else x[k]
            if name == "velocity":
                frame.particles.velocity = _three(turned)
            elif name == "charge" and turned.ndim == 1:
                frame.particles.charge = turned
            else:
                frame.log[f"particles/{name}"] = turned
        for name, x in found.frames.items():
            frame.log[name] = np.atleast_1d(x[k])
        if found.time is not None:
            frame.log[_TIME] = np.atleast_1d(found.time[k])
        frame.log[_CELL] = found.cell[k]
        return frame


class GSDTrajectory(Trajectory):
    """Read GSD frame by frame."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        hoomd = require("gsd.hoomd", "gsd")
        try:
            self._file = hoomd.open(str(check.file("path", path)), "r")
        except RuntimeError as error:
            raise ValueError(f"path: expected a file in GSD, but {str(path)!r} is none: {error}") from error
        self.steps = np.array([self._step(k) for k in range(len(self._file))], np.int64)
        if not self.steps.size:
            raise ValueError(f"path: {str(path)!r} holds no frame")
        first = self._file[0]
        self.axes = (True,) * int(first.configuration.dimensions)
        self.types = tuple(first.particles.types)
        self._typeid = first.particles.typeid
        self.mass = first.particles.mass if self._file.file.chunk_exists(frame=0, name="particles/mass") else None

    @property
    def species(self) -> np.ndarray:  # type: ignore[override]
        """Return atomic numbers.

        Raises:
            ValueError: a type of particle is called otherwise than an element; `types` has the names.
        """
        if unknown := [name for name in self.types if name not in SYMBOLS]:
            raise ValueError(f"species: the type {unknown[0]!r} is no chemical symbol; see `types`")
        return atomic_numbers(list(self.types), len(self.types))[self._typeid]

    def _step(self, k: int) -> int:
        # the step alone: reading the frames would read all that is in them
        known = self._file.file.chunk_exists(frame=k, name="configuration/step")
        return int(self._file.file.read_chunk(frame=k, name="configuration/step")[0]) if known else 0

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        each = [_unpack(self._file[k]) for k in range(start, stop)]
        if not each:
            return {name: np.asarray(x)[None][:0] for name, x in _unpack(self._file[0]).items()}
        return {name: np.stack([frame[name] for frame in each]) for name in each[0]}


def read_gsd(path: str | os.PathLike[str]) -> GSDTrajectory:
    """Read GSD.

    Args:
        path: the file.

    Returns:
        Its frames; images are added to the positions, which may be outside of the box.

    Raises:
        ValueError: it has no frame.
        ImportError: gsd is not installed.
    """
    return GSDTrajectory(path)


def to_box(cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Return the box of HOOMD-blue that has the shape of a cell, and the rotation that turns the cell into it.

    With the cell $h$, a lattice vector a row, $h = L Q$ with a lower triangular $L$ of positive diagonal: $L$ is the
    cell of the box $(L_x, L_y, L_z, xy, xz, yz)$, and positions turn as $r Q^T$.

    Args:
        cell: `[d, d]`, of two or three dimensions.

    Returns:
        The box `[6]` and the rotation Q, `[d, d]`.

    Raises:
        ValueError: the lattice vectors are left-handed.

    Example:
        >>> box, _ = to_box(np.array([[4.0, 0.0], [2.0, 4.0]]))
        >>> print(box)
        [4.  4.  0.  0.5 0.  0. ]
    """
    if np.linalg.det(cell) <= 0:
        raise ValueError(
            f"space: the box of GSD is right-handed, these lattice vectors are not; exchange two of them:\n{cell}"
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
    """Return the cell of a box of HOOMD-blue, a lattice vector a row, `[d, d]`."""
    x, y, z, xy, xz, yz = np.asarray(box, np.float64)
    return np.array([[x, 0, 0], [xy * y, y, 0], [xz * z, yz * z, z]])[:dimension, :dimension]


def into_box(position: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return positions within half of the cell of the origin, and how many lattice vectors lead from there."""
    fraction = position.astype(np.float64) @ np.linalg.inv(cell)
    image = np.floor(fraction + 0.5)
    return position - image @ cell, image


def _unpack(frame: Any) -> dict[str, np.ndarray]:
    dimension = int(frame.configuration.dimensions)
    cell = from_box(frame.configuration.box, dimension)
    kind = frame.particles.position.dtype
    exact = np.asarray(frame.log.get(_CELL, cell))
    rotation = to_box(exact)[1]
    turned = frame.particles.position[:, :dimension] + frame.particles.image[:, :dimension] @ cell
    out = {"position": (turned @ rotation).astype(kind), "cell": exact}
    if np.any(frame.particles.velocity):
        out["velocity"] = _turned(frame.particles.velocity[:, :dimension], rotation)
    if np.any(frame.particles.charge):
        out["charge"] = frame.particles.charge
    for name, x in frame.log.items():
        short = name.removeprefix("particles/")
        if name == _TIME:
            out["time"] = x[0]
        elif name != _CELL:
            value = _turned(x, rotation) if short in _VECTORS and short != name else x
            out[short] = value[0] if short == name and value.shape == (1,) else value
    return out


def _turned(x: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    return (x @ rotation).astype(x.dtype)


def _three(x: np.ndarray) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, 3 - x.shape[1])))


def _check(found: Content) -> None:
    if found.dimension not in (2, 3):
        raise ValueError(f"frames['position']: GSD has 2 or 3 dimensions, got {found.dimension}")
    if found.cell is None or not all(found.axes):
        raise ValueError(
            f"space: in GSD every axis repeats, here they do {found.axes}; write .xyz or .h5md, or give a box that is "
            "large enough"
        )
    for name, x in (found.particles | found.frames).items():
        if x.ndim > 3 or x.dtype.kind not in "iuf" or x.dtype.itemsize not in (4, 8):
            raise ValueError(
                f"frames[{name!r}]: GSD holds numbers, vectors and matrices of integers and floats, got "
                f"{x.dtype}{list(x.shape)}"
            )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
