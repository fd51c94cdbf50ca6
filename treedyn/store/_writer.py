"""The contract of writers, which take the records of a run, and what all writers of files share.

A frame is the record of one step. Frames come several at a time, stacked along the first axis. Frames whose `write` has
returned survive the death of the process, because the operating system has them. `flush` makes them survive the death
of the machine as well.
"""

import os
from abc import abstractmethod
from typing import Literal, final

import jax
import numpy as np
from jaxtyping import Int

from treedyn import _check as check
from treedyn.store._files import Closing
from treedyn.tree import PyTree, is_array

Mode = Literal["x", "w", "a"]


class Writer(Closing):
    """A consumer of frames in the order of their steps.

    Attributes:
        last: the step of the last frame, `None` without frames.
        closed: whether the writer was closed.

    Example:
        >>> import numpy as np
        >>> from treedyn.store import Writer
        >>> class Largest(Writer):
        ...     def write(self, steps, frames):
        ...         print(int(steps[-1]), float(np.max(frames)))
        ...     def rewind(self, step): ...
        ...     def flush(self): ...
        ...     def close(self): ...
        >>> with Largest() as writer:
        ...     writer.write(np.array([10, 20]), np.array([[1.0, 5.0], [2.0, 3.0]]))
        20 5.0
    """

    last: int | None = None
    closed: bool = False

    @abstractmethod
    def write(self, steps: Int[np.ndarray, " frames"], frames: PyTree) -> None:
        """Add frames at the end.

        Args:
            steps: the steps of the frames, increasing, and after `last`.
            frames: a tree of arrays whose first axis counts the frames.

        Raises:
            ValueError: the frames do not fit those in the file.
            OSError: the disk is full or not available.
        """

    @abstractmethod
    def rewind(self, step: int) -> None:
        """Drop every frame after `step`. A run that resumes there writes them again."""

    @abstractmethod
    def flush(self) -> None:
        """Return once all frames would survive a loss of power."""

    @abstractmethod
    def close(self) -> None:
        """Flush and close the file; a second call does nothing."""


class FileWriter(Writer):
    """A writer of one file. It checks what all files have in common and leaves the format to a subclass.

    Attributes:
        path: the absolute path of the file, by which a run knows its outputs.
    """

    def __init__(self, path: str | os.PathLike[str], *, mode: Mode = "x") -> None:
        """Open a file.

        Args:
            path: the file.
            mode: "x" for a new file, "w" to overwrite a file, "a" to continue one.

        Raises:
            ValueError: `mode` is unknown, or the file to be continued has another format.
            FileExistsError: the file exists and `mode` is "x".
            FileNotFoundError: the directory of the file does not exist.
            ImportError: the package for the format is not installed.
        """
        check.choice("mode", mode, {"x": "new file", "w": "overwrite", "a": "continue"})
        self.path = check.path("path", path).absolute()
        if not self.path.parent.is_dir():
            folder = str(self.path.parent)
            raise FileNotFoundError(f"path: there is no directory {folder!r} for {self.path.name!r}. Make it first.")
        if mode == "x" and self.path.exists():
            raise FileExistsError(
                f'path: {str(self.path)!r} exists already. mode="a" continues it, mode="w" overwrites it.'
            )
        self._open(mode)

    @final
    def write(self, steps: Int[np.ndarray, " frames"], frames: PyTree) -> None:
        """Add frames at the end."""
        self._check_open()
        steps = check_steps(steps, frames, self.last)
        self._append(steps, frames)
        if steps.size:
            self.last = int(steps[-1])

    @final
    def rewind(self, step: int) -> None:
        """Drop every frame after `step`."""
        self._check_open()
        if self.last is not None and self.last > step:
            self._cut(step)

    @final
    def flush(self) -> None:
        """Write all frames to the disk."""
        self._check_open()
        self._sync()

    @final
    def close(self) -> None:
        """Write all frames to the disk and close the file."""
        if not self.closed:
            self.closed = True
            self._close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError(f'the writer of {self.path} is closed; open another one with mode="a"')

    @abstractmethod
    def _open(self, mode: Mode) -> None:
        """Open the file. To continue it, drop what is incomplete at its end and set `last`."""

    @abstractmethod
    def _append(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames whose steps were checked."""

    @abstractmethod
    def _cut(self, step: int) -> None:
        """Drop the frames after `step`, of which there are some, and set `last`."""

    @abstractmethod
    def _sync(self) -> None:
        """Write all frames to the disk."""

    def _close(self) -> None:
        """Write all frames to the disk and close the file."""
        self._sync()


def check_steps(steps: object, frames: PyTree, last: int | None) -> np.ndarray:
    """Return the steps as `int64[n]`: integers that increase from `last`, as many as the frames.

    Example:
        >>> check_steps([10, 20], {"x": np.zeros((2, 3))}, last=20)
        Traceback (most recent call last):
        ValueError: steps: expected increasing steps after 20, ... got 10 first. rewind(9) drops the frames after it.
    """
    array = np.asarray(check.array("steps", steps, "integers [n]", (1,)))
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"steps: expected integers [n], got {array.dtype}{list(array.shape)}. Pass whole numbers.")
    array = array.astype(np.int64)
    if array.size and (np.any(np.diff(array) <= 0) or array[0] < 0):
        raise ValueError(f"steps: expected increasing numbers from zero, got {array.tolist()}")
    if array.size and last is not None and array[0] <= last:
        raise ValueError(
            f"steps: expected increasing steps after {last}, the last in the file, got {array[0]} first. "
            f"rewind({array[0] - 1}) drops the frames after it."
        )
    for path, leaf in jax.tree_util.tree_flatten_with_path(frames)[0]:
        if is_array(leaf) and np.shape(leaf)[:1] != array.shape:
            raise ValueError(
                f"frames{jax.tree_util.keystr(path)}: expected a first axis of length {array.size}, the number of "
                f"steps, got shape {np.shape(leaf)}"
            )
    return array
