"""A run on the host: take a chunk, deliver its records, repair, go on."""

import contextlib
import time
from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import environment, tree
from treedyn._joint import is_joint
from treedyn._member import is_per_member
from treedyn._state import State
from treedyn._status import SimulationError, Status, combined
from treedyn.driver import _chunk as chunk
from treedyn.driver import _compact as compact
from treedyn.driver import _reduction as reduction
from treedyn.driver._loop import REPAIRABLE
from treedyn.driver._outputs import OutputError, Outputs
from treedyn.driver._records import Recorder
from treedyn.driver._repair import reallocated, size_of
from treedyn.driver._run_state import begin
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.environment._parts import Pace
from treedyn.tree import PyTree

_BUFFER_BYTES = 2**26
_CHUNK_SECONDS = 0.5
_TUNE_AFTER = 2.0  # seconds measured before lists are tuned
_LARGEST_CHUNK = 2**30
_ON_HOST = ("steps", "rebuilds", "trouble", "failed", "finished", "awake")


class Session:
    """The loop over chunks, with everything that lives on the host.

    Attributes:
        now: the run state; its counts and flags are NumPy arrays.
        chunks: the records of every chunk.
        allocations: how often the environment was allocated again.
        untuned: whether lists may still be tuned.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        state: State,
        env: PyTree,
        *,
        memory: Recorder | None,
        reduce: PyTree,
        every: int,
        until: Any,
        outputs: Outputs,
        watch: bool,
    ) -> None:
        self.dynamics, self.memory, self.reduce, self.every = dynamics, memory, reduce, every
        self.until, self.outputs, self.watch = until, outputs, watch
        self.origin = int(np.max(state.step))
        self.now = begin(state, env, reduction.init(dynamics, reduce, state, tree.traceable(env)))
        self.recorders = [*([] if memory is None else [memory]), *outputs.recorders]
        # an advancing part that all members share sees all of them, and so does a joint `until`
        shared = not all(map(is_per_member, environment.advancing(self.now.env)))
        self.compacts = isinstance(dynamics, Ensemble) and not shared and not is_joint(until)
        self.chunks: list[PyTree] = []
        self.allocations, self.untuned = 0, True
        self.seconds, self.timed_steps, self.pace, self.cold = 0.0, 0, 0.0, True
        self.repaired = -1  # the step count at the last repair
        self.reason = ""  # why a list could not be allocated
        self.read()
        for recorder in self.recorders:
            recorder.begin(dynamics, state, self.now.env, _BUFFER_BYTES // len(self.recorders))

    @property
    def taken(self) -> int:
        """Return the number of steps taken."""
        return int(self.now.steps)

    @property
    def goes_on(self) -> bool:
        """Tell whether a member is active."""
        return bool(np.any(self.now.active))

    def begin(self) -> None:
        """Refuse a state in trouble, unless `init` was only given an environment for other positions."""
        self.outputs.begin(self.origin)
        state, env = self.now.state, self.now.env
        if combined(state.status) & (Status.STALE | Status.OVERFLOW) and self.origin == 0:
            env = environment.allocate(env, state.position, state.time)
            state = self.dynamics.evaluate(state.replace(status=jnp.zeros_like(state.status)), env)
        self.now = self.now.replace(state=state, env=env, failed=np.array(state.status))
        self._check()

    def advance(self, todo: int, steps: int) -> int:
        """Take up to `todo` of the steps left until `steps`; return how many were taken."""
        before, began = self.taken, time.perf_counter()
        self._chunk(todo)
        self._deliver(before)
        self._time(time.perf_counter() - began, self.taken - before)
        if np.any(trouble := self.now.trouble):
            self._repair(np.asarray(trouble))
        self._check()
        self._tune(steps - self.taken)
        return self.taken - before

    def end(self) -> None:
        """Leave everything as the next run needs it."""
        # a list may have overflowed when it was rebuilt after the last step; no force has used it yet
        if combined(environment.status(self.now.env)) & REPAIRABLE:
            self._allocate(np.zeros_like(self.now.failed))
        self.flush()

    def steps_at_once(self, asked: int | None) -> int:
        """Return the number of steps in a chunk: as asked for, or about half a second's worth."""
        if asked is not None:
            return min(asked, _LARGEST_CHUNK)
        return max(int(self.pace * _CHUNK_SECONDS), 1) if self.pace else 50

    def _chunk(self, todo: int) -> None:
        """Run one chunk on the device with the members that go on."""
        now = self.now
        if self.compacts:
            todo = min(todo, compact.until_next(self.taken))
            if compact.is_due(self.taken):
                now = now.replace(awake=compact.awake(np.asarray(now.active)))
        members = None if np.all(now.awake) else jnp.asarray(np.flatnonzero(now.awake))
        todo = min([todo, *(recorder.capacity * recorder.every for recorder in self.recorders)])
        every = [recorder.every for recorder in self.recorders] + [self.every] * (self.reduce is not None)
        self.now, buffers = chunk.advance(
            tree.traceable(self.dynamics),
            now,
            tuple(recorder.buffer for recorder in self.recorders),
            np.int32(self.taken + todo),
            np.array(every, np.int32),
            self.reduce,
            members,
            records=tuple(recorder.record for recorder in self.recorders),
            until=self.until,
            watch=self.watch,
        )
        self.read()
        for recorder, buffer in zip(self.recorders, buffers, strict=True):
            recorder.buffer = buffer

    def read(self) -> None:
        """Read counts and flags from the device, all at once."""
        read = jax.device_get({name: getattr(self.now, name) for name in _ON_HOST})
        self.now = self.now.replace(**jax.tree.map(np.asarray, read))

    def _deliver(self, before: int) -> None:
        """Keep what was recorded since the step `before`, and pass it to the writers."""
        if self.memory is not None:
            self.chunks.append(self.memory.take(before, self.taken)[1])
        for k, recorder in enumerate(self.outputs.recorders):
            steps, records = recorder.take(before, self.taken)
            if len(steps):
                with self.saving(f"outputs[{k}]"):
                    self.outputs.write(k, self.origin + steps, tree.unbox(records))

    def _time(self, seconds: float, steps: int) -> None:
        # A chunk that compiles says nothing about the pace: the first one, or one after a list changed its shape.
        if not self.cold:
            self.seconds += seconds
            self.timed_steps += steps
        if steps and (not self.pace or not self.cold):
            now = steps / seconds
            # the pace of the first chunk, which compiles, is a lower bound from which it may rise quickly
            self.pace = min(now, 8 * self.pace) if self.pace else now
        self.cold = False

    def _repair(self, trouble: np.ndarray) -> None:
        # Every accepted force used a valid list, so nothing has to be undone: the refused step is taken again. What is
        # still in trouble after a repair at this very step cannot be repaired.
        again = self.repaired == self.taken
        if self._enlarge() if again else self._allocate(trouble):
            self.repaired = self.taken
        else:
            self.now, self.repaired = self.now.replace(failed=self.now.failed | trouble), -1

    def _allocate(self, trouble: np.ndarray) -> bool:
        """Allocate the environment again; return whether this repaired what was wrong."""
        before = self.now.env
        self.now, repaired, why = reallocated(self.now, trouble)
        self.reason = why or self.reason
        if self.now.env is not before:
            self._reshaped()
        return repaired

    def _enlarge(self) -> bool:
        """Make room for positions that a step only tried; return whether there is more than before."""
        larger = environment.enlarged(self.now.env) if self.dynamics.jumps else self.now.env
        if size_of(larger) <= size_of(self.now.env):
            return False
        self.now = self.now.replace(env=larger)
        self._reshaped()
        return True

    def _reshaped(self, grown: bool = True) -> None:
        """Note that lists have other shapes, and check that records still have theirs."""
        self.allocations += grown
        self.cold = True
        for recorder in self.recorders:
            recorder.check(self.dynamics, self.now.state, self.now.env)

    def _tune(self, left: int) -> None:
        """Tune the lists once, after enough time was measured."""
        if not self.untuned or self.seconds <= _TUNE_AFTER:
            return
        self.untuned = False
        pace = Pace(self.seconds / self.timed_steps, self.taken / max(int(self.now.rebuilds), 1), left)
        env = environment.tuned(self.now.env, self.now.state.position, pace)
        leaves = list(zip(jax.tree.leaves(env), jax.tree.leaves(self.now.env), strict=True))
        self.now = self.now.replace(env=env)
        if any(a is not b for a, b in leaves):
            self._reshaped(grown=False)

    def _check(self) -> None:
        """Raise the error that ends the run if no member is left; members that fail wait for the others."""
        if np.any(self.now.failed) and not self.goes_on:
            raise self.error()

    @contextlib.contextmanager
    def saving(self, what: str) -> Generator[None]:
        """Turn an error of writing into one that carries all results of the run so far."""
        try:
            yield
        except Exception as error:
            env, state = tree.unbox(self.now.env), self.now.state
            raise OutputError(what, error, state, env, self.records(), self.taken, self.reduced()) from error

    def flush(self) -> None:
        """Return once every output is on the disk."""
        for k in range(len(self.outputs.outputs)):
            with self.saving(f"outputs[{k}]"):
                self.outputs.flush(k)

    def records(self) -> PyTree:
        """Return the records so far, stacked."""
        if self.memory is None:
            return None
        empty = jax.tree.map(lambda x: np.zeros((0, *x.shape), x.dtype), self.memory.shapes)
        return tree.unbox(jax.tree.map(lambda *parts: np.concatenate(parts), empty, *self.chunks))

    def reduced(self) -> PyTree:
        """Return the results of the reducers so far."""
        return reduction.result(self.dynamics, self.reduce, self.now.sums)

    def error(self) -> SimulationError:
        """Return the error that ends the run, with all good results attached."""
        failed = np.asarray(self.now.failed)
        members = {k: Status(int(failed[k])) for k in np.flatnonzero(failed).tolist()} if failed.ndim else {}
        env, state = tree.unbox(self.now.env), self.now.state
        error = SimulationError(combined(failed), state, env, self.records(), self.taken, self.reduced(), members)
        if self.reason:
            error.add_note(f"A neighbor list could not be allocated: {self.reason}")
        return error
