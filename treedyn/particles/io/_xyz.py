"""Extended XYZ: text that everything reads, every frame complete in itself.

The comment line has `Lattice`, `Properties`, `pbc` and `step`, and whatever there is one of in a frame. Coordinates are
real, also where a simulation keeps fractions of a cell. Numbers have as many digits as it takes to read back the same
ones. What has two dimensions lies in the plane z = 0.

Reference: A. S. Banerjee et al., extended XYZ specification, https://github.com/libAtoms/extxyz
"""

import itertools
import os
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from treedyn import _check as check
from treedyn.particles.io._content import Content, check_space, content, masses
from treedyn.particles.io._species import atomic_numbers, symbols
from treedyn.particles.io._trajectory import Trajectory
from treedyn.store._growing import GrowingWriter
from treedyn.tree import PyTree

# what ASE and OVITO call them
_COLUMNS = {"position": "pos", "velocity": "velo", "force": "forces", "momentum": "momenta"}
_NAMES = {column: name for name, column in _COLUMNS.items()}
_TENSORS = ("stress", "virial")
_OWN = {"Lattice", "Properties", "pbc", "step", "dimension", "precision"}
_PAIR = re.compile(r'([^\s=]+)=(?:"([^"]*)"|(\S+))')
_NAME = re.compile(r"[A-Za-z_][\w/\-]*")


class XYZWriter(GrowingWriter):
    """Write extended XYZ."""

    kind: ClassVar[str] = "extended XYZ"
    _form: "_Form | None" = None

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
            mass: one for all or one each; a column of its own where it is given.

        Raises:
            FileExistsError: the file is there and was to be new.
            ValueError: it is to be continued and is no extended XYZ.
        """
        self._space, self._species, self._mass = check_space(space), species, mass
        super().__init__(path, mode=mode)

    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return frames as text."""
        found = content(steps, frames, self._space, self.last)
        names = symbols(atomic_numbers(self._species, found.count))
        if self._mass is not None:
            mass = np.broadcast_to(masses(self._mass, found.count), (len(found.steps), found.count))
            found.particles["masses"] = mass
        form = _Form(found.count, found.dimension, _properties(found))
        if self.last is not None and form != self._form:
            raise ValueError(f"frames: the file holds {self._form}, got {form}; begin a new file")
        self._form = form
        row, columns = _table(found, names)
        heads = [f"{found.count}\n{_comment(found, k, form.properties)}\n" for k in range(len(found.steps))]
        return "".join(head + row % tuple(x.tolist()) for head, x in zip(heads, columns, strict=True)).encode()

    def read_step(self, file: BinaryIO) -> int | None:
        """Read one frame and return its step."""
        block = _block(file, 0 if self.last is None else self.last + 1)
        if block is not None:
            self._form = _Form(block.count, int(block.info.get("dimension", 3)), block.info.get("Properties", ""))
        return block and block.step


