"""Extended XYZ: text that most programs read, with every frame complete in itself.

The comment line has `Lattice`, `Properties`, `pbc` and `step`, and the values that a frame has once. Coordinates are
real, also if a simulation stores fractions of a cell. Numbers have as many digits as needed to read back the same bits.
Two-dimensional frames lie in the plane z = 0.

Reference: A. S. Banerjee et al., extended XYZ specification, https://github.com/libAtoms/extxyz
"""

import contextlib
import itertools
import os
import re
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np

from treedyn import _check as check
from treedyn.particles.io._content import Content, ParticleWriter, content, in_space, masses
from treedyn.particles.io._species import atomic_numbers, symbols
from treedyn.particles.io._trajectory import Trajectory, stack
from treedyn.store._growing import GrowingWriter
from treedyn.tree import PyTree

# the names of columns in ASE and OVITO
_COLUMNS = {"position": "pos", "velocity": "velo", "force": "forces", "momentum": "momenta"}
_NAMES = {column: name for name, column in _COLUMNS.items()}
_KINDS = {"f": "R", "i": "I", "u": "I", "b": "L"}
_TRUE = ("T", "True", "1")
_TENSORS = ("stress", "virial")
_OWN = {"Lattice", "Properties", "pbc", "step", "dimension", "precision"}
_PAIR = re.compile(r'([^\s=]+)=(?:"([^"]*)"|(\S+))')
_NAME = re.compile(r"[A-Za-z_][\w/\-]*")


class XYZWriter(ParticleWriter, GrowingWriter):
    """A writer of extended XYZ. Masses are written as a column if they are given."""

    kind: ClassVar[str] = "extended XYZ"
    _form: tuple[int, int, str] | None = None  # the number of particles, the dimension, `Properties`

    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return frames as text."""
        found = content(steps, frames, self._space)
        if found.dimension not in (2, 3):
            raise ValueError(f"frames['position']: extended XYZ has 2 or 3 dimensions, got {found.dimension}")
        names, mass = symbols(atomic_numbers(self._species, found.count)), masses(self._mass, found.count)
        arrays = {"position": found.position} | found.particles
        if mass is not None:
            arrays["masses"] = np.broadcast_to(mass, (len(steps), found.count))
        entries, patterns, columns = zip(
            *(_property(name, x, found.dimension) for name, x in arrays.items()), strict=True
        )
        head = ":".join(["species:S:1", *entries])
        form = (found.count, found.dimension, head)
        if self.last is not None and form != self._form:
            raise ValueError(
                f"frames: expected the number of particles, the dimension and the columns {self._form} of the file, "
                f"got {form}. Begin a new file."
            )
        self._form = form
        # one pattern for a whole frame is several times faster than one per number
        rows = "".join(f"{name}{''.join(patterns)}\n" for name in names)
        numbers = np.concatenate(columns, axis=2).reshape(len(steps), -1)
        each = (f"{found.count}\n{_comment(found, k, head)}\n{rows % tuple(x)}" for k, x in enumerate(numbers.tolist()))
        return "".join(each).encode()

    def read_step(self, file: BinaryIO) -> int | None:
        """Read one frame and return its step."""
        block = _block(file, 0 if self.last is None else self.last + 1)
        if block is None:
            return None
        self._form = (block.particles, int(block.info.get("dimension", 3)), block.info.get("Properties", ""))
        return block.step


class XYZTrajectory(Trajectory):
    """Frames in extended XYZ."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = str(check.file("path", path))
        self._blocks: list[_Block] = []
        with open(self._path, "rb") as file:
            try:
                while block := _block(file, len(self._blocks)):
                    self._blocks.append(block)
            except ValueError as error:
                number = len(self._blocks)
                raise ValueError(
                    f"path: frame {number} of {self._path!r} is not extended XYZ: {error}. Leave it out of the file."
                ) from error
        if not self._blocks:
            raise ValueError(f"path: {self._path!r} holds no complete frame. Give a file with frames.")
        self.steps = np.array([block.step for block in self._blocks], np.int64)
        first = self._blocks[0].info
        self.dimension = int(first.get("dimension", 3))
        default = "T T T" if "Lattice" in first else "F F F"
        self.axes = tuple(x in _TRUE for x in first.get("pbc", default).split())[: self.dimension]
        columns, table = self._table(0)
        species = None
        if "species" in columns:
            species = [name.decode() for name in table[:, columns["species"][0].start]]
        elif "Z" in columns:
            species = table[:, columns["Z"][0].start].astype(np.int64)
        self.species = atomic_numbers(species, len(table))
        if "masses" in columns:
            self.mass = table[:, columns["masses"][0].start].astype(np.float64)

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        return stack(self._frame, start, stop)

    def _table(self, number: int) -> tuple[dict[str, tuple[slice, str]], np.ndarray]:
        """Return the columns of every property of a frame with its kind, and the words of the frame."""
        block = self._blocks[number]
        with open(self._path, "rb") as file:
            file.seek(block.data)
            words = file.read(block.end - block.data).split()
        columns = _columns(block.info.get("Properties", "species:S:1:pos:R:3"))
        width = max(where.stop for where, _ in columns.values())
        if len(words) != width * block.particles:
            raise ValueError(
                f"path: expected {width} entries in each row of frame {number} of {self._path!r}, got {len(words)} in "
                f"{block.particles} rows"
            )
        return columns, np.array(words).reshape(block.particles, width)

    def _frame(self, number: int) -> dict[str, np.ndarray]:
        info = self._blocks[number].info
        real = np.dtype(info.get("precision", "float64"))
        columns, table = self._table(number)
        out = {}
        for column, (where, kind) in columns.items():
            if kind == "S" or column in ("Z", "masses"):
                continue
            values = _parse(table[:, where], kind, real)
            values = values[:, : self.dimension] if column in _NAMES else values
            out[_NAMES.get(column, column)] = values[:, 0] if where.stop - where.start == 1 else values
        if "Lattice" in info:
            lattice = np.array(info["Lattice"].split(), np.float64).reshape(3, 3)
            out["cell"] = lattice[: self.dimension, : self.dimension]
        for name, text in info.items():
            if name not in _OWN and (value := _value(name, text, real, self.dimension)) is not None:
                out[name] = value
        return out


