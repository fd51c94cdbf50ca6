"""What drives the compiled loops of a run from the host: read, repair, deliver, go on."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _member as member
from treedyn import environment, tree
from treedyn._joint import is_joint
from treedyn._member import is_per_member
from treedyn._state import State
from treedyn._status import SimulationError, Status, combined
from treedyn.driver import _advance as compiled
from treedyn.driver import _blocks as in_blocks
from treedyn.driver import _narrow as narrow
from treedyn.driver import _reduction as reduction
from treedyn.driver._output import OutputError, Outputs
from treedyn.driver._recorder import Recorder
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.environment._parts import Pace
from treedyn.store._checkpoint import Moment
from treedyn.tree import PyTree

_MOMENT = ("state", "env", "ahead", "sums", "failed", "finished", "awake")
_BUFFER_BYTES = 2**26
_CHUNK_SECONDS = 0.5
_TUNE_AFTER = 2.0  # seconds that are measured before lists are tuned
_LARGEST_CHUNK = 2**30


@partial(jax.jit, static_argnames=("until",))
def _advance(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    begun: tuple[Any, ...],
    steps: jax.Array,
    until: Any,
    members: jax.Array | None,
) -> tuple[State, PyTree, compiled.Progress]:
    return narrow.advance(tree.unbox(dynamics), state, env, steps, compiled.start(*begun), until, members)


@partial(jax.jit, static_argnames=("records", "until"), donate_argnames=("buffers",))
def _blocks(
    dynamics: Dynamics,
    state: State,
    env: PyTree,
    begun: tuple[Any, ...],
    span: in_blocks.Span,
    buffers: tuple[PyTree, ...],
    sums: PyTree,
    records: tuple[Any, ...],
    reduce: PyTree,
    until: Any,
    members: jax.Array | None,
) -> tuple[State, PyTree, compiled.Progress, tuple[tuple[PyTree, ...], PyTree]]:
    kept, dynamics = (buffers, sums), tree.unbox(dynamics)
    return in_blocks.blocks(dynamics, state, env, compiled.start(*begun), span, kept, records, reduce, until, members)


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
        self.dynamics, self.state, self.env, self.ahead = (
            dynamics,
            state,
            tree.traceable(env),
            (state.boxed, state.time),
        )
        self.memory, self.reduce, self.every, self.until = memory, reduce, every, until
        self.outputs, self.origin = outputs, int(np.max(state.step))
        self.recorders = [*([] if memory is None else [memory]), *outputs.recorders]
        # what all members share and moves on its own sees all of them, and so does a joint `until`
        shared = not all(map(is_per_member, environment.advancing(self.env)))
        self.narrows = isinstance(dynamics, Ensemble) and not shared and not is_joint(until)
        self.sums = reduction.init(dynamics, reduce, state, self.env)
        self.taken, self.rebuilds, self.allocations = 0, 0, 0
        # of every member of an ensemble
        self.failed, self.finished = np.zeros(state.status.shape, np.uint32), np.zeros(state.status.shape, bool)
        self.awake = np.ones(state.status.shape, bool)
        self.seconds, self.timed_steps, self.pace = 0.0, 0, 0.0
        self.chunks: list[PyTree] = []
        self.repaired, self.untuned, self.cold = -1, True, True
        self.reason = ""  # why a list could not be allocated
        for recorder in self.recorders:
            recorder.begin(dynamics, state, self.env, _BUFFER_BYTES // len(self.recorders))

    @property
    def goes_on(self) -> bool:
        """Tell whether there is still something that moves."""
        return bool(np.any((self.failed == 0) & ~self.finished))

    def begin(self) -> None:
        """Refuse a state in trouble, unless all that happened was `init` with an environment of other positions."""
        self.outputs.begin(self.origin)
        if combined(self.state.status) & (Status.STALE | Status.OVERFLOW) and self.origin == 0:
            self.env = environment.allocate(self.env, self.state.position, self.state.time)
            self.state = self.dynamics.evaluate(self.state.replace(status=jnp.zeros_like(self.state.status)), self.env)
        self.failed = np.array(self.state.status)
        self.check()

    def check(self) -> None:
        """Raise the error that ends the run where nothing is left that could go on; members that fail wait for it."""
        if np.any(self.failed) and not self.goes_on:
            raise self.error()

    def advance(self, todo: int, steps: int) -> int:
        """Take up to `todo` of the steps that are left until `steps`; return how many it took."""
        before, began = self.taken, time.perf_counter()
        progress = self._chunk(todo)
        self.taken += int(progress.steps)
        self.rebuilds += int(progress.rebuilds)
        self._deliver(before)
        self._time(time.perf_counter() - began, self.taken - before)
        if np.any(progress.trouble):
            self._repair(np.asarray(progress.trouble))
        self.check()
        self._tune(steps - self.taken)
        return self.taken - before

    def end(self) -> None:
        """Leave everything as the next run needs it."""
        # a list may have overflowed when it was rebuilt after the last step: nothing has used it yet
        if combined(environment.status(self.env)) & compiled.REPAIRABLE:
            self._grow(np.zeros_like(self.failed))
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

    @property
    def moment(self) -> Moment:
        """Return all that the run has to remember to go on; setting it is going on from there."""
        return Moment(**{name: getattr(self, name) for name in _MOMENT})

    @moment.setter
    def moment(self, moment: Moment) -> None:
        for name in _MOMENT:
            setattr(self, name, getattr(moment, name))

    def _chunk(self, todo: int) -> compiled.Progress:
        """Run one chunk on the device, with those members that go on."""
        if self.narrows:
            todo = min(todo, narrow.until_next(self.taken))
            if narrow.is_due(self.taken):
                self.awake = narrow.awake((self.failed == 0) & ~self.finished)
        members = None if np.all(self.awake) else jnp.asarray(np.flatnonzero(self.awake))
        begun = (self.ahead, self.failed, self.finished)
        boxed = tree.traceable(self.dynamics)
        if not self.recorders and self.reduce is None:
            self.state, self.env, progress = _advance(
                boxed, self.state, self.env, begun, jnp.int32(todo), self.until, members
            )
        else:
            todo = min([todo, *(recorder.capacity * recorder.every for recorder in self.recorders)])
            every = np.array([*(recorder.every for recorder in self.recorders), self.every], np.int32)
            every = every if self.reduce is not None else every[:-1]
            self.state, self.env, progress, (buffers, self.sums) = _blocks(
                boxed,
                self.state,
                self.env,
                begun,
                (np.int32(todo), every, (self.taken % every).astype(np.int32)),
                tuple(recorder.buffer for recorder in self.recorders),
                self.sums,
                tuple(recorder.record for recorder in self.recorders),
                self.reduce,
                self.until,
                members,
            )
            for recorder, buffer in zip(self.recorders, buffers, strict=True):
                recorder.buffer = buffer
        self.ahead, progress = progress.ahead, jax.device_get(progress.replace(ahead=None))
        self.failed, self.finished = progress.failed, progress.finished
        return progress

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
            env = tree.unbox(self.env)
            raise OutputError(what, error, self.state, env, self.records(), self.taken, self.reduced()) from error

    def flush(self) -> None:
        """Return once every output is on the disk."""
        for k in range(len(self.outputs.outputs)):
            with self.saving(f"outputs[{k}]"):
                self.outputs.flush(k)

    def _repair(self, trouble: np.ndarray) -> None:
        # What came of an incomplete list says nothing, so a repair comes first; what was repaired at this very step and
        # is in trouble again cannot be repaired.
        again = self.repaired == self.taken
        if not (self._enlarge() if again else self._grow(trouble)):
            self.failed, self.repaired = self.failed | trouble, -1
        else:
            # Every accepted force stood on a valid list, so nothing has to be undone: the refused step is taken again.
            self.repaired = self.taken

    def _tune(self, left: int) -> None:
        if self.untuned and self.seconds > _TUNE_AFTER:
            self.untuned = False
            pace = Pace(self.seconds / self.timed_steps, self.taken / max(self.rebuilds, 1), left)
            env = environment.tuned(self.env, self.state.position, pace)
            changed = any(a is not b for a, b in zip(jax.tree.leaves(env), jax.tree.leaves(self.env), strict=True))
            self.env = env
            if changed:
                self._reshaped()

    def _grow(self, trouble: np.ndarray) -> bool:
        """Reallocate the environment; return whether this repaired what was wrong."""
        try:
            env = self._allocated()
        except ValueError as error:  # the box became too small for any list
            self.reason = str(error)
            lost = [k for k in np.flatnonzero(trouble) if not self._fits(int(k))] if trouble.ndim else []
            if not lost:
                return False
            self.failed = np.where(np.isin(np.arange(len(trouble)), lost), self.failed | trouble, self.failed)
            if not self.goes_on:
                return True
            env = self._allocated()
        self.env = env
        self.allocations += 1
        self._reshaped()
        return True

    def _allocated(self) -> PyTree:
        """Return the environment with larger lists. Failed members get a copy of another member's list."""
        # for the position that it had been rebuilt for: the list is then what a larger one would have been in every bit
        position, when = self.ahead
        stand_ins = None
        if self.failed.ndim:
            stand_ins = np.arange(len(self.failed))
            stand_ins[self.failed != 0] = np.argmin(self.failed != 0)
        return environment.allocate(self.env, tree.unbox(position), when, stand_ins)

    def _fits(self, k: int) -> bool:
        """Tell whether lists can be allocated for a member."""
        position, when = member.take(self.ahead, jnp.asarray(k))
        try:
            environment.allocate(environment.member(self.env, k), tree.unbox(position), when)
        except ValueError as error:
            self.reason = str(error)
            return False
        return True

    def _enlarge(self) -> bool:
        """Make room for positions that a step only tried; return whether there is more than before."""
        if not self.dynamics.jumps:
            return False
        before, self.env = self.env, environment.enlarged(self.env)
        more = sum(map(jnp.size, jax.tree.leaves(self.env))) > sum(map(jnp.size, jax.tree.leaves(before)))
        if more:
            self.allocations += 1
            self._reshaped()
        return more

    def _reshaped(self) -> None:
        self.cold = True
        for recorder in self.recorders:
            recorder.check(self.dynamics, self.state, self.env)

    def records(self) -> PyTree:
        """Return what was recorded so far, stacked."""
        if self.memory is None:
            return None
        empty = jax.tree.map(lambda x: np.zeros((0, *x.shape), x.dtype), self.memory.shapes)
        return tree.unbox(jax.tree.map(lambda *parts: np.concatenate(parts), empty, *self.chunks))

    def reduced(self) -> PyTree:
        """Return the results of the reducers so far."""
        return reduction.result(self.dynamics, self.reduce, self.sums)

    def error(self) -> SimulationError:
        """Return the error that ends the run, with everything that is good attached."""
        failed = np.flatnonzero(self.failed).tolist() if self.failed.ndim else []
        members = {k: Status(int(self.failed[k])) for k in failed}
        error = SimulationError(
            combined(self.failed), self.state, tree.unbox(self.env), self.records(), self.taken, self.reduced(), members
        )
        if self.reason:
            error.add_note(f"A neighbor list could not be allocated: {self.reason}")
        return error


__all__ = ["Host"]
