"""`run`: compiled chunks on the device, records and repairs on the host."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from treedyn import tree
from treedyn._check import choice, flag
from treedyn._state import State
from treedyn._status import SimulationError
from treedyn.driver._check import check, check_checkpoint, check_host
from treedyn.driver._host import Host
from treedyn.driver._keeper import Keeper
from treedyn.driver._output import Output, OutputError, Outputs, check_outputs
from treedyn.driver._progress import Bar, no_bar, progress_bar
from treedyn.driver._recorder import Named, Recorder
from treedyn.driver._stop import Stop
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.minimize._length import Descent
from treedyn.store._checkpoint import Folder
from treedyn.stream._reducer import check_reducers
from treedyn.tree import PyTree


@dataclasses.dataclass(frozen=True)
class Run:
    """Hold what `run` returns.

    Attributes:
        state: the last state.
        env: the environment that belongs to it.
        records: what was recorded, stacked along the first axis, `[records, ...]` or `[records, members, ...]`; `None`
            without `record`.
        reduced: the results of the reducers, in a tree like `reduce`.
        steps: steps taken; those of every member of an ensemble are in `state.step`.
        finished: whether `until` held; of every member of an ensemble, `[members]`.
        rebuilds: how often the environment was rebuilt.
        allocations: how often it had to be allocated anew, for more room or for another box.
        failure: why the run ended before its time, or which members did, where `on_failure="return"`; else `None`.
        seconds: wall time without the chunks that compile: the first one, and one after each allocation.
        steps_per_second: speed without those; NaN where there was no other.
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
    resume: str = "auto",
    on_failure: str = "raise",
) -> Run:
    """Take many steps in compiled chunks, each of them with valid neighbor lists.

    A step whose forces used an environment that no longer held is taken again, from the state before it, with a
    rebuilt one. Where a list runs out of room, a larger one is allocated and the run goes on from the last good state:
    the trajectory is the one that a large enough list would have given. The device is read once per chunk.

    Of an ensemble, `record`, `reduce` and `until` are asked for every member, unless they are marked by `td.jointly`.
    A member that fails, or for which `until` holds, stands still; the others go on.

    Args:
        dynamics: any dynamics, minimizer or ensemble.
        state: what `dynamics.init` returned, or the state of an earlier run.
        env: environment of the target: neighbor lists, data, what moves on its own.
        steps: how many steps to take, at least 0.
        every: steps between two records; the first record is made after `every` steps.
        record: `record(state)` or `record(state, env)`, returns any PyTree.
        reduce: a reducer of `treedyn.stream`, or any tree of them, shown a state whenever one is recorded: averages,
            histograms, correlations, in memory that does not grow with the run.
        outputs: what to write while the run goes on, each at a rate of its own: `td.Output(writer, record, every)`.
            Frames are written in the background; their steps are those of the state.
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
            Where members of an ensemble failed, the others take all their steps first.

    Returns:
        A `Run` with `state`, `env`, `records`, `reduced`, and counts of steps, rebuilds and allocations.

    Raises:
        ValueError: an argument does not fit.
        SimulationError: a number is not finite, energy came from nowhere, a particle moved too far in one step, or the
            box became too small. The last good state, environment and records are attributes of the error.
        OutputError: an output or a checkpoint could not be written; with the same attributes.
        DamagedFile: the folder has checkpoints, but all of them are damaged.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(3))
        >>> out = td.run(dynamics, state, steps=100, every=10, record=lambda state: state.position)
        >>> out.records.shape
        (10, 3)
    """
    check(dynamics, state, env, steps, every, record)
    check_host(dynamics, state, env, steps, until, chunk)
    check_checkpoint(checkpoint, checkpoint_every, keep, resume)
    written = Outputs(check_outputs(outputs))
    choice("on_failure", on_failure, ("raise", "return"))
    if not isinstance(progress, str):
        flag("progress", progress)
    check_reducers("reduce", reduce)
    memory = None if record is None else Recorder("record", record, every)
    host = Host(dynamics, state, env, memory, reduce, every, until if until is None else Named(until), written)
    failure = None
    with contextlib.ExitStack() as stack:
        keeper = None
        if checkpoint is not None:
            folder, stop = stack.enter_context(Folder(checkpoint, keep)), stack.enter_context(Stop())
            keeper = Keeper(host, folder, checkpoint_every, stop)
        stack.enter_context(written)
        bar = stack.enter_context(progress_bar(steps, progress) if progress else no_bar())
        try:
            host.begin() if keeper is None else keeper.begin(resume, steps)
            bar.update(host.taken)
            _go(host, steps, chunk, bar, keeper)
        except (SimulationError, OutputError) as error:
            failure = error
            if isinstance(error, SimulationError):
                _flush(host, error)
            if on_failure == "raise":
                raise
    _warn(dynamics, host, until)
    return _result(host, failure)


def _go(host: Host, steps: int, chunk: int | None, bar: Bar, keeper: Keeper | None) -> None:
    """Take `steps` steps, chunk by chunk."""
    while host.taken < steps and host.goes_on:
        todo = min(steps - host.taken, host.steps_at_once(chunk), 2**30 if keeper is None else keeper.left())
        bar.update(host.advance(todo, steps))
        if keeper is not None:
            keeper.after_chunk()
    host.end()
    if keeper is not None:
        keeper.end()
    if np.any(host.failed):
        raise host.error()


def _warn(dynamics: Dynamics, host: Host, until: Any) -> None:
    """Say that a minimization ended before it converged."""
    members = dynamics.members if isinstance(dynamics, Ensemble) else None
    open_ = int(np.sum(~host.finished & (host.failed == 0)))
    if until is None or not dynamics.converges or not open_:
        return
    info = host.state.info
    stuck = isinstance(info, Descent) and not np.all(np.asarray(info.found) | host.finished)
    why = "; its last line search found nothing lower" if stuck else ""
    who = "" if members is None else f" for {open_} of {members} members"
    warnings.warn(
        f"until: it was not met{who} after {host.taken} steps, so the minimization has not converged{why}; take more "
        "steps from out.state, or ask for a larger force",
        stacklevel=3,
    )


def _flush(host: Host, failure: SimulationError) -> None:
    """Put on the disk what was written before a run failed; what goes wrong then is not what has to be told first."""
    try:
        host.flush()
    except OutputError as error:
        failure.add_note(str(error))


def _result(host: Host, failure: SimulationError | OutputError | None) -> Run:
    return Run(
        state=host.state,
        env=tree.unbox(host.env),
        records=host.records(),
        reduced=host.reduced(),
        steps=host.taken,
        finished=host.finished if host.finished.ndim else bool(host.finished),
        rebuilds=host.rebuilds,
        allocations=host.allocations,
        failure=failure,
        seconds=host.seconds,
        steps_per_second=host.timed_steps / host.seconds if host.seconds else float("nan"),
    )