def read_xyz(path: str | os.PathLike[str]) -> XYZTrajectory:
    """Open extended or plain XYZ to read.

    Args:
        path: the file.

    Returns:
        Its complete frames. Only their places in the file are kept in memory.

    Raises:
        ValueError: the file is not XYZ, or has no frame.
    """
    return XYZTrajectory(path)


class _Block(NamedTuple):
    """A frame in a file: the contents of its comment line, and where its data begin and end."""

    particles: int
    step: int
    info: dict[str, str]
    data: int
    end: int


def _block(file: BinaryIO, number: int) -> _Block | None:
    """Read one frame, whose step is `number` unless it has one; return `None` if it is incomplete."""
    head, comment = file.readline(), file.readline()
    if not comment.endswith(b"\n") or not head.strip():
        return None
    info = {name: quoted or bare for name, quoted, bare in _PAIR.findall(comment.decode())}
    count, data = int(head), file.tell()
    rows = list(itertools.islice(file, count))
    if len(rows) < count or not all(row.endswith(b"\n") for row in rows[-1:]):
        return None
    return _Block(count, int(info.get("step", number)), info, data, file.tell())


def _columns(properties: str) -> dict[str, tuple[slice, str]]:
    words = properties.split(":")
    ends = list(itertools.accumulate(map(int, words[2::3]), initial=0))
    each = zip(words[::3], words[1::3], ends[:-1], ends[1:], strict=True)
    return {name: (slice(start, stop), kind) for name, kind, start, stop in each}


