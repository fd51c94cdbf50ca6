"""`run`: compiled chunks on the device, records and repairs on the host."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from treedyn import tree
from treedyn._check import choice, flag, warn
from treedyn._state import State
from treedyn._status import SimulationError
from treedyn.driver._check import check, check_checkpoint, check_host
from treedyn.driver._outputs import Output, OutputError, Outputs, check_outputs
from treedyn.driver._progress import Bar, no_bar, progress_bar
from treedyn.driver._records import Named, Recorder
from treedyn.driver._resume import Checkpoints
from treedyn.driver._session import Session
from treedyn.driver._stop import Stop
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.minimize._length import Descent
from treedyn.store._checkpoint import Folder
from treedyn.stream._reducer import check_reducers
from treedyn.tree import PyTree


@dataclasses.dataclass(frozen=True)
class Run:
    """The result of `run`.

    Attributes:
        state: the last state.
        env: the environment of the last state.
        records: the records, stacked along the first axis, `[records, ...]` or `[records, members, ...]`; `None`
            without `record`.
        reduced: the results of the reducers, in a tree like `reduce`.
        steps: number of steps taken; an ensemble has those of every member in `state.step`.
        finished: whether `until` held; `[members]` for an ensemble.
        rebuilds: how often the environment was rebuilt.
        allocations: how often the environment was allocated again, for more room or another box.
        failure: the error that ended the run, or members of it, if `on_failure="return"`; else `None`.
        seconds: wall time, except for the chunks that compile: the first one, and one after each allocation.
        steps_per_second: speed in that time; NaN if every chunk compiled.
    """

    state: State
    env: PyTree
    records: PyTree = None
    reduced: PyTree = None
    steps: int = 0
    finished: bool | np.ndarray = False
    rebuilds: int = 0
    allocations: int = 0
    failure: SimulationError | OutputError | None = None
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
    outputs: Sequence[Output] = (),
    until: Callable[..., Any] | None = None,
    progress: bool | str = False,
    chunk: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    keep: int = 3,
    resume: Literal["auto", "never", "must"] = "auto",
    tag: str = "",
    check_energy: bool = True,
    on_failure: Literal["raise", "return"] = "raise",
) -> Run:
    """Take many steps in compiled chunks, each step with valid neighbor lists.

    A step whose forces used an invalid environment is taken again, from the state before it, with a rebuilt one. If a
    list runs out of room, a larger one is allocated, and the run continues from the last good state. The trajectory is
    the one that a large enough list would have given. The device is read once per chunk.

    For an ensemble, `record`, `reduce` and `until` are evaluated for every member, unless they are marked by
    `td.jointly`. A member that fails, or for which `until` holds, stands still; the others go on.

    Args:
        dynamics: any dynamics, minimizer or ensemble.
        state: the result of `dynamics.init`, or the state of an earlier run.
        env: environment of the target: neighbor lists, data, parts that advance by themselves.
        steps: number of steps, at least 0.
        every: steps between two records; the first record is made after `every` steps.
        record: `record(state)` or `record(state, env)`, returns any PyTree.
        reduce: a reducer of `treedyn.stream`, or any tree of them. It sees a state whenever one is recorded: averages,
            histograms and correlations in memory that does not grow with the run.
        outputs: what to write during the run, each at its own rate: `td.Output(writer, record, every)`. Frames are
            written in the background; their steps are those of the state.
        until: `until(state)` or `until(state, env)`, returns whether to stop; evaluated after every step.
        progress: show a bar with steps/s and the time left (needs `tqdm`); a string is its title.
        chunk: steps between two reads of the device; by default about half a second's worth. Results do not depend
            on it.
        checkpoint: a folder for checkpoints. The same call resumes the run from there and ends in the same bits as a
            run that was never stopped. Ctrl-C and SIGTERM finish the chunk and write a checkpoint.
        checkpoint_every: steps between two checkpoints; by default about a minute's worth.
        keep: number of checkpoints to keep.
        resume: "auto" resumes if the folder holds this run; "must" refuses to begin a new run; "never" begins a new
            run, which replaces the old one.
        tag: a name for everything that a checkpoint cannot compare: the code of the target, `record` and `until`.
            A folder with another tag is refused.
        check_energy: whether to refuse a step in which momenta gain far more energy than forces and heat baths can
            give, as where particles overlap or `dt` is too long; and one in which everything under a thermostat that
            only rescales momenta is at rest.
        on_failure: "raise" the error of a run that cannot go on, or "return" all good results with the error in
            `failure`. If members of an ensemble fail, the others take all their steps first.

    Returns:
        A `Run` with `state`, `env`, `records`, `reduced`, and counts of steps, rebuilds and allocations.

    Raises:
        ValueError: an argument does not fit.
        SimulationError: a number is not finite, energy came from nowhere, a particle moved too far in one step, or the
            box became too small. The last good state, environment and records are attributes of the error.
        OutputError: an output or a checkpoint could not be written; with the same attributes.
        DamagedFile: all checkpoints in the folder are damaged.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(3))
        >>> out = td.run(dynamics, state, steps=100, every=10, record=lambda state: state.position)
        >>> out.records.shape
        (10, 3)
    """
    check(dynamics, state, env, steps, every, record)
    check_host(dynamics, state, env, steps, until, chunk, progress)
    check_checkpoint(checkpoint, checkpoint_every, keep, resume, tag)
    written = Outputs(check_outputs(outputs))
    choice("on_failure", on_failure, ("raise", "return"))
    check_reducers("reduce", reduce)
    session = Session(
        dynamics,
        state,
        env,
        memory=None if record is None else Recorder("record", record, every),
        reduce=reduce,
        every=every,
        until=None if until is None else Named(until),
        outputs=written,
        watch=flag("check_energy", check_energy),
    )
    failure = None
    with contextlib.ExitStack() as stack:
        saved = None
        if checkpoint is not None:
            folder, stop = stack.enter_context(Folder(checkpoint, keep)), stack.enter_context(Stop())
            saved = Checkpoints(session, folder, checkpoint_every, tag, stop)
        stack.enter_context(written)
        bar = stack.enter_context(progress_bar(steps, progress) if progress else no_bar())
        try:
            session.begin() if saved is None else saved.begin(resume, steps)
            bar.update(session.taken)
            _go(session, steps, chunk, bar, saved)
        except (SimulationError, OutputError) as error:
            failure = error
            if isinstance(error, SimulationError):
                _flush(session, error)
            if on_failure == "raise":
                raise
    _warn(dynamics, session, until)
    return _result(session, failure)


def _go(session: Session, steps: int, chunk: int | None, bar: Bar, saved: Checkpoints | None) -> None:
    """Take `steps` steps, chunk by chunk."""
    while session.taken < steps and session.goes_on:
        todo = min(steps - session.taken, session.steps_at_once(chunk), 2**30 if saved is None else saved.left())
        bar.update(session.advance(todo, steps))
        if saved is not None:
            saved.after_chunk()
    session.end()
    if saved is not None:
        saved.end()
    if np.any(session.now.failed):
        raise session.error()


def _warn(dynamics: Dynamics, session: Session, until: Callable[..., Any] | None) -> None:
    """Warn if a minimization ended before it converged."""
    unconverged = int(np.sum(~session.now.finished & (session.now.failed == 0)))
    if until is None or not dynamics.converges or not unconverged:
        return
    info = session.now.state.info
    stuck = isinstance(info, Descent) and not np.all(np.asarray(info.found) | session.now.finished)
    why = "; its last line search found nothing lower" if stuck else ""
    who = f" for {unconverged} of {dynamics.members} members" if isinstance(dynamics, Ensemble) else ""
    warn(
        f"until: it was not met{who} after {session.taken} steps, so the minimization has not converged{why}. Take "
        "more steps from out.state, or accept a larger force"
    )


def _flush(session: Session, failure: SimulationError) -> None:
    """Write out all frames of a run that failed; a further error is only a note to the first."""
    try:
        session.flush()
    except OutputError as error:
        failure.add_note(str(error))


def _result(session: Session, failure: SimulationError | OutputError | None) -> Run:
    now = session.now
    finished = np.asarray(now.finished)
    return Run(
        state=now.state,
        env=tree.unbox(now.env),
        records=session.records(),
        reduced=session.reduced(),
        steps=session.taken,
        finished=finished if finished.ndim else bool(finished),
        rebuilds=int(now.rebuilds),
        allocations=session.allocations,
        failure=failure,
        seconds=session.seconds,
        steps_per_second=session.timed_steps / session.seconds if session.seconds else float("nan"),
    )
