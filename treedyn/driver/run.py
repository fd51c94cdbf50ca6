"""`run`: compiled chunks on the device, records and repairs on the host."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import environment, stream, tree
from treedyn.driver import advance as compiled
from treedyn.driver.check import check, check_checkpoint, check_host, check_record
from treedyn.driver.checkpoint import Folder
from treedyn.driver.keeper import Keeper
from treedyn.driver.progress import Bar, no_bar, progress_bar
from treedyn.driver.stop import Stop
from treedyn.dynamics.dynamics import Dynamics
from treedyn.state import State
from treedyn.status import SimulationError, Status
from treedyn.target import call
from treedyn.tree import PyTree

_BUFFER_BYTES = 2**26
_CHUNK_SECONDS = 0.5
_TUNE_AFTER = 2.0  # seconds that are measured before lists are tuned
_LARGEST_CHUNK = 2**30
_REPAIRABLE = Status.OVERFLOW


@dataclasses.dataclass(frozen=True)
class Run:
    """Hold what `run` returns.

    Attributes:
        state: the last state.
        env: the environment that belongs to it.
        records: what was recorded, stacked along the first axis; `None` without `record`.
        reduced: the results of the reducers, in a tree like `reduce`.
        steps: steps taken.
        rebuilds: how often the environment was rebuilt.
        allocations: how often it ran out of room and was allocated anew.
        failure: why the run ended before its time, where `on_failure="return"`; else `None`.
        seconds: wall time without the chunks that compile: the first one, and one after each allocation.
        steps_per_second: speed without those; NaN where there was no other.
    """

    state: State
    env: PyTree
    records: PyTree = None
    reduced: PyTree = None
    steps: int = 0
    rebuilds: int = 0
    allocations: int = 0
    failure: SimulationError | None = None
    seconds: float = 0.0
    steps_per_second: float = float("nan")


def run(
    dynamics: Dynamics,
    state: State,
    env: PyTree = None,
    *,
    steps: int,
    every: int = 1,
    record: Callable[..., Any] | None = None,
    reduce: PyTree = None,
    until: Callable[..., Any] | None = None,
    progress: bool | str = False,
    chunk: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    keep: int = 3,
    resume: str = "auto",
    on_failure: str = "raise",
) -> Run:
    """Take many steps in compiled chunks, and never on invalid ground.

    A step whose forces used an environment that no longer held is taken again, from the state before it, with a
    rebuilt one. Where a list runs out of room, it is allocated anew and the run goes on from the last good state: the
    trajectory is the one that a large enough list would have given. The device is read once per chunk.

    Args:
        dynamics: any dynamics or minimizer.
        state: what `dynamics.init` returned, or the state of an earlier run.
        env: environment of the target: neighbor lists, data, what moves on its own.
        steps: how many steps to take, at least 0.
        every: steps between two records; the first record is made after `every` steps.
        record: `record(state)` or `record(state, env)`, returns any PyTree.
        reduce: a reducer of `treedyn.stream`, or any tree of them, shown a state whenever one is recorded: averages,
            histograms, correlations, in memory that does not grow with the run.
        until: `until(state)` or `until(state, env)`, returns whether to stop; asked after every step.
        progress: show a bar with steps/s and the time left (needs `tqdm`); a string is its title.
        chunk: steps between two reads of the device; by default about half a second's worth. Results do not depend
            on it.
        checkpoint: a folder to keep checkpoints in. Called again with the same arguments, the run goes on from there,
            and ends in the same bits as one that was never stopped. Ctrl-C and SIGTERM finish the chunk and write one.
        checkpoint_every: steps between two checkpoints; by default about a minute's worth.
        keep: how many checkpoints to keep.
        resume: "auto" goes on from the folder where it holds this very run; "must" refuses to begin anew, and "never"
            to go on: it replaces what the folder holds.
        on_failure: "raise" the error of a run that cannot go on, or "return" what is good, with the error in `failure`.

    Returns:
        A `Run` with `state`, `env`, `records`, `reduced`, and counts of steps, rebuilds and allocations.

    Raises:
        ValueError: an argument does not fit.
        SimulationError: a position, force or energy is not finite, a particle moved too far in one step, or the box
            became too small. The last good state, environment and records are attributes of the error.
        CheckpointError: a checkpoint could not be written; with the same attributes.
        DamagedFile: the folder has checkpoints, but all of them are damaged.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(3))
        >>> out = td.run(dynamics, state, steps=100, every=10, record=lambda state: state.position)
        >>> out.records.shape
        (10, 3)
    """
    check(dynamics, state, steps, every, record)
    check_host(state, env, until, chunk)
    check_checkpoint(checkpoint, checkpoint_every, keep, resume)
    if on_failure not in ("raise", "return"):
        raise ValueError(f"on_failure: expected 'raise' or 'return', got {on_failure!r}")
    until = None if until is None else _Named(until)
    host = _Host(dynamics, state, env, every, record if record is None else _Named(record), reduce, until)
    failure = None
    with contextlib.ExitStack() as stack:
        keeper = None
        if checkpoint is not None:
            folder, stop = stack.enter_context(Folder(checkpoint, keep)), stack.enter_context(Stop())
            keeper = Keeper(host, folder, checkpoint_every, stop)
        bar = stack.enter_context(progress_bar(steps, progress) if progress else no_bar())
        try:
            if keeper is None or not keeper.resumed(resume, steps):
                host.begin()
            bar.update(host.taken)
            host.go(steps, chunk, bar, keeper)
        except SimulationError as error:
            if on_failure == "raise":
                raise
            failure = error
    return host.result(failure)


class _Named:
    """Keep a user's function as one object, so that compiled code is found again for the same function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__wrapped__ = function  # inspect.signature follows it

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Named) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)


