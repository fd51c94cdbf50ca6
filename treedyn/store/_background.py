"""Writing in a separate thread, so that a run waits for a copy and not for a disk.

The order of calls is kept. The queue is bounded: if the disk is slower than the run, the run waits and memory does not
grow. An error in the thread is raised by the next call, and nothing is written after it, so there is never a gap.
"""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import Int

from treedyn import _check as check
from treedyn.store._writer import Writer
from treedyn.tree import PyTree


class Background(Writer):
    """A writer that passes frames to another writer in one thread.

    Attributes:
        writer: the other writer.
    """

    def __init__(self, writer: Writer, depth: int) -> None:
        self.writer = writer
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="treedyn-writer")
        self._room = threading.Semaphore(depth)
        self._error: BaseException | None = None
        self._raised = self.closed = False

    @property
    def last(self) -> int | None:  # type: ignore[override]
        """Return the step of the last frame, once all frames are written."""
        if not self.closed:
            self._wait(lambda: None)
        return self.writer.last

    def write(self, steps: Int[np.ndarray, " frames"], frames: PyTree) -> None:
        """Copy frames into the queue; wait while it is full.

        Raises:
            Exception: an earlier call failed in the thread; its error, such as an OSError.
        """
        # always a copy: an array from a device may share memory that the device uses again
        steps, frames = np.array(steps), jax.tree.map(lambda x: np.array(x) if hasattr(x, "dtype") else x, frames)
        self._check()
        self._room.acquire()  # every job gives its place back, also one that is skipped after an error
        job = self._pool.submit(self._attempt, lambda: self.writer.write(steps, frames))
        job.add_done_callback(lambda _: self._room.release())

    def rewind(self, step: int) -> None:
        """Rewind the other writer after all earlier calls."""
        self._wait(lambda: self.writer.rewind(step))

    def flush(self) -> None:
        """Return once everything is written and flushed."""
        self._wait(self.writer.flush)

    def close(self) -> None:
        """Write what is left, close the other writer and end the thread."""
        self._end(self.writer.close)

    def release(self) -> None:
        """Write what is left and end the thread. The other writer stays open."""
        self._end(lambda: None)

    def _end(self, last: Callable[[], None]) -> None:
        """End the thread, then call `last`; raise an error that was not raised before."""
        if self.closed:
            return
        self.closed = True
        self._pool.shutdown(wait=True)
        try:
            last()
        except Exception as error:
            self._error = self._error or error
        if self._error is not None and not self._raised:
            self._raised = True
            raise self._error

    def _attempt(self, job: Callable[[], None]) -> None:
        if self._error is None:
            try:
                job()
            except BaseException as error:
                self._error = error

    def _wait(self, job: Callable[[], None]) -> None:
        self._check()
        self._pool.submit(self._attempt, job).result()
        self._check()

    def _check(self) -> None:
        if self.closed:
            raise ValueError("the writer is closed; open another one")
        if self._error is not None:
            self._raised = True
            raise self._error


def background(writer: Writer, *, depth: int = 4) -> Background:
    """Return a writer that passes its frames to `writer` in a separate thread.

    Args:
        writer: any writer. Use only the returned writer from now on.
        depth: the largest number of calls of `write` that may be waiting.

    Raises:
        ValueError: `depth` is not positive, or `writer` is closed.

    Example:
        >>> import io, numpy as np
        >>> from treedyn import store
        >>> stream = io.StringIO()
        >>> with store.background(store.ThermoTable(stream, speed=False)) as writer:
        ...     writer.write(np.array([100]), {"potential": np.array([-1.5])})
        >>> print(stream.getvalue().split()[-2:])
        ['100', '-1.5000']
    """
    check.instance("writer", writer, Writer, "a writer like store.CSVWriter(path)")
    if writer.closed:
        raise ValueError("writer: expected one that is open, got a closed one. Open it again.")
    return Background(writer, check.integer("depth", depth, 1))
