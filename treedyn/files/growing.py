"""A file that only ever grows at its end, and is cut back to where it was when something goes wrong."""

import contextlib
import errno
import os
from abc import abstractmethod
from collections.abc import Iterator

from treedyn.files.writer import FileWriter, check_path

# what a terminal, a pipe or a device answers when asked to put data on a disk, or to be shorter
_NO_DISK = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.ESPIPE}


class GrowingFile:
    """Append bytes to a file, all or nothing.

    Attributes:
        size: number of bytes in it.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        where = check_path(path, mode)
        if where.is_dir():
            raise IsADirectoryError(f"path: expected the name of a file, but {str(where)!r} is a directory")
        exists = mode == "a" and where.exists()
        # Unbuffered: what was written is with the operating system, and nothing is left behind that fails later.
        self._file = open(where, "r+b" if exists else f"{'w' if mode == 'w' else 'x'}+b", buffering=0)  # noqa: SIM115
        self.size = os.fstat(self._file.fileno()).st_size

    def append(self, data: bytes) -> None:
        """Add `data` at the end.

        Raises:
            OSError: there was no room for all of it; the file is what it was before.
        """
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self.cut(self.size)
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Keep the first `size` bytes."""
        self._file.truncate(size)
        self._file.seek(size)
        self.size = size

    def lines(self) -> Iterator[bytes]:
        """Yield the lines from the top, and stand at the end afterwards."""
        if not self.size:  # a device is empty, and yet may have no end
            return
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as buffered:
            yield from buffered
        self._file.seek(self.size)

    def sync(self) -> None:
        """Return once all of it is on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise

    def close(self) -> None:
        """Put everything on the disk and close the file."""
        if not self._file.closed:
            try:
                self.sync()
            finally:
                self._file.close()


class GrowingWriter(FileWriter):
    """Write a file that only ever grows; a subclass says how frames look, and which of them to keep."""

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        """Open the file, and drop what a process that died left incomplete at its end."""
        super().__init__(path, mode)
        self._file = GrowingFile(self.path, mode)
        try:
            self._keep(None)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def _keep(self, step: int | None) -> None:
        """Keep the complete frames up to `step`, or all of them, and set `last`."""

    def rewind(self, step: int) -> None:
        """Drop every frame after `step`."""
        self._check_open()
        if self.last is not None and self.last > step:
            self._keep(step)

    def flush(self) -> None:
        """Put everything on the disk."""
        self._check_open()
        self._file.sync()

    def _close(self) -> None:
        self._file.close()
