"""What files share: they are closed after a block, put on the disk, replaced as a whole, and filled with frames.

In arrays whose first axis counts frames, the steps are written after the values. A frame counts once its step is there;
a missing step is -1.
"""

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import numpy as np


class Closing(ABC):
    """An object that is closed at the end of a `with` block, also after an error."""

    @abstractmethod
    def close(self) -> None:
        """Close the file; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def sync(path: Path) -> None:
    """Return once a file, or the list of names in a folder, would survive a loss of power."""
    is_folder = path.is_dir()
    if is_folder and os.name != "posix":  # elsewhere a folder cannot be opened, and its names are written at once
        return
    descriptor = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Yield the path of a new file, which takes the place of `path` at the end and is deleted after an error."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def chunks(shape: tuple[int, ...], dtype: np.dtype, size: int) -> tuple[int, ...]:
    """Return the shape of a chunk: whole frames of `shape`, of about `size` bytes together."""
    frame = max(int(np.prod(shape)) * dtype.itemsize, 1)
    return int(np.clip(size // frame, 1, 1024)), *(max(n, 1) for n in shape)


def put(array: Any, values: np.ndarray, before: int, after: int) -> None:
    """Write values as frames `before` to `after`; an array that is too short grows."""
    if array.shape[0] < after:
        array.resize((after, *array.shape[1:]))
    if values.size:
        array[before:after] = values


def complete(steps: Any) -> np.ndarray:
    """Return the steps before the first that is missing."""
    steps = np.asarray(steps[:], np.int64)
    missing = np.flatnonzero(steps < 0)
    return steps[: missing[0]] if missing.size else steps
