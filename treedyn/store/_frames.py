"""The result of readers: frames by number or slice, read from the file on demand."""

import operator
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from treedyn.store._files import Closing, decoding
from treedyn.tree import PyTree


class Frames(Closing):
    """Frames in a file: `frames[-1]` is one, `frames[100:200:10]` are ten, stacked.

    Attributes:
        path: the file.
        steps: the step of every frame.
    """

    path: Path
    steps: Int[np.ndarray, " frames"]
    _file: Any = None

    @abstractmethod
    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the arrays of frames `start` to `stop`, stacked."""

    def _build(self, arrays: dict[str, np.ndarray]) -> PyTree:
        """Return frames from their arrays."""
        return arrays

    def close(self) -> None:
        """Close the file. Frames that were read stay."""
        if self._file is not None:
            self._file.close()

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int | slice) -> PyTree:
        if isinstance(index, slice):
            wanted = np.arange(len(self))[index]
        elif not -len(self) <= operator.index(index) < len(self):
            raise IndexError(f"index: expected one of {len(self)} frames, got {index}")
        else:
            wanted = np.asarray(operator.index(index) % len(self))
        start, stop = (int(wanted.min()), int(wanted.max()) + 1) if wanted.size else (0, 0)
        with decoding(f"path: frames {start}:{stop} of {str(self.path)!r} are damaged or in another format"):
            arrays = {name: x[wanted - start] for name, x in self._read(start, stop).items()}
        return self._build(arrays)

    def __iter__(self) -> Iterator[PyTree]:
        return (self[number] for number in range(len(self)))
