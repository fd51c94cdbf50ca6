"""Files that grow at their end, frame by frame, and are cut back to whole frames when something goes wrong."""

import contextlib
import errno
import os
from abc import abstractmethod
from typing import BinaryIO, ClassVar

import numpy as np

from treedyn.store._writer import FileWriter, check_steps
from treedyn.tree import PyTree

# what a terminal, a pipe or a device answers when asked to put data on a disk
_NO_DISK = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.ESPIPE}


class GrowingWriter(FileWriter):
    r"""Write a file in which every frame is a block of bytes, such as a line of text.

    A subclass defines `encode` and `read_step`. This class appends frames as a whole or not at all, continues a file,
    drops what a process that died left incomplete at its end, and rewinds.

    Attributes:
        kind: what such a file is called in error messages.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import store
        >>> class Lines(store.GrowingWriter):
        ...     def encode(self, steps, frames):
        ...         return "".join(f"{step} {x}\n" for step, x in zip(steps, frames)).encode()
        ...     def read_step(self, file):
        ...         line = file.readline()
        ...         return int(line.split()[0]) if line.endswith(b"\n") else None
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "energy.txt"
        >>> with Lines(path) as writer:
        ...     writer.write(np.array([10, 20]), np.array([-1.5, -1.25]))
        >>> with Lines(path, mode="a") as writer:
        ...     print(writer.last)
        20
    """

    kind: ClassVar[str] = "file of frames"

    def __init__(self, path: str | os.PathLike[str], *, mode: str = "x") -> None:
        """Open a file, and drop an incomplete frame at its end.

        Args:
            path: where.
            mode: "x" for a new file, "w" to overwrite one, "a" to continue it.

        Raises:
            FileExistsError: the file is there and was to be new.
            ValueError: it is to be continued, and holds something else.
        """
        super().__init__(path, mode)
        if self.path.is_dir():
            raise IsADirectoryError(f"path: expected the name of a file, but {str(self.path)!r} is a directory")
        exists = mode == "a" and self.path.exists()
        # Unbuffered: what was written is with the operating system, and nothing is left behind that fails later.
        self._file = open(self.path, "r+b" if exists else f"{'w' if mode == 'w' else 'x'}+b", buffering=0)  # noqa: SIM115
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            self._keep(None)
        except BaseException:
            self._file.close()
            raise

    @abstractmethod
    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return the bytes of one or more frames, one block after another.

        A header belongs to the block of the first frame: `last` is `None` as long as the file has no frame.

        Args:
            steps: their steps, `int64[n]`.
            frames: a tree of arrays; the first axis of all of them counts the frames.

        Raises:
            ValueError: the frames do not fit the format, or what is in the file.
        """

    @abstractmethod
    def read_step(self, file: BinaryIO) -> int | None:
        """Read one frame from `file`, and return its step.

        Returns:
            The step; `None` where the file ends within the frame, which is then dropped.

        Raises:
            ValueError: this is no frame; the file is left as it is.
        """

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames at the end."""
        self._check_open()
        steps = check_steps(steps, frames, self.last)
        if steps.size:
            self._append(self.encode(steps, frames))
            self.last = int(steps[-1])

    def rewind(self, step: int) -> None:
        """Drop every frame after `step`."""
        self._check_open()
        if self.last is not None and self.last > step:
            self._keep(step)

    def flush(self) -> None:
        """Put everything on the disk."""
        self._check_open()
        self._sync()

    def _close(self) -> None:
        try:
            self._sync()
        finally:
            self._file.close()

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise

    def _append(self, data: bytes) -> None:
        """Add `data` at the end; where there is no room for all of it, the file is what it was before."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._cut(self._size)
            raise
        self._size += len(data)

    def _cut(self, size: int) -> None:
        self._file.truncate(size)
        self._size = self._file.seek(size)

    def _keep(self, step: int | None) -> None:
        """Keep the complete frames up to `step`, or all of them."""
        if not self._size:  # a device is empty, and yet may have no end
            return
        kept, self.last = 0, None
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as file:
            while file.peek(1):
                try:
                    here = self.read_step(file)
                    if file.peek(1) if here is None else self.last is not None and here <= self.last:
                        raise ValueError(f"what begins at byte {kept} is not the next frame")
                except (ValueError, LookupError) as error:
                    where = f"path: {str(self.path)!r} is no {self.kind} that can be continued"
                    raise ValueError(f"{where}: {error}") from error
                if here is None or (step is not None and here > step):
                    break
                kept, self.last = file.tell(), here
        self._cut(kept)
