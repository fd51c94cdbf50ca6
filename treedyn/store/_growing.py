"""Files that grow at their end, frame by frame, and are cut back to whole frames after an error."""

import contextlib
import errno
import os
from abc import abstractmethod
from typing import BinaryIO, ClassVar

import numpy as np

from treedyn.store._writer import FileWriter, Mode
from treedyn.tree import PyTree

# what a terminal, a pipe or a device answers to fsync
_NO_DISK = {errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.ESPIPE}


class GrowingWriter(FileWriter):
    r"""A writer of a file in which every frame is a block of bytes, such as a line of text.

    A subclass defines `encode` and `read_step`. This class appends frames as a whole or not at all, continues a file,
    drops an incomplete frame at its end, and rewinds.

    Attributes:
        kind: the name of such a file in error messages.

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

    @abstractmethod
    def encode(self, steps: np.ndarray, frames: PyTree) -> bytes:
        """Return the bytes of one or more frames, one block after another.

        A header belongs to the block of the first frame: `last` is `None` while the file has no frame.

        Args:
            steps: the steps of the frames, `int64[n]`.
            frames: a tree of arrays whose first axis counts the frames.

        Raises:
            ValueError: the frames do not fit the format, or those in the file.
        """

    @abstractmethod
    def read_step(self, file: BinaryIO) -> int | None:
        """Read one frame and return its step.

        Returns:
            The step, or `None` if the file ends within the frame, which is then dropped.

        Raises:
            ValueError: this is not a frame of the format. The file stays as it is.
        """

    def _open(self, mode: Mode) -> None:
        if self.path.is_dir():
            raise IsADirectoryError(f"path: expected the name of a file, but {str(self.path)!r} is a directory")
        exists = mode == "a" and self.path.exists()
        # unbuffered: the operating system has every frame, and no buffer is left whose writing could fail later
        self._file = open(self.path, "r+b" if exists else f"{'w' if mode == 'w' else 'x'}+b", buffering=0)  # noqa: SIM115
        self._size = os.fstat(self._file.fileno()).st_size
        try:
            self._keep(None)
        except BaseException:
            self._file.close()
            raise

    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames; if the disk has no room for all of them, the file stays as it was."""
        if not steps.size:
            return
        data = self.encode(steps, frames)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            with contextlib.suppress(OSError):
                self._truncate(self._size)
            raise
        self._size += len(data)

    def _cut(self, step: int) -> None:
        self._keep(step)

    def _sync(self) -> None:
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            if error.errno not in _NO_DISK:
                raise

    def _close(self) -> None:
        try:
            self._sync()
        finally:
            self._file.close()

    def _truncate(self, size: int) -> None:
        self._file.truncate(size)
        self._size = self._file.seek(size)

    def _keep(self, step: int | None) -> None:
        """Keep the complete frames up to `step`, or all of them."""
        if not self._size:  # a device has size 0 and may have no end
            return
        kept, self.last = 0, None
        self._file.seek(0)
        with open(os.dup(self._file.fileno()), "rb") as file:
            while file.peek(1):
                try:
                    here = self.read_step(file)
                    if file.peek(1) if here is None else self.last is not None and here <= self.last:
                        raise ValueError(f"the bytes from {kept} on are not the next frame")
                except (ValueError, LookupError) as error:
                    raise ValueError(f"path: {str(self.path)!r} cannot be continued as {self.kind}: {error}") from error
                if here is None or (step is not None and here > step):
                    break
                kept, self.last = file.tell(), here
        self._truncate(kept)
