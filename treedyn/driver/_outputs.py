"""Outputs of a run: tables, trajectories and samples, each written at its own rate."""

import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from treedyn._check import instance, integer, warn
from treedyn._target import observing
from treedyn.driver._records import Recorder
from treedyn.store._background import Background, background
from treedyn.store._writer import FileWriter, Writer
from treedyn.tree import PyTree


@dataclasses.dataclass(frozen=True)
class Output:
    """A writer, the frames it receives, and how often.

    Attributes:
        writer: receives the frames. The run does not close it, so another run can continue with it.
        record: `record(state)` or `record(state, env)`, returns a frame.
        every: steps between two frames; the first frame is made after `every` steps.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import sys, jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import store
        >>> dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
        >>> state = dynamics.init(jax.random.key(0), jnp.ones(3), momentum=jnp.zeros(3))
        >>> table = td.Output(store.ThermoTable(sys.stdout, speed=False), lambda s: {"potential": s.energy}, every=20)
        >>> out = td.run(dynamics, state, steps=40, outputs=[table])
              step      potential
        ─────────────────────────
                20         0.2607
                40         0.6384
    """

    writer: Writer
    record: Callable[..., Any]
    every: int

    def __post_init__(self) -> None:
        instance("writer", self.writer, Writer, "a writer like store.CSVWriter(path)")
        observing("record", self.record)
        integer("every", self.every, 1, 2**30)


class OutputError(RuntimeError):
    """An output or a checkpoint that could not be written, with all results of the run so far.

    Attributes:
        state: the last state.
        env: the environment of that state.
        records: the records so far.
        step: number of steps taken.
        reduced: the results of the reducers so far.
    """

    def __init__(
        self, what: str, reason: Exception, state: object, env: object, records: object, step: int, reduced: object
    ) -> None:
        self.state, self.env, self.records, self.step, self.reduced = state, env, records, step, reduced
        super().__init__(
            f"{what} could not be written after step {step}: {reason}. Everything written before is intact; state, "
            "env, records and reduced are attributes of this error."
        )


class Outputs:
    """The outputs of one run, each with a writer in its own thread."""

    def __init__(self, outputs: Sequence[Output]) -> None:
        self.outputs = tuple(outputs)
        self.recorders = [Recorder(f"outputs[{k}]: record", x.record, x.every) for k, x in enumerate(self.outputs)]
        self.threads: list[Background] = []

    def __enter__(self) -> Self:
        self.threads = [background(output.writer) for output in self.outputs]
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for thread in self.threads:
            try:
                thread.release()
            except Exception as problem:
                if error is None:
                    raise
                error.add_note(f"A writer failed as well: {problem}")

    def names(self, folder: Path) -> list[str]:
        """Return the name of each output in a checkpoint: its file, relative to the folder of the run."""
        names = [_name(output.writer, folder) for output in self.outputs]
        return [f"{name} ({names[:k].count(name) + 1})" if name in names[:k] else name for k, name in enumerate(names)]

    def begin(self, step: int, known: Collection[int] = ()) -> None:
        """Refuse files that already hold frames after `step`.

        Args:
            step: the first step of the run.
            known: the outputs to which the run has written before.

        Raises:
            ValueError: a file does.
        """
        for k, output in enumerate(self.outputs):
            if k not in known and (last := output.writer.last) is not None and last > step:
                raise ValueError(
                    f"outputs[{k}]: expected a file with frames up to step {step}, where the run begins, got one with "
                    f'frames up to step {last}. Write to another file, open this one with mode="w", or drop the later '
                    f"frames by writer.rewind({step})."
                )

    def resume(self, origin: int, step: int, known: Collection[int]) -> None:
        """Drop the frames after `step`, which the resumed run writes again.

        Args:
            origin: the step at which the run began.
            step: the step from which it resumes.
            known: the outputs to which it has written before.

        Raises:
            ValueError: another file has frames after `step`.
        """
        self.begin(step, known)
        for k in known:
            output = self.outputs[k]
            output.writer.rewind(step)
            due = origin + (step - origin) // output.every * output.every
            if due > origin and (output.writer.last is None or output.writer.last < due):
                warn(
                    f"outputs[{k}]: the run resumes from step {step}, but its file only has frames up to step "
                    f'{output.writer.last}, not {due}; open files with mode="a" to keep their frames'
                )

    def write(self, k: int, steps: np.ndarray, frames: PyTree) -> None:
        """Pass frames to the k-th output."""
        self.threads[k].write(steps, frames)

    def flush(self, k: int) -> None:
        """Return once all frames of the k-th output are on the disk."""
        self.threads[k].flush()


def check_outputs(outputs: Any) -> tuple[Output, ...]:
    """Check the outputs of a run.

    Raises:
        ValueError: an entry is not an `Output`, its writer is closed, or two share a writer or a file.
    """
    if not isinstance(outputs, Sequence) or not all(isinstance(output, Output) for output in outputs):
        raise ValueError(
            f"outputs: expected a sequence of outputs, got {outputs!r}. Pass [td.Output(writer, record, every)]."
        )
    for k, output in enumerate(outputs):
        if _inner(output.writer).closed or output.writer.closed:
            raise ValueError(f'outputs[{k}]: expected an open writer, got a closed one. Open the file with mode="a".')
        if any(_place(output.writer) == _place(other.writer) for other in outputs[:k]):
            raise ValueError(
                f"outputs[{k}]: expected a writer of its own, got the writer or file of another output. Open one more."
            )
    return tuple(outputs)


def _inner(writer: Writer) -> Writer:
    """Return the writer behind a background thread."""
    return _inner(writer.writer) if isinstance(writer, Background) else writer


def _name(writer: Writer, folder: Path) -> str:
    writer = _inner(writer)
    kind = type(writer).__name__
    if not isinstance(writer, FileWriter):
        return kind
    try:
        # relative, so that the folder can be moved together with its files
        return f"{kind} {os.path.relpath(writer.path, folder)}"
    except ValueError:  # on another drive
        return f"{kind} {writer.path}"


def _place(writer: Writer) -> Any:
    writer = _inner(writer)
    if not isinstance(writer, FileWriter):
        return id(writer)
    try:
        found = writer.path.stat()
    except FileNotFoundError:
        return writer.path.resolve()
    return (found.st_dev, found.st_ino)
