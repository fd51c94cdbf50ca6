"""The contract of everything that takes the records of a run: four verbs.

A frame is what was recorded at one step; several come at a time, stacked along the first axis. Whatever a writer was
given before it returned survives the death of the process: it is with the operating system. `flush` makes it survive
the death of the machine as well.
"""

import os
from abc import abstractmethod
from typing import Any

import jax
import numpy as np

from treedyn import _check as check
from treedyn.store._closing import Closing
from treedyn.tree import PyTree, is_array


class Writer(Closing):
    """Take frames in the order of their steps.

    Attributes:
        last: the step of the last frame; `None` where there is none.
        closed: whether it takes no more.

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
    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Add frames at the end.

        Args:
            steps: their steps, `int64[n]`, increasing, and after the last one that was written.
            frames: a tree of arrays; the first axis of all of them counts the frames.

        Raises:
            ValueError: they do not fit what is there already.
            OSError: the disk is full, or gone.
        """

    @abstractmethod
    def rewind(self, step: int) -> None:
        """Drop every frame after `step`: a run that goes on from there will write them again."""

    @abstractmethod
    def flush(self) -> None:
        """Return once everything that was written would survive a loss of power."""

    @abstractmethod
    def close(self) -> None:
        """Flush, and let go of the file; once is enough, twice does no harm."""


class FileWriter(Writer):
    """Take frames to a file; a run that goes on knows them by it.

    Attributes:
        path: where the file is, wherever the program goes from here.
    """

    def __init__(self, path: str | os.PathLike[str], mode: str) -> None:
        """Refuse what stands in the way; a subclass opens the file.

        Args:
            path: where.
            mode: "x" for a new file, "w" to overwrite one, "a" to continue it.

        Raises:
            ValueError: there is no such mode.
            FileExistsError: the file is there and was to be new.
            FileNotFoundError: the directory that it is to be in is not there.
        """
        check.choice("mode", mode, {"x": "new file", "w": "overwrite", "a": "continue"})
        self.path = check.path("path", path).absolute()
        folder, there = str(self.path.parent), str(self.path)
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"path: there is no directory {folder!r} to put {self.path.name!r} in; make it")
        if mode == "x" and self.path.exists():
            raise FileExistsError(f'path: {there!r} is there already; mode="a" continues it, mode="w" overwrites it')

    def close(self) -> None:
        """Put everything on the disk and close the file."""
        if not self.closed:
            self.closed = True
            self._close()

    @abstractmethod
    def _close(self) -> None:
        """Flush, and let go of the file."""

    def _check_open(self) -> None:
        """Refuse what comes after `close`."""
        if self.closed:
            raise ValueError(f'the writer of {self.path} is closed; open another one with mode="a"')


def check_steps(steps: Any, frames: PyTree, last: int | None) -> np.ndarray:
    """Return the steps of frames that are to be written, or refuse them.

    Args:
        steps: the steps.
        frames: the frames.
        last: the step of the last frame that was written.

    Raises:
        ValueError: steps are no integers, do not increase, or are not as many as the frames.

    Example:
        >>> check_steps([10, 20], {"x": np.zeros((2, 3))}, last=20)
        Traceback (most recent call last):
        ValueError: steps: expected increasing steps after 20, ... got 10 first; rewind(9) drops what comes after
    """
    steps = np.asarray(check.array("steps", steps, "integers [n]", (1,)))
    if steps.dtype.kind not in "iu" and steps.size:
        raise ValueError(f"steps: expected integers [n], got {steps.dtype}{list(steps.shape)}")
    steps = steps.astype(np.int64)
    if steps.size and (np.any(np.diff(steps) <= 0) or steps[0] < 0):
        raise ValueError(f"steps: expected increasing numbers from zero, got {steps.tolist()}")
    if steps.size and last is not None and steps[0] <= last:
        raise ValueError(
            f"steps: expected increasing steps after {last}, the last in the file, got {steps[0]} first; "
            f"rewind({steps[0] - 1}) drops what comes after"
        )
    for path, leaf in jax.tree_util.tree_flatten_with_path(frames)[0]:
        if is_array(leaf) and np.shape(leaf)[:1] != steps.shape:
            name = jax.tree_util.keystr(path)
            raise ValueError(
                f"frames{name}: expected one entry of the first axis for each of {steps.size} steps, got shape "
                f"{np.shape(leaf)}"
            )
    return steps
