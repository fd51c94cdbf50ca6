"""Tables of numbers as text, a line for every frame: CSV and JSON lines.

A line is complete when it ends; a process that dies leaves at most one that does not, and that one is dropped.
"""

import csv
import io
import json
import math
import os
from abc import abstractmethod
from typing import Any, BinaryIO, ClassVar

import jax
import numpy as np

from treedyn import _check as check
from treedyn.store._growing import GrowingWriter
from treedyn.tree import PyTree

# the order in which programs of the field print them; whatever else there is comes after, in the order of the alphabet
COLUMNS = (
    *("step", "time", "potential", "kinetic", "total", "temperature", "pressure", "volume", "density"),
    *("conserved", "steps/s"),
)


def columns_of(steps: np.ndarray, frames: PyTree) -> dict[str, np.ndarray]:
    """Return frames as columns, the steps first.

    Raises:
        ValueError: the frames are no dict of numbers.
    """
    if not isinstance(frames, dict) or not all(isinstance(name, str) for name in frames):
        raise ValueError(f"frames: expected a dict of numbers by name, got {type(frames).__name__}")
    columns = {"step": steps}
    for name in sorted(frames, key=lambda name: (COLUMNS.index(name) if name in COLUMNS else len(COLUMNS), name)):
        column = np.asarray(frames[name])
        if column.ndim != 1 or not (column.dtype.kind in "biu" or jax.numpy.issubdtype(column.dtype, np.floating)):
            raise ValueError(
                f"frames[{name!r}]: a table holds one real number a frame, got {column.dtype}{list(column.shape)}; "
                "write arrays with store.ZarrWriter"
            )
        if name == "step":
            raise ValueError("frames['step']: the table has that column already, from steps")
        columns[name] = column.astype(np.int64) if column.dtype == bool else column
    return columns


class _Lines(GrowingWriter):
    """Hold what tables of text share."""

    kind: ClassVar[str] = "table"
    _names: list[str] | None = None

    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return a line for every frame, after the header where they are the first."""
        columns = columns_of(steps, frames)
        if self.last is not None and list(columns) != self._names:
            raise ValueError(f"frames: the file has the columns {self._names}, got {list(columns)}; begin a new file")
        self._names = list(columns)
        return self._text(columns).encode()

    def read_step(self, file: BinaryIO) -> int | None:
        """Read a line, after the header where it is the first, and return its step."""
        row, names = None, None if self.last is None else self._names
        while row is None:
            line = file.readline()
            if not line.endswith(b"\n"):
                return None
            row, names = self._parse(line, names)
        self._names = names
        return int(row["step"])

    @abstractmethod
    def _text(self, columns: dict[str, np.ndarray]) -> str: ...

    @staticmethod
    @abstractmethod
    def _parse(line: bytes, names: list[str] | None) -> tuple[dict[str, Any] | None, list[str]]:
        """Return the numbers of a line, if it is no header, and the names of the columns."""


class CSVWriter(_Lines):
    """Write numbers as comma-separated values, with a header.

    Numbers have as many digits as it takes to read back the same ones.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import store
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.csv"
        >>> with store.CSVWriter(path) as writer:
        ...     writer.write(np.array([10, 20]), {"potential": np.array([-1.5, -1.25])})
        >>> print(path.read_text())
        step,potential
        10,-1.5
        20,-1.25
        >>> print(store.read_table(path)["potential"])
        [-1.5  -1.25]
    """

    def _text(self, columns: dict[str, np.ndarray]) -> str:
        stream, head = io.StringIO(), [list(columns)] if self.last is None else []
        rows = ([str(x) for x in row] for row in zip(*columns.values(), strict=True))
        csv.writer(stream, lineterminator="\n").writerows([*head, *rows])
        return stream.getvalue()

    @staticmethod
    def _parse(line: bytes, names: list[str] | None) -> tuple[dict[str, Any] | None, list[str]]:
        cells = next(csv.reader([line.decode()]), [])
        if names is None:
            if cells[:1] != ["step"]:
                raise ValueError(f"expected a header that begins with step, got {line[:40]!r}")
            return None, cells
        return dict(zip(names, map(_number, cells), strict=True)), names


class JSONLinesWriter(_Lines):
    """Write numbers as JSON lines, an object for every frame.

    JSON has no NaN; it is written as null.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import store
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.jsonl"
        >>> with store.JSONLinesWriter(path) as writer:
        ...     writer.write(np.array([10]), {"potential": np.array([-1.5])})
        >>> print(path.read_text())
        {"step": 10, "potential": -1.5}
    """

    def _text(self, columns: dict[str, np.ndarray]) -> str:
        names = [json.dumps(name) for name in columns]
        rows = (", ".join(map("{}: {}".format, names, map(_json, row))) for row in zip(*columns.values(), strict=True))
        return "".join(f"{{{row}}}\n" for row in rows)

    @staticmethod
    def _parse(line: bytes, names: list[str] | None) -> tuple[dict[str, Any] | None, list[str]]:
        row = json.loads(line)
        if not isinstance(row, dict) or (names is not None and list(row) != names):
            raise ValueError(f"expected an object with the names {names}, got {line[:80]!r}")
        return {name: math.nan if x is None else x for name, x in row.items()}, list(row)


def read_table(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read a table that `CSVWriter` or `JSONLinesWriter` wrote.

    Args:
        path: the file; which of the two it is shows in its first character.

    Returns:
        The columns by name, `step` among them; integers where all numbers of a column are. A last line that does not
        end is left out.

    Raises:
        ValueError: it is no such table.
    """
    with open(check.file("path", path), "rb") as file:
        lines = file.readlines()
    parse = JSONLinesWriter._parse if lines[:1] and lines[0].startswith(b"{") else CSVWriter._parse
    names, rows = None, []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            break
        try:
            row, names = parse(line, names)
        except ValueError as error:
            raise ValueError(f"path: {str(path)!r}, line {number}: {error}") from error
        rows += [] if row is None else [row]
    return {name: np.array([row[name] for row in rows]) for name in names or []}


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _json(x: Any) -> str:
    number = float(x)
    if math.isnan(number):
        return "null"
    # beyond the range of a double every parser reads infinity
    return str(x) if math.isfinite(number) else ("1e999" if number > 0 else "-1e999")