@partial(jax.jit, static_argnames=("until",))
def _advance(
    dynamics: Dynamics, state: State, env: PyTree, ahead: PyTree, steps: jax.Array, until: Any
) -> tuple[State, PyTree, compiled.Progress]:
    return compiled.advance(dynamics, state, env, steps, compiled.start(ahead), until)


@partial(jax.jit, static_argnames=("record", "until"), donate_argnames=("buffer",))
def _blocks(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    ahead: PyTree,
    span: tuple[jax.Array, jax.Array, jax.Array],
    buffer: PyTree,
    sums: PyTree,
    record: Any,
    reduce: PyTree,
    until: Any,
) -> tuple[State, PyTree, compiled.Progress, tuple[PyTree, PyTree]]:
    return compiled.blocks(dynamics, state, env, compiled.start(ahead), span, (buffer, sums), record, reduce, until)


class _Host:
    """Drive the compiled loops from the host: read, repair, go on."""

    def __init__(
        self, dynamics: Dynamics, state: State, env: PyTree, every: int, record: Any, reduce: PyTree, until: Any
    ) -> None:
        self.dynamics, self.state, self.env, self.ahead = dynamics, state, env, state.boxed
        self.every, self.record, self.reduce, self.until = every, record, reduce, until
        self.sums = stream.init(reduce, state, env)
        self.taken, self.rebuilds, self.allocations, self.finished = 0, 0, 0, False
        self.seconds, self.timed_steps, self.pace = 0.0, 0, 0.0
        self.chunks: list[PyTree] = []
        self.buffer, self.capacity = None, 0
        self.repaired, self.untuned, self.cold = -1, True, True
        if record is not None:
            self._make_buffer()

    def begin(self) -> None:
        """Refuse a state in trouble, unless all that happened was `init` with an environment of other positions."""
        trouble = Status(int(self.state.status))
        if trouble & (Status.STALE | Status.OVERFLOW) and int(self.state.step) == 0:
            self.env = environment.allocate(self.env, self.state.position)
            self.state = self.dynamics.evaluate(self.state.replace(status=jnp.uint32(0)), self.env)
            trouble = Status(int(self.state.status))
        if trouble:
            raise self.error(trouble)

    def _shapes(self) -> PyTree:
        return jax.eval_shape(lambda s, e: tree.box(call(self.record, s, e)), self.state, self.env)

    def _make_buffer(self) -> None:
        self.shapes = shapes = self._shapes()
        check_record(shapes)
        if any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(shapes)):
            raise ValueError("record: random keys cannot be stacked on the host; for a state: state.replace(key=None)")
        size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(shapes))
        self.capacity = int(np.clip(_BUFFER_BYTES // max(size, 1), 1, 4096))
        # one place more than records in a chunk, for the block that a chunk may leave incomplete
        self.buffer = jax.tree.map(lambda x: jnp.zeros((self.capacity + 1, *x.shape), x.dtype), shapes)

    def go(self, steps: int, chunk: int | None, bar: Bar, keeper: Keeper | None = None) -> None:
        """Take `steps` steps, chunk by chunk."""
        while self.taken < steps and not self.finished:
            before, began = self.taken, time.perf_counter()
            todo = min(steps - self.taken, self._size(chunk))
            if keeper is not None:
                todo = min(todo, keeper.left())
            progress = self._chunk(todo)
            trouble = Status(int(progress.trouble))
            self.taken += int(progress.steps)
            self.rebuilds += int(progress.rebuilds)
            self.finished = bool(progress.finished)
            self._time(time.perf_counter() - began, self.taken - before)
            bar.update(self.taken - before)
            if trouble:
                self._repair(trouble)
            self._tune(steps - self.taken)
            if keeper is not None:
                keeper.after_chunk()
        # a list may have overflowed when it was rebuilt after the last step: nothing has used it yet
        if Status(int(environment.status(self.env))) & _REPAIRABLE:
            self._grow()
        if keeper is not None:
            keeper.write()

    def _size(self, chunk: int | None) -> int:
        if chunk is not None:
            return min(chunk, _LARGEST_CHUNK)
        return max(int(self.pace * _CHUNK_SECONDS), 1) if self.pace else 50

    def _time(self, seconds: float, steps: int) -> None:
        # a chunk that compiles, the first one or one after a list changed its shape, tells nothing about the pace
        if not self.cold:
            self.seconds += seconds
            self.timed_steps += steps
        if steps and not (self.cold and self.pace):
            # the first one gives a lower bound, from which the pace may rise quickly
            now = steps / seconds
            self.pace = min(now, 8 * self.pace) if self.pace else now
        self.cold = False

    def _chunk(self, todo: int) -> compiled.Progress:
        """Run one chunk on the device, and keep its records."""
        if self.record is None and self.reduce is None:
            out = _advance(self.dynamics, self.state, self.env, self.ahead, jnp.int32(todo), self.until)
            self.state, self.env, progress = out
            self.ahead = progress.ahead
            return jax.device_get(progress.replace(ahead=None))
        if self.record is not None:
            todo = min(todo, self.capacity * self.every)
        span = (jnp.int32(self.taken % self.every), jnp.int32(todo), jnp.int32(self.every))
        self.state, self.env, progress, (self.buffer, self.sums) = _blocks(
            self.dynamics,
            self.state,
            self.env,
            self.ahead,
            span,
            self.buffer,
            self.sums,
            self.record,
            self.reduce,
            self.until,
        )
        self.ahead = progress.ahead
        progress = jax.device_get(progress.replace(ahead=None))
        if self.record is None:
            return progress
        made = (self.taken + int(progress.steps)) // self.every - self.taken // self.every
        self.chunks.append(jax.tree.map(lambda b: np.asarray(b)[:made].copy(), self.buffer))
        return progress

    def _repair(self, trouble: Status) -> None:
        # What came of an incomplete list says nothing, so a repair comes first; what was repaired at this very step and
        # is in trouble again cannot be repaired.
        if not trouble & _REPAIRABLE or self.repaired == self.taken:
            raise self.error(trouble)
        # Every accepted force stood on valid ground, so there is nothing to undo: only the refused step is taken again.
        self._grow()
        self.repaired = self.taken

    def _tune(self, left: int) -> None:
        if self.untuned and self.seconds > _TUNE_AFTER:
            self.untuned = False
            pace = environment.Pace(self.seconds / self.timed_steps, self.taken / max(self.rebuilds, 1), left)
            env = environment.tuned(self.env, self.state.position, pace)
            changed = any(a is not b for a, b in zip(jax.tree.leaves(env), jax.tree.leaves(self.env), strict=True))
            self.env = env
            if changed:
                self._reshaped()

    def _grow(self) -> None:
        # for the position that it had been rebuilt for: the list is then what a larger one would have been in every bit
        self.env = environment.allocate(self.env, tree.unbox(self.ahead))
        self.allocations += 1
        self._reshaped()

    def _reshaped(self) -> None:
        self.cold = True
        if self.record is not None and self._shapes() != self.shapes:
            raise ValueError(
                "record: what it returns changed its shape when a neighbor list grew; record something of fixed shape"
            )

    def records(self) -> PyTree:
        """Return what was recorded so far, stacked."""
        if self.record is None:
            return None
        empty = jax.tree.map(lambda b: np.zeros((0, *b.shape[1:]), b.dtype), self.buffer)
        return tree.unbox(jax.tree.map(lambda *parts: np.concatenate(parts), empty, *self.chunks))

    def error(self, trouble: Status) -> SimulationError:
        """Return the error that ends the run, with everything that is good attached."""
        reduced = stream.result(self.reduce, self.sums)
        return SimulationError(trouble, self.state, self.env, self.records(), self.taken, reduced)

    def result(self, failure: SimulationError | None) -> Run:
        """Return what `run` returns."""
        return Run(
            state=self.state,
            env=self.env,
            records=self.records(),
            reduced=stream.result(self.reduce, self.sums),
            steps=self.taken,
            rebuilds=self.rebuilds,
            allocations=self.allocations,
            failure=failure,
            seconds=self.seconds,
            steps_per_second=self.timed_steps / self.seconds if self.seconds else float("nan"),
        )
