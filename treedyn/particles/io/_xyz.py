"""Extended XYZ: text that most programs read, with every frame complete in itself.

The comment line has `Lattice`, `Properties`, `pbc` and `step`, and the values that a frame has once. Coordinates are
real, also if a simulation stores fractions of a cell. Numbers have as many digits as needed to read back the same bits.
Two-dimensional frames lie in the plane z = 0.

Reference: A. S. Banerjee et al., extended XYZ specification, https://github.com/libAtoms/extxyz
"""

import itertools
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, NamedTuple

import numpy as np

from treedyn import _check as check
from treedyn._extras import require
from treedyn.particles.io._content import Content, ParticleWriter, in_space
from treedyn.particles.io._species import SYMBOLS, atomic_numbers
from treedyn.particles.io._trajectory import Separate
from treedyn.store._files import decoding
from treedyn.store._growing import GrowingWriter
from treedyn.tree import PyTree

# the names of columns in ASE and OVITO
_COLUMNS = {"position": "pos", "velocity": "velo", "force": "forces", "momentum": "momenta", "mass": "masses"}
_NAMES = {column: name for name, column in _COLUMNS.items()}
_KINDS = {"f": "R", "i": "I", "u": "I", "b": "L"}
_TRUE = ("T", "True", "1")
_TENSORS = ("stress", "virial")
_KEYS = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}  # which some programs write otherwise
_OWN = {"Lattice", "Properties", "pbc", "step", "dimension", "precision", "creator"}
_MARK = "creator=treedyn"
_PAIR = re.compile(r"(\w+)=(\S+)")
_STEP = re.compile(r"(?:^|\s)step=(\d+)(?=\s|$)")
_NAME = re.compile(r"[A-Za-z_][\w/\-]*")


class XYZWriter(ParticleWriter, GrowingWriter):
    """A writer of extended XYZ. Masses are written as a column if they are given."""

    kind: ClassVar[str] = "extended XYZ"
    _form: tuple[int, int, str] | None = None  # the number of particles, the dimension, `Properties`

    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return frames as text."""
        found = self._content(steps, frames)
        if found.dimension not in (2, 3):
            raise ValueError(f"frames['position']: extended XYZ has 2 or 3 dimensions, got {found.dimension}")
        arrays = {"position": found.position} | found.particles
        if found.mass is not None:
            arrays["mass"] = np.broadcast_to(found.mass, (len(steps), found.count))
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
        rows = "".join(f"{name}{''.join(patterns)}\n" for name in SYMBOLS[found.species])
        numbers = np.concatenate(columns, axis=2).reshape(len(steps), -1)
        each = (f"{found.count}\n{_comment(found, k, head)}\n{rows % tuple(x)}" for k, x in enumerate(numbers.tolist()))
        return "".join(each).encode()

    def read_step(self, file: BinaryIO) -> int | None:
        """Read one frame and return its step."""
        block = _block(file)
        if block is None:
            return None
        if not block.is_ours:
            raise ValueError("it was written by another program. Write a new file")
        if not block.complete or block.step is None:
            return None
        info = dict(_PAIR.findall(block.comment))
        self._form = (block.particles, int(info.get("dimension", 3)), info["Properties"])
        return block.step


class XYZTrajectory(Separate):
    """Frames in extended or plain XYZ. ASE parses the comment lines."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._parse = require("ase.io.extxyz", "ase").key_val_str_to_dict
        self.path = check.file("path", path)
        with decoding(f"path: {str(path)!r} is damaged or not XYZ"):
            self._blocks = _blocks(self.path)
        steps = (k if block.step is None else block.step for k, block in enumerate(self._blocks))
        self.steps = np.fromiter(steps, np.int64)

    def _frame(self, number: int) -> dict[str, np.ndarray]:
        block = self._blocks[number]
        with open(self.path, "rb") as file:
            file.seek(block.data)
            words = file.read(block.end - block.data).split()
        # a comment without "=" is free text
        info = self._parse(block.comment) if "=" in block.comment else {}
        return _arrays(block.particles, words, {_KEYS.get(str(name).lower(), str(name)): x for name, x in info.items()})


class _Block(NamedTuple):
    """A frame in a file: its comment line, where its data are, whose it is, and whether it is whole."""

    particles: int
    step: int | None
    comment: str
    data: int
    end: int
    is_ours: bool
    complete: bool


