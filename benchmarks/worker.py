"""A program in a process of its own that stays, so that several can be asked in turn."""

import contextlib
import multiprocessing
import os
import tempfile
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks import peers, systems
from benchmarks.measure import Lap, peak_memory
from benchmarks.peers import Program
from benchmarks.work import Work

_SECONDS = 1_800


class PeerError(Exception):
    """Say what a program failed at."""


class Worker:
    """Hold a program that has been built and is warm.

    Attributes:
        peer: which one.
        energy: potential energy per atom at the start.
        precision: of positions and forces.
        setting: what was chosen for it.
    """

    def __init__(self, peer: str, work: Work) -> None:
        """Start the process, and wait until the program is ready.

        Raises:
            PeerError: it did not get ready.
        """
        self.peer = peer
        self._folder = tempfile.TemporaryDirectory()
        module = peers.load(peer)
        variables = module.environment(work, Path(self._folder.name)) if hasattr(module, "environment") else {}
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, peer, work), daemon=True)
        with _environment(variables):
            self._process.start()
        there.close()
        try:
            self.energy, self.precision, self.setting = self._answer()
        except PeerError:
            self.close()
            raise

    def run(self, steps: int) -> Lap:
        """Let it take so many steps."""
        self._send(steps)
        return self._answer()

    def memory(self) -> float:
        """Return the peak memory of its process, in MiB."""
        self._send("memory")
        return self._answer()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(PeerError):
            self._send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
        self._folder.cleanup()

    def _send(self, message: Any) -> None:
        try:
            self._here.send(message)
        except OSError as error:
            raise PeerError(f"its process ended with {self._process.exitcode}") from error

    def _answer(self) -> Any:
        if not self._here.poll(_SECONDS):
            raise PeerError(f"no answer in {_SECONDS} s")
        try:
            kind, answer = self._here.recv()
        except EOFError as error:
            self._process.join(10)
            raise PeerError(f"its process ended with {self._process.exitcode}") from error
        if kind == "error":
            raise PeerError(answer)
        return answer


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started meanwhile."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, peer: str, work: Work) -> None:
    """Build the program, then do what the pipe says, until it says nothing."""
    try:
        program: Program = peers.load(peer).build(work, systems.make(work))
        pipe.send(("ready", (program.energy, program.precision, program.setting)))
        while (message := pipe.recv()) is not None:
            pipe.send(("done", peak_memory() if message == "memory" else program.run(message)))
    except EOFError:
        return  # whoever asked is gone
    except peers.NotOffered as error:
        pipe.send(("error", f"not offered: {error}"))
    except Exception as error:  # whatever another program raises belongs into the table
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(last.filename).name}:{last.lineno}"
        text = " ".join(str(error).split())[:300]
        pipe.send(("error", f"{type(error).__name__} at {place}: {text}"))
