"""What drives the compiled loops of a run from the host: read, repair, deliver, go on."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import environment, stream, tree
from treedyn.driver import advance as compiled
from treedyn.driver.output import OutputError, Outputs
from treedyn.driver.recorder import Recorder
from treedyn.dynamics.dynamics import Dynamics
from treedyn.state import State
from treedyn.status import SimulationError, Status
from treedyn.tree import PyTree

_BUFFER_BYTES = 2**26
_CHUNK_SECONDS = 0.5
_TUNE_AFTER = 2.0  # seconds that are measured before lists are tuned
_LARGEST_CHUNK = 2**30
_REPAIRABLE = Status.OVERFLOW | Status.BOX


@partial(jax.jit, static_argnames=("until",))
def _advance(
    dynamics: Dynamics, state: State, env: PyTree, ahead: PyTree, steps: jax.Array, until: Any
) -> tuple[State, PyTree, compiled.Progress]:
    return compiled.advance(tree.unbox(dynamics), state, env, steps, compiled.start(ahead), until)


@partial(jax.jit, static_argnames=("records", "until"), donate_argnames=("buffers",))
def _blocks(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    ahead: PyTree,
    span: compiled.Span,
    buffers: tuple[PyTree, ...],
    sums: PyTree,
    records: tuple[Any, ...],
    reduce: PyTree,
    until: Any,
) -> tuple[State, PyTree, compiled.Progress, tuple[tuple[PyTree, ...], PyTree]]:
    kept, dynamics = (buffers, sums), tree.unbox(dynamics)
    return compiled.blocks(dynamics, state, env, compiled.start(ahead), span, kept, records, reduce, until)


class Host:
    """Drive the compiled loops from the host: read, repair, go on."""

    def __init__(
        self,
        dynamics: Dynamics,
        state: State,
        env: PyTree,
        memory: Recorder | None,
        reduce: PyTree,
        every: int,
        until: Any,
        outputs: Outputs,
    ) -> None:
        self.dynamics, self.state, self.env, self.ahead = dynamics, state, tree.traceable(env), state.boxed
        self.memory, self.reduce, self.every, self.until = memory, reduce, every, until
        self.outputs, self.origin = outputs, int(state.step)
        self.recorders = [*([] if memory is None else [memory]), *outputs.recorders]
        self.sums = stream.init(reduce, state, env)
        self.taken, self.rebuilds, self.allocations, self.finished = 0, 0, 0, False
        self.seconds, self.timed_steps, self.pace = 0.0, 0, 0.0
        self.chunks: list[PyTree] = []
        self.repaired, self.untuned, self.cold = -1, True, True
        for recorder in self.recorders:
            recorder.begin(state, self.env, _BUFFER_BYTES // len(self.recorders))

    def begin(self) -> None:
        """Refuse a state in trouble, unless all that happened was `init` with an environment of other positions."""
        self.outputs.begin(self.origin)
        trouble = Status(int(self.state.status))
        if trouble & (Status.STALE | Status.OVERFLOW) and int(self.state.step) == 0:
            self.env = environment.allocate(self.env, self.state.position)
            self.state = self.dynamics.evaluate(self.state.replace(status=jnp.uint32(0)), self.env)
            trouble = Status(int(self.state.status))
        if trouble:
            raise self.error(trouble)

    def advance(self, todo: int, steps: int) -> int:
        """Take up to `todo` of the steps that are left until `steps`; return how many it took."""
        before, began = self.taken, time.perf_counter()
        progress = self._chunk(todo)
        trouble = Status(int(progress.trouble))
        self.taken += int(progress.steps)
        self.rebuilds += int(progress.rebuilds)
        self.finished = bool(progress.finished)
        self._deliver(before)
        self._time(time.perf_counter() - began, self.taken - before)
        if trouble:
            self._repair(trouble)
        self._tune(steps - self.taken)
        return self.taken - before

    def end(self) -> None:
        """Leave everything as the next run needs it."""
        # a list may have overflowed when it was rebuilt after the last step: nothing has used it yet
        if Status(int(environment.status(self.env))) & _REPAIRABLE:
            self._grow()
        self.flush()

    def steps_at_once(self, chunk: int | None) -> int:
        """Return how many steps make a chunk: those asked for, or what takes about half a second."""
        if chunk is not None:
            return min(chunk, _LARGEST_CHUNK)
        return max(int(self.pace * _CHUNK_SECONDS), 1) if self.pace else 50

    def _time(self, seconds: float, steps: int) -> None:
        # a chunk that compiles, the first one or one after a list changed its shape, tells nothing about the pace
        if not self.cold:
            self.seconds += seconds
            self.timed_steps += steps
        bound = not self.pace  # the first chunk compiles, and gives a lower bound from which the pace may rise quickly
        if steps and (bound or not self.cold):
            now = steps / seconds
            self.pace = min(now, 8 * self.pace) if self.pace else now
        self.cold = False

    def _chunk(self, todo: int) -> compiled.Progress:
        """Run one chunk on the device."""
        if not self.recorders and self.reduce is None:
            out = _advance(tree.traceable(self.dynamics), self.state, self.env, self.ahead, jnp.int32(todo), self.until)
            self.state, self.env, progress = out
        else:
            todo = min([todo, *(recorder.capacity * recorder.every for recorder in self.recorders)])
            every = np.array([*(recorder.every for recorder in self.recorders), self.every], np.int32)
            every = every if self.reduce is not None else every[:-1]
            self.state, self.env, progress, (buffers, self.sums) = _blocks(
                tree.traceable(self.dynamics),
                self.state,
                self.env,
                self.ahead,
                (np.int32(todo), every, (self.taken % every).astype(np.int32)),
                tuple(recorder.buffer for recorder in self.recorders),
                self.sums,
                tuple(recorder.record for recorder in self.recorders),
                self.reduce,
                self.until,
            )
            for recorder, buffer in zip(self.recorders, buffers, strict=True):
                recorder.buffer = buffer
        self.ahead = progress.ahead
        return jax.device_get(progress.replace(ahead=None))

    def _deliver(self, before: int) -> None:
        """Keep what was recorded since the step `before`, and hand it to the writers."""
        if self.memory is not None:
            self.chunks.append(self.memory.take(before, self.taken)[1])
        for k, recorder in enumerate(self.outputs.recorders):
            steps, records = recorder.take(before, self.taken)
            if len(steps):
                with self.saving(f"outputs[{k}]"):
                    self.outputs.write(k, self.origin + steps, tree.unbox(records))

    @contextlib.contextmanager
    def saving(self, what: str) -> Iterator[None]:
        """Turn what goes wrong while something is written into an error that has all that the run has come to."""
        try:
            yield
        except Exception as error:
            reduced = stream.result(self.reduce, self.sums)
            env = tree.unbox(self.env)
            raise OutputError(what, error, self.state, env, self.records(), self.taken, reduced) from error

    def flush(self) -> None:
        """Return once every output is on the disk."""
        for k in range(len(self.outputs.outputs)):
            with self.saving(f"outputs[{k}]"):
                self.outputs.flush(k)

    def _repair(self, trouble: Status) -> None:
        # What came of an incomplete list says nothing, so a repair comes first; what was repaired at this very step and
        # is in trouble again cannot be repaired.
        if not trouble & _REPAIRABLE or self.repaired == self.taken or not self._grow():
            raise self.error(trouble)
        # Every accepted force stood on valid ground, so there is nothing to undo: only the refused step is taken again.
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

    def _grow(self) -> bool:
        """Allocate the environment anew; return whether there is one that fits."""
        # for the position that it had been rebuilt for: the list is then what a larger one would have been in every bit
        try:
            self.env = environment.allocate(self.env, tree.unbox(self.ahead))
        except ValueError:  # the box became too small for any list
            return False
        self.allocations += 1
        self._reshaped()
        return True

    def _reshaped(self) -> None:
        self.cold = True
        for recorder in self.recorders:
            recorder.check(self.state, self.env)

    def records(self) -> PyTree:
        """Return what was recorded so far, stacked."""
        if self.memory is None:
            return None
        empty = jax.tree.map(lambda x: np.zeros((0, *x.shape), x.dtype), self.memory.shapes)
        return tree.unbox(jax.tree.map(lambda *parts: np.concatenate(parts), empty, *self.chunks))

    def error(self, trouble: Status) -> SimulationError:
        """Return the error that ends the run, with everything that is good attached."""
        reduced = stream.result(self.reduce, self.sums)
        return SimulationError(trouble, self.state, tree.unbox(self.env), self.records(), self.taken, reduced)


__all__ = ["Host"]