def _block(file: BinaryIO) -> _Block | None:
    """Read one frame, which may follow blank lines; return `None` at the end of the file."""
    head = next((line for line in file if line.strip()), None)
    if head is None:
        return None
    if not head.strip().isdigit():
        raise ValueError(f"expected the number of particles, got {head[:40].decode(errors='replace')!r}")
    count, line, data = int(head), file.readline(), file.tell()
    comment = line.decode()
    rows, step = list(itertools.islice(file, count)), _STEP.search(comment)
    # of ours, a row without its end may be half a number
    is_ours = comment.startswith(_MARK)
    complete = len(rows) == count and (not is_ours or (rows or [line])[-1].endswith(b"\n"))
    if not complete and any(row.startswith(_MARK.encode()) for row in rows):
        raise ValueError(f"expected {count} particles, but another frame begins before the last one")
    return _Block(count, int(step[1]) if step else None, comment, data, file.tell(), is_ours, complete)


def _blocks(path: Path) -> list[_Block]:
    """Return the complete frames; only our own last frame may be incomplete, because its writer was killed."""
    out: list[_Block] = []
    with path.open("rb") as file:
        while True:
            with decoding(f"frame {len(out)}"):
                block = _block(file)
                if block is not None and not (block.complete or block.is_ours):
                    raise ValueError("it ends before its last particle")
            if block is None or not block.complete:
                break
            out.append(block)
    if not out:
        raise ValueError("it holds no complete frame. Give a file with frames.")
    return out


def _arrays(count: int, words: list[bytes], info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the arrays of a frame from the entries of its rows and of its comment."""
    columns = _columns(str(info.get("Properties", "species:S:1:pos:R:3")))
    if "pos" not in columns:
        raise ValueError("expected a column pos in Properties")
    width = max(where.stop for where, _ in columns.values())
    if len(words) != width * count:
        raise ValueError(f"expected {width} entries for each of {count} particles, got {len(words)} entries")
    table, dimension = np.array(words, np.bytes_).reshape(count, width), int(info.get("dimension", 3))
    real = np.dtype(str(info.get("precision", "float64")))
    out = {}
    for column, (where, kind) in columns.items():
        values = _values(table[:, where], kind, np.dtype(float) if column == "masses" else real)
        values = values[:, :dimension] if column in _NAMES else values
        out[_NAMES.get(column, column)] = values[:, 0] if where.stop - where.start == 1 else values
    if "Z" in out:
        out.setdefault("species", SYMBOLS[atomic_numbers(out.pop("Z"), count)])
    out |= _box(info, dimension)
    # what a frame has once never takes the place of a column or of the box
    taken = {*out, "cell", "species", "mass"}
    for name in (name for name in info if name not in _OWN):
        x = np.array(info[name])
        x = x.astype(real) if x.dtype == np.float64 and name != "time" else x
        out[f"frame_{name}" if name in taken else name] = x[:dimension, :dimension] if name in _TENSORS else x
    return out


def _columns(properties: str) -> dict[str, tuple[slice, str]]:
    words = properties.split(":")
    ends = list(itertools.accumulate(map(int, words[2::3]), initial=0))
    each = zip(words[::3], words[1::3], ends[:-1], ends[1:], strict=True)
    return {name: (slice(start, stop), kind) for name, kind, start, stop in each}


def _values(words: np.ndarray, kind: str, real: np.dtype) -> np.ndarray:
    if kind == "S":
        return np.char.decode(words)
    if kind == "L":
        return np.isin(words, [word.encode() for word in _TRUE])
    return words.astype(np.int64) if kind == "I" else words.astype(np.float64).astype(real)


def _box(info: dict[str, Any], dimension: int) -> dict[str, np.ndarray]:
    """Return `cell` and `periodic`."""
    lattice = info.get("Lattice")
    periodic = np.array(info.get("pbc", [lattice is not None] * 3))
    if periodic.dtype != bool or periodic.shape != (3,):
        raise ValueError(f"expected pbc to be three of T and F, got {info['pbc']!r}")
    out = {"periodic": periodic[:dimension]}
    if lattice is None:
        return out
    # ASE has a vector in each column
    vectors = np.asarray(lattice, np.float64).reshape(3, 3)
    vectors = vectors.T if np.ndim(lattice) == 2 else vectors
    return out | {"cell": vectors[:dimension, :dimension]}


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
    words = [_MARK]
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
