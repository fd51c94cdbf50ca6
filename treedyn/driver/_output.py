"""What a run writes while it goes on: tables, trajectories, samples, each at a rate of its own."""

import dataclasses
import os
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from treedyn._check import instance, integer
from treedyn._target import observing
from treedyn.driver._recorder import Recorder
from treedyn.store._background import Background, background
from treedyn.store._writer import FileWriter, Writer
from treedyn.tree import PyTree


@dataclasses.dataclass(frozen=True)
class Output:
    """Say what a run writes, where, and how often.

    Attributes:
        writer: takes the frames; it is not closed by the run, so that another run can go on with it.
        record: `record(state)` or `record(state, env)`, returns a frame.
        every: steps between two frames; the first one is made after `every` steps.

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
    """Report something that could not be written, with all that the run has come to.

    Attributes:
        state: the state.
        env: the environment that belongs to it.
        records: what had been recorded up to there.
        step: how many steps the run had taken.
        reduced: the results of the reducers up to there.
    """

    def __init__(
        self, what: str, reason: Exception, state: object, env: object, records: object, step: int, reduced: object
    ) -> None:
        self.state, self.env, self.records, self.step, self.reduced = state, env, records, step, reduced
        super().__init__(
            f"{what} could not be written after step {step}: {reason}. What was written before is as it was; state, "
            "env, records and reduced are attributes of this error."
        )


class Outputs:
    """Hand frames to writers, each in a thread of its own, for as long as a run lasts."""

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
        """Return what each is known by when a run goes on: its file, seen from the folder of the run."""
        names = [_name(output.writer, folder) for output in self.outputs]
        return [f"{name} ({names[:k].count(name) + 1})" if name in names[:k] else name for k, name in enumerate(names)]

    def begin(self, step: int, known: Collection[int] = ()) -> None:
        """Refuse files with frames that a run from `step` on would write again.

        Args:
            step: where it begins.
            known: which of them the run has written to before.

        Raises:
            ValueError: there is one.
        """
        for k, output in enumerate(self.outputs):
            if k not in known and (last := output.writer.last) is not None and last > step:
                raise ValueError(
                    f"outputs[{k}]: its writer holds frames up to step {last}, and the run begins at step {step}; "
                    f'write to another file, open this one with mode="w", or drop them by writer.rewind({step})'
                )

    def resume(self, origin: int, step: int, known: Collection[int]) -> None:
        """Drop the frames after `step`, which a run that began at `origin` and goes on from there writes again.

        Args:
            origin: where the run began.
            step: where it goes on.
            known: which of them it has written to before.

        Raises:
            ValueError: another file has frames after `step`.
        """
        self.begin(step, known)
        for k in known:
            output = self.outputs[k]
            output.writer.rewind(step)
            due = origin + (step - origin) // output.every * output.every
            if due > origin and (output.writer.last is None or output.writer.last < due):
                warnings.warn(
                    f"outputs[{k}]: the run goes on from step {step}, but its writer holds frames only up to step "
                    f'{output.writer.last}, not {due}; open files with mode="a" to keep what is there',
                    stacklevel=5,
                )

    def write(self, k: int, steps: np.ndarray, frames: PyTree) -> None:
        """Hand over frames of the k-th output."""
        self.threads[k].write(steps, frames)

    def flush(self, k: int) -> None:
        """Return once all that was handed over to the k-th output is on the disk."""
        self.threads[k].flush()


def check_outputs(outputs: Any) -> tuple[Output, ...]:
    """Return the outputs of a run, or refuse them.

    Raises:
        ValueError: one is none, its writer is closed, or two share a writer or a file.
    """
    if not isinstance(outputs, Sequence) or not all(isinstance(output, Output) for output in outputs):
        raise ValueError(f"outputs: expected a sequence of td.Output(writer, record, every), got {outputs!r}")
    for k, output in enumerate(outputs):
        if _inner(output.writer).closed or output.writer.closed:
            raise ValueError(f'outputs[{k}]: its writer is closed; open another one, a file with mode="a"')
        if any(_place(output.writer) == _place(other.writer) for other in outputs[:k]):
            raise ValueError(
                f"outputs[{k}]: another output has the same writer or file; give every output one of its own"
            )
    return tuple(outputs)


def _inner(writer: Writer) -> Writer:
    """Return the writer that works in the background, if it does."""
    return _inner(writer.writer) if isinstance(writer, Background) else writer


def _name(writer: Writer, folder: Path) -> str:
    writer = _inner(writer)
    kind = type(writer).__name__
    if not isinstance(writer, FileWriter):
        return kind
    try:
        # so that a folder with all that belongs to a run can be moved
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
