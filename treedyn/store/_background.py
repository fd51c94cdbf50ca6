"""Write in a thread of its own, so that a run waits for a copy and not for a disk.

Order is kept. The queue is bounded: where the disk is slower than the run, the run waits, and memory does not grow.
What goes wrong in the thread is raised at the next call; nothing is written after it, so there is never a gap.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np

from treedyn import _check as check
from treedyn.store._writer import Writer
from treedyn.tree import PyTree


class Background(Writer):
    """Hand frames to another writer, in one thread.

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
        """Return the step of the last frame that was written, once all are."""
        if not self.closed:
            self._wait(lambda: None)
        return self.writer.last

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Take a copy, and return as soon as there is room for it in the queue.

        Raises:
            OSError: an earlier write went wrong; or whatever else it was.
        """
        # A copy always: an array from a device may look at memory that the device is about to use again.
        steps, frames = np.array(steps), jax.tree.map(lambda x: np.array(x) if hasattr(x, "dtype") else x, frames)
        self._check()
        self._room.acquire()  # every job gives its place back, also those that an error has left without work
        job = self._submit(lambda: self.writer.write(steps, frames))
        job.add_done_callback(lambda _: self._room.release())

    def rewind(self, step: int) -> None:
        """Rewind the other writer once everything before is written."""
        self._wait(lambda: self.writer.rewind(step))

    def flush(self) -> None:
        """Return once everything is written and flushed."""
        self._wait(self.writer.flush)

    def close(self) -> None:
        """Write what is left, close the other writer, end the thread."""
        if self.closed:
            return
        self._end()
        try:
            self.writer.close()
        except Exception as error:
            self._error = self._error or error
        self._tell()

    def release(self) -> None:
        """Write what is left and end the thread; the other writer stays open, for whoever opened it."""
        if not self.closed:
            self._end()
            self._tell()

    def _end(self) -> None:
        self.closed = True
        self._pool.shutdown(wait=True)

    def _tell(self) -> None:
        if self._error is not None and not self._raised:
            self._raised = True
            raise self._error

    def _submit(self, job: Callable[[], None]) -> "Future[None]":
        return self._pool.submit(self._attempt, job)

    def _attempt(self, job: Callable[[], None]) -> None:
        if self._error is None:
            try:
                job()
            except BaseException as error:
                self._error = error

    def _wait(self, job: Callable[[], None]) -> None:
        self._check()
        self._submit(job).result()
        self._check()

    def _check(self) -> None:
        if self.closed:
            raise ValueError("the writer is closed")
        if self._error is not None:
            self._raised = True
            raise self._error


def background(writer: Writer, *, depth: int = 4) -> Background:
    """Let `writer` work in a thread of its own.

    Args:
        writer: any writer; from now on only the one that is returned may be used.
        depth: how many calls of `write` may be waiting before the next one has to.

    Returns:
        A writer.

    Raises:
        ValueError: `depth` is not positive, or the writer is closed.

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
        raise ValueError("writer: expected one that is open, got one that was closed")
    return Background(writer, check.integer("depth", depth, 1))
