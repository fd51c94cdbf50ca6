"""GSD, the format of HOOMD-blue.

The box of GSD is centered at the origin. Its first lattice vector lies along x, the second one in the plane of x and y.
Positions are wrapped into the box, with their images, so that reading returns what was written. A cell of another
orientation is rotated, and the reader rotates it back. The box has single precision, so the log has the exact cell.
GSD has no open axes.

Reference: https://gsd.readthedocs.io/en/stable/schema-hoomd.html
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int

from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, ParticleWriter, content, in_space, masses
from treedyn.particles.io._species import SYMBOLS, atomic_numbers, symbols
from treedyn.particles.io._trajectory import Trajectory, stack
from treedyn.store._files import replacing, sync
from treedyn.store._writer import Mode
from treedyn.tree import PyTree

_CELL = "treedyn/cell"
_TIME = "treedyn/time"
_VECTORS = ("velocity", "force", "momentum")


class GSDWriter(ParticleWriter):
    """A writer of GSD in the schema of HOOMD-blue.

    Every axis of the box has to be periodic. The precision is that of the positions. Forces and other arrays are in the
    log.
    """

    _file: Any
    _form: tuple[int, int] | None = None

    def _open(self, mode: Mode) -> None:
        self._gsd = require("gsd.hoomd", "gsd")
        if mode == "a" and self.path.exists():
            self._continue()
        else:
            self._file = self._gsd.open(str(self.path), "w" if mode == "w" else "x")

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        found = content(steps, frames, self._space)
        _check(found)
        numbers, mass = atomic_numbers(self._species, found.count), masses(self._mass, found.count)
        form = (found.count, found.dimension)
        if self._form is not None and form != self._form:
            raise ValueError(f"frames: expected {self._form} particles and dimensions as in the file, got {form}")
        if self._form is None:
            self._reopen(found.position.dtype)
        for k in range(len(steps)):
            self._file.append(self._frame(found, numbers, mass, k))
        self._file.flush()
        if len(steps):
            self._form = form

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
        self._file.flush()
        sync(self.path)

    def _close(self) -> None:
        try:
            self._file.flush()
        finally:
            self._file.close()
        sync(self.path)

    def _continue(self) -> None:
        try:
            self._file = self._gsd.open(str(self.path), "r+")
        except RuntimeError as error:
            raise ValueError(f"path: {str(self.path)!r} is not a valid GSD and cannot be continued: {error}") from error
        self._form, self.last = None, None
        if len(self._file):
            frame = self._file[-1]
            self._form = (int(frame.particles.N), int(frame.configuration.dimensions))
            self.last = int(frame.configuration.step)
            self._reopen(frame.particles.position.dtype)

    def _reopen(self, dtype: np.dtype) -> None:
        """Set the precision, which belongs to the open file."""
        precision = "double" if dtype == np.float64 else "single"
        if self._file.precision != precision:
            self._file.close()
            self._file = self._gsd.open(str(self.path), "r+", precision)

    def _frame(self, found: Content, numbers: np.ndarray, mass: np.ndarray | None, k: int) -> Any:
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
        if mass is not None:
            frame.particles.mass = mass
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


class GSDTrajectory(Trajectory):
    """Frames in GSD."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        hoomd = require("gsd.hoomd", "gsd")
        try:
            self._file = hoomd.open(str(check.file("path", path)), "r")
        except RuntimeError as error:
            raise ValueError(f"path: expected a file in GSD, but {str(path)!r} is not one: {error}") from error
        self.steps = np.array([self._step(k) for k in range(len(self._file))], np.int64)
        if not self.steps.size:
            raise ValueError(f"path: {str(path)!r} holds no frame. Give a file with frames.")
        # a frame of default values has no chunk of its own
        self._optional = [name for name in ("velocity", "charge") if any(map(self._has(name), range(len(self.steps))))]
        first = self._file[0]
        self.axes = (True,) * int(first.configuration.dimensions)
        self.types = tuple(first.particles.types)
        self._typeid = first.particles.typeid
        self.mass = first.particles.mass if self._has("mass")(0) else None

    @property
    def species(self) -> Int[np.ndarray, " particles"]:  # type: ignore[override]
        """Return atomic numbers.

        Raises:
            ValueError: the name of a type is not a chemical symbol; `types` has the names.
        """
        if unknown := [name for name in self.types if name not in SYMBOLS]:
            raise ValueError(f"species: the type {unknown[0]!r} is not a chemical symbol. Use `types`.")
        return atomic_numbers(list(self.types), len(self.types))[self._typeid]

    def _has(self, name: str) -> Callable[[int], bool]:
        return lambda k: self._file.file.chunk_exists(frame=k, name=f"particles/{name}")

    def _step(self, k: int) -> int:
        # only this chunk, because reading a frame reads all of its arrays
        known = self._file.file.chunk_exists(frame=k, name="configuration/step")
        return int(self._file.file.read_chunk(frame=k, name="configuration/step")[0]) if known else 0

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return stack(lambda k: _unpack(self._file[k], self._optional), start, stop)


def read_gsd(path: str | os.PathLike[str]) -> GSDTrajectory:
    """Open GSD to read.

    Args:
        path: the file.

    Returns:
        Its frames. Images are added to the positions, which may lie outside of the box.

    Raises:
        ValueError: the file has no frame.
        ImportError: gsd is not installed.
    """
    return GSDTrajectory(path)


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


def _unpack(frame: Any, optional: list[str]) -> dict[str, np.ndarray]:
    dimension = int(frame.configuration.dimensions)
    cell = from_box(frame.configuration.box, dimension)
    exact = np.asarray(frame.log.get(_CELL, cell))
    rotation = to_box(exact)[1]

    def rotated_back(x: np.ndarray) -> np.ndarray:
        return (x @ rotation).astype(x.dtype)

    position = frame.particles.position[:, :dimension]
    real = position + frame.particles.image[:, :dimension] @ cell
    out = {"position": (real @ rotation).astype(position.dtype), "cell": exact}
    if "velocity" in optional:
        out["velocity"] = rotated_back(frame.particles.velocity[:, :dimension])
    if "charge" in optional:
        out["charge"] = frame.particles.charge
    for name, x in frame.log.items():
        short = name.removeprefix("particles/")
        if name == _TIME:
            out["time"] = x[0]
        elif short != name:
            out[short] = rotated_back(x) if short in _VECTORS else x
        elif name != _CELL:
            out[name] = x[0] if x.shape == (1,) else x
    return out


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
