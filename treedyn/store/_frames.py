"""What readers return: frames by number or slice, read from the file when they are asked for."""

import operator
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, overload

import numpy as np

from treedyn.store._closing import Closing
from treedyn.tree import PyTree


class Frames(Closing):
    """Read frames as they are asked for: `frames[-1]` is one, `frames[100:200:10]` are ten, stacked.

    Attributes:
        steps: the step of every frame, `int64[n]`.
    """

    steps: np.ndarray
    _file: Any = None

    @abstractmethod
    def _read(self, start: int, stop: int) -> PyTree:
        """Return frames `start` to `stop`, stacked."""

    @abstractmethod
    def _pick(self, frames: PyTree, which: Any) -> PyTree:
        """Return the frames at `which` of the first axis."""

    def close(self) -> None:
        """Let go of the file; frames that were read stay."""
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> PyTree: ...
    @overload
    def __getitem__(self, index: slice) -> PyTree: ...
    def __getitem__(self, index: int | slice) -> PyTree:
        if isinstance(index, slice):
            wanted = range(len(self))[index]
            if not wanted:
                return self._read(0, 0)
            low, high = min(wanted), max(wanted)
            return self._pick(self._read(low, high + 1), np.asarray(wanted) - low)
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index: there are {len(self)} frames, got {number}")
        number %= len(self)
        return self._pick(self._read(number, number + 1), 0)

    def __iter__(self) -> Iterator[PyTree]:
        return (self[number] for number in range(len(self)))
