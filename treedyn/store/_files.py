"""What files share: they are closed, put on the disk, replaced as a whole, filled with frames, and named in errors.

In arrays whose first axis counts frames, the steps are written after the values. A frame counts once its step is there;
a missing step is -1.
"""

import contextlib
import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Generator
from pathlib import Path
from typing import Any, Self

import numpy as np

# errors of lost bytes or of a changed offset; decoders raise exceptions without a number
_UNREADABLE = {None, errno.EIO, errno.EINVAL}


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
def decoding(what: str, kind: type[ValueError] = ValueError) -> Generator[None, None, None]:
    """Raise every exception of a decoder, to which a changed byte can lead, as an error that begins with `what`."""
    try:
        yield
    except Exception as error:
        # a file that cannot be opened now, without rights or free handles, is not damaged
        if isinstance(error, OSError) and error.errno not in _UNREADABLE:
            raise
        raise kind(f"{what}: {error}") from error


def allocate(path: Path, start: int, size: int) -> None:
    """Give blocks of the disk to a range of a file, which becomes longer if needed, or raise an OSError."""
    if hasattr(os, "posix_fallocate"):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            os.posix_fallocate(descriptor, start, size)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path, None, None]:
    """Yield the path of a new file or folder, which replaces `path` at the end and is deleted after an error."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
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
    """Return the steps before the first that is missing, read piece by piece: a file may declare more than it holds."""
    out = [np.zeros(0, np.int64)]
    for start in range(0, steps.shape[0], 2**16):
        piece = np.asarray(steps[start : start + 2**16], np.int64)
        missing = np.flatnonzero(piece < 0)
        out.append(piece[: missing[0]] if missing.size else piece)
        if missing.size:
            break
    return np.concatenate(out)