class XYZTrajectory(Trajectory):
    """Read extended XYZ frame by frame."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = str(check.file("path", path))
        with open(self._path, "rb") as file:
            self._where = list(_blocks(file, self._path))
        self.steps = np.array([block.step for block in self._where], np.int64)
        if not self._where:
            raise ValueError(f"path: {self._path!r} holds no complete frame")
        first = self._where[0].info
        self.dimension = int(first.get("dimension", 3))
        default = "T T T" if "Lattice" in first else "F F F"
        self.axes = tuple(x in ("T", "True", "1") for x in first.get("pbc", default).split())[: self.dimension]
        names, table = self._table(0)
        self.species = atomic_numbers(_text(names, table), len(table))
        mass = table[:, names["masses"][0]] if "masses" in names else None
        self.mass = None if mass is None else mass[:, 0].astype(np.float64)

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        each = [self._frame(number) for number in range(start, stop)]
        if not each:
            return {name: np.asarray(x)[None][:0] for name, x in self._frame(0).items()}
        if any(frame.keys() != each[0].keys() for frame in each):
            raise ValueError(f"path: frames of {self._path!r} differ in what they hold; read them one by one")
        return {name: np.stack([frame[name] for frame in each]) for name in each[0]}

    def _table(self, number: int) -> tuple[dict[str, tuple[slice, str]], np.ndarray]:
        block = self._where[number]
        with open(self._path, "rb") as file:
            file.seek(block.data)
            words = file.read(block.end - block.data).split()
        names, width = _columns(block.info.get("Properties", "species:S:1:pos:R:3"))
        if len(words) != width * block.count:
            raise ValueError(f"path: frame {number} of {self._path!r} has {len(words)} entries, not {block.count} rows")
        return names, np.array(words).reshape(block.count, width)

    def _frame(self, number: int) -> dict[str, np.ndarray]:
        info = self._where[number].info
        real = np.dtype(info.get("precision", "float64"))
        names, table = self._table(number)
        out = {}
        for column, (where, kind) in names.items():
            if kind == "S" or column in ("Z", "masses"):
                continue
            values = _parse(table[:, where], kind, real)
            name = _NAMES.get(column, column)
            vector = name in ("position", "velocity", "force", "momentum")
            out[name] = values[:, : self.dimension] if vector else values
            out[name] = out[name][:, 0] if where.stop - where.start == 1 else out[name]
        if "Lattice" in info:
            lattice = np.array(info["Lattice"].split(), np.float64).reshape(3, 3)
            out["cell"] = lattice[: self.dimension, : self.dimension]
        for name, text in info.items():
            if name not in _OWN and (value := _value(name, text, real, self.dimension)) is not None:
                out[name] = value
        return out


def read_xyz(path: str | os.PathLike[str]) -> XYZTrajectory:
    """Read extended XYZ, or plain XYZ.

    Args:
        path: the file.

    Returns:
        Its frames; a last one that is not complete is left out. Only where they begin is kept in memory.

    Raises:
        ValueError: it is no XYZ, or has no frame.
    """
    return XYZTrajectory(path)


class _Form(NamedTuple):
    """Say what all frames of a file have in common."""

    count: int
    dimension: int
    properties: str


class _Block(NamedTuple):
    """Say where a frame is: its data, its end, and what its comment says."""

    count: int
    step: int
    info: dict[str, str]
    data: int
    end: int


def _blocks(file: BinaryIO, path: str) -> Iterator[_Block]:
    """Yield the complete frames."""
    for number in itertools.count():
        try:
            block = _block(file, number)
        except ValueError as error:
            raise ValueError(f"path: frame {number} of {path!r} is no extended XYZ: {error}; leave it out") from error
        if block is None:
            return
        yield block


def _block(file: BinaryIO, number: int) -> _Block | None:
    """Read one frame, the step of which is `number` where it does not say; `None` where it is not complete."""
    head, comment = file.readline(), file.readline()
    if not comment.endswith(b"\n") or not head.strip():
        return None
    count, info, data = int(head), _info(comment), file.tell()
    rows = list(itertools.islice(file, count))
    if len(rows) < count or not all(row.endswith(b"\n") for row in rows[-1:]):
        return None
    return _Block(count, int(info.get("step", number)), info, data, file.tell())


def _info(comment: bytes) -> dict[str, str]:
    return {name: quoted or bare for name, quoted, bare in _PAIR.findall(comment.decode())}


def _columns(properties: str) -> tuple[dict[str, tuple[slice, str]], int]:
    """Return where the columns of every property are, its kind, and how many there are in all."""
    words = properties.split(":")
    out, width = {}, 0
    for name, kind, number in zip(words[::3], words[1::3], words[2::3], strict=True):
        out[name] = (slice(width, width + int(number)), kind)
        width += int(number)
    return out, width


def _text(names: dict[str, tuple[slice, str]], table: np.ndarray) -> Any:
    if "species" in names:
        return [name.decode() for name in table[:, names["species"][0]][:, 0]]
    return table[:, names["Z"][0]][:, 0].astype(np.int64) if "Z" in names else None


def _parse(words: np.ndarray, kind: str, real: np.dtype) -> np.ndarray:
    if kind == "L":
        return np.isin(words, [b"T", b"True", b"1"])
    return words.astype(np.int64) if kind == "I" else words.astype(np.float64).astype(real)


def _value(name: str, text: str, real: np.dtype, dimension: int) -> np.ndarray | None:
    """Return a value of the comment line; `None` where it is no number."""
    words = text.split()
    if words and all(word in ("T", "F") for word in words):
        value = np.array([word == "T" for word in words])
    else:
        try:
            value = np.array(words, np.int64)
        except (ValueError, OverflowError):
            try:
                value = np.array(words, np.float64).astype(np.float64 if name == "time" else real)
            except ValueError:
                return None
    if name in _TENSORS and value.size == 9:
        return value.reshape(3, 3, order="F")[:dimension, :dimension]
    return value[0] if value.size == 1 else value


def _properties(found: Content) -> str:
    """Return the names, kinds and numbers of columns, as extended XYZ writes them."""
    parts = ["species:S:1"]
    for name, x in _arrays(found):
        if not _NAME.fullmatch(name) or x.ndim > 3:
            raise ValueError(f"frames[{name!r}]: extended XYZ holds numbers and vectors of every particle by name")
        width = x.shape[2] if x.ndim == 3 else 1
        parts.append(f"{_COLUMNS.get(name, name)}:{_kind(name, x)}:{width}")
    return ":".join(parts)


def _arrays(found: Content) -> list[tuple[str, np.ndarray]]:
    if found.dimension not in (2, 3):
        raise ValueError(f"frames['position']: extended XYZ has 2 or 3 dimensions, got {found.dimension}")

    def space(name: str, x: np.ndarray) -> np.ndarray:
        flat = x.ndim == 3 and x.shape[2] == 2 == found.dimension and name in _COLUMNS
        return np.pad(x, ((0, 0), (0, 0), (0, 1))) if flat else x

    every = {"position": found.position} | found.particles
    return [(name, space(name, x)) for name, x in every.items()]


def _kind(name: str, x: np.ndarray) -> str:
    kind = {"f": "R", "i": "I", "u": "I", "b": "L"}.get(x.dtype.kind)
    if kind is None:
        raise ValueError(f"frames[{name!r}]: extended XYZ holds real numbers, integers and booleans, got {x.dtype}")
    return kind


def _table(found: Content, names: list[str]) -> tuple[str, np.ndarray]:
    """Return a pattern for all rows of a frame, and the numbers that go into it, for every frame."""
    pattern, columns = "", []
    for name, x in _arrays(found):
        flat = x.reshape(*x.shape[:2], -1)
        kind = _kind(name, x)
        code = {"R": "%.9g" if x.dtype.itemsize <= 4 else "%r", "I": "%d", "L": "%s"}[kind]
        pattern += f" {code}" * flat.shape[2]
        columns.append(np.where(flat, "T", "F").astype(object) if kind == "L" else flat.astype(object))
    # one pattern for the whole frame: formatting number by number would take several times as long
    rows = "".join(f"{name}{pattern}\n" for name in names)
    together = np.concatenate(columns, axis=2)
    return rows, together.reshape(len(together), -1)


def _comment(found: Content, k: int, properties: str) -> str:
    words = []
    if found.cell is not None:
        lattice = np.eye(3)
        lattice[: found.dimension, : found.dimension] = found.cell[k]
        words.append(f'Lattice="{_words(lattice)}"')
    axes = (*found.axes, False)[:3] if found.dimension == 2 else found.axes
    words += [f"Properties={properties}", f'pbc="{" ".join("FT"[axis] for axis in axes)}"', f"step={found.steps[k]}"]
    if found.dimension == 2:
        words.append("dimension=2")
    if found.position.dtype == np.float32:
        words.append("precision=float32")
    if found.time is not None:
        words.append(f"time={found.time[k]}")
    return " ".join([*words, *(_entry(name, x[k]) for name, x in found.frames.items())])


def _entry(name: str, x: np.ndarray) -> str:
    x = np.asarray(x)
    if name in _TENSORS and x.ndim == 2 and x.shape[0] == x.shape[1] <= 3:
        x = np.pad(x, (0, 3 - len(x))).ravel(order="F")
    if not _NAME.fullmatch(name) or name in _OWN or x.ndim > 1 or x.size == 0:
        raise ValueError(
            f"frames[{name!r}]: extended XYZ holds numbers and vectors by name, and {' and '.join(_TENSORS)} as a "
            f"matrix, got shape {x.shape}; HDF5 holds any array"
        )
    _kind(name, x)
    return f'{name}="{_words(x)}"' if x.ndim else f"{name}={_words(x)}"


def _words(x: np.ndarray) -> str:
    if x.dtype == bool:
        return " ".join("T" if value else "F" for value in np.ravel(x))
    return " ".join(str(value) for value in np.ravel(x))
