"""Tables of numbers as text, one line per frame: CSV and JSON lines.

A line is complete at its line break. A process that dies leaves at most one incomplete line, which is dropped.
"""

import csv
import io
import json
import math
import os
from abc import abstractmethod
from typing import Any, BinaryIO, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Real

from treedyn import _check as check
from treedyn.store._growing import GrowingWriter
from treedyn.tree import PyTree

# the usual order of thermodynamic output; other columns follow in alphabetical order
COLUMNS = (
    *("step", "time", "potential", "kinetic", "total", "temperature", "pressure", "volume", "density"),
    *("conserved", "steps/s"),
)


def columns_of(steps: np.ndarray, frames: PyTree) -> dict[str, np.ndarray]:
    """Return frames, a dict of numbers by name, as columns, the steps first."""
    if not isinstance(frames, dict) or not all(isinstance(name, str) for name in frames):
        raise ValueError(f"frames: expected a dict of numbers by name, got {type(frames).__name__}")
    columns = {"step": steps}
    for name in sorted(frames, key=lambda name: (COLUMNS.index(name) if name in COLUMNS else len(COLUMNS), name)):
        column = np.asarray(frames[name])
        if column.ndim != 1 or not (column.dtype.kind in "biu" or jnp.issubdtype(column.dtype, np.floating)):
            raise ValueError(
                f"frames[{name!r}]: expected one real number per frame, got {column.dtype}{list(column.shape)}. "
                "Write arrays with store.ZarrWriter."
            )
        if name == "step":
            raise ValueError("frames['step']: the table has this column already, from steps. Leave it out.")
        columns[name] = column.astype(np.int64) if column.dtype == bool else column
    return columns


_JSON = int | float | None


class _TableWriter(GrowingWriter):
    """A table of text; a subclass formats and parses its lines."""

    kind: ClassVar[str] = "table"
    _names: list[str] | None = None

    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return a line for every frame, with a header before the first one."""
        columns = columns_of(steps, frames)
        if self.last is not None and list(columns) != self._names:
            raise ValueError(f"frames: expected the columns {self._names}, got {list(columns)}. Write a new file.")
        self._names = list(columns)
        return self._text(columns).encode()

    def read_step(self, file: BinaryIO) -> int | None:
        """Read a line, with the header before the first one, and return its step."""
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
        """Return the numbers of a line (`None` for a header) and the names of the columns."""


class CSVWriter(_TableWriter):
    """A writer of numbers as comma-separated values, with a header.

    Numbers have as many digits as needed to read back the same bits.

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


class JSONLinesWriter(_TableWriter):
    """A writer of numbers as JSON lines, one object per frame. NaN, which JSON does not have, is written as null.

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
        names = names or (["step", *list(row)[1:]] if isinstance(row, dict) else [])
        if not isinstance(row, dict) or list(row) != names or not all(isinstance(x, _JSON) for x in row.values()):
            raise ValueError(f"expected an object with numbers named {names}, got {line[:80]!r}")
        return {name: math.nan if x is None else x for name, x in row.items()}, list(row)


def read_table(path: str | os.PathLike[str]) -> dict[str, Real[np.ndarray, " frames"]]:
    """Read a table that `CSVWriter` or `JSONLinesWriter` wrote; the first character shows which one.

    Args:
        path: the file.

    Returns:
        The columns by name, with `step` among them. A column of integers has an integer dtype. An incomplete last line
        is left out.

    Raises:
        ValueError: the file is not such a table.
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
    # every parser reads a number beyond the range of a double as infinity
    return str(x) if math.isfinite(number) else ("1e999" if number > 0 else "-1e999")