def _parse(words: np.ndarray, kind: str, real: np.dtype) -> np.ndarray:
    if kind == "L":
        return np.isin(words, [word.encode() for word in _TRUE])
    return words.astype(np.int64) if kind == "I" else words.astype(np.float64).astype(real)


def _value(name: str, text: str, real: np.dtype, dimension: int) -> np.ndarray | None:
    """Return a value of the comment line, `None` if it is not numbers."""
    words = text.split()
    if words and all(word in ("T", "F") for word in words):
        value = np.array([word == "T" for word in words])
    else:
        value = None
        for kind in (np.dtype(np.int64), np.dtype(np.float64)):
            with contextlib.suppress(ValueError, OverflowError):
                value = np.array(words, kind)
                break
        if value is None:
            return None
        value = value.astype(real) if value.dtype == np.float64 and name != "time" else value
    if name in _TENSORS and value.size == 9:
        return value.reshape(3, 3, order="F")[:dimension, :dimension]
    return value[0] if value.size == 1 else value


def _property(name: str, x: np.ndarray, dimension: int) -> tuple[str, str, np.ndarray]:
    """Return the entry of an array in `Properties`, the format of one row, and its numbers `[n, N, width]`."""
    kind = _kind(name, x)
    if not _NAME.fullmatch(name) or x.ndim > 3:
        raise ValueError(
            f"frames[{name!r}]: extended XYZ holds numbers and vectors per particle, and names without spaces, got "
            f"shape {x.shape}. Write .h5md."
        )
    flat = x.reshape(*x.shape[:2], -1)
    if name in _COLUMNS and x.ndim == 3 and x.shape[2] == dimension:
        flat = in_space(flat)
    width = flat.shape[2]
    code = {"R": "%.9g" if x.dtype.itemsize <= 4 else "%r", "I": "%d", "L": "%s"}[kind]
    columns = np.where(flat, "T", "F").astype(object) if kind == "L" else flat.astype(object)
    return f"{_COLUMNS.get(name, name)}:{kind}:{width}", f" {code}" * width, columns


def _kind(name: str, x: np.ndarray) -> str:
    if x.dtype.kind not in _KINDS:
        raise ValueError(f"frames[{name!r}]: extended XYZ holds real numbers, integers and booleans, got {x.dtype}")
    return _KINDS[x.dtype.kind]


def _comment(found: Content, k: int, properties: str) -> str:
    words = []
    if found.cell is not None:
        lattice = np.eye(3)
        lattice[: found.dimension, : found.dimension] = found.cell[k]
        words.append(f'Lattice="{_words(lattice)}"')
    axes = (*found.axes, False)[:3]
    words += [f"Properties={properties}", f'pbc="{" ".join("FT"[axis] for axis in axes)}"', f"step={found.steps[k]}"]
    if found.dimension == 2:
        words.append("dimension=2")
    if found.position.dtype == np.float32:
        words.append("precision=float32")
    if found.time is not None:
        words.append(f"time={found.time[k]}")
    return " ".join([*words, *(_entry(name, np.asarray(x[k])) for name, x in found.frames.items())])


def _entry(name: str, x: np.ndarray) -> str:
    if name in _TENSORS and x.ndim == 2 and x.shape[0] == x.shape[1] <= 3:
        x = np.pad(x, (0, 3 - len(x))).ravel(order="F")
    if not _NAME.fullmatch(name) or name in _OWN or x.ndim > 1 or x.size == 0:
        raise ValueError(
            f"frames[{name!r}]: extended XYZ holds numbers and vectors by name, and {' and '.join(_TENSORS)} as a "
            f"matrix, got shape {x.shape}. Write .h5md, which holds any array."
        )
    _kind(name, x)
    return f'{name}="{_words(x)}"' if x.ndim else f"{name}={_words(x)}"


def _words(x: np.ndarray) -> str:
    return " ".join("FT"[int(value)] if x.dtype == bool else str(value) for value in np.ravel(x))
