"""What looking at a run costs: a bar, a table, a file and checkpoints, beside the bare run, in turn."""

import contextlib
import io
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import treedyn as td
from benchmarks import systems
from benchmarks.cases.dynamics import summary
from benchmarks.measure import Lap, memory_now, per_step
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work

_EVERY = 100  # steps between two rows of the table
_CHECKPOINT = 1000


def overhead(work: Work) -> Result:
    """Measure the melt as people run it; the ratio is one of times, to the bare run of the same steps."""
    programs.set_precision(work.dtype)
    program = programs.Melt(work, systems.make(work))
    program.warm(work)
    folder = Path(tempfile.mkdtemp())
    try:
        laps, ratios, memory = [], [], []
        for number in range(-1, work.rounds):
            bare, watched = _bare(program, work.steps), _watched(program, work.steps, folder / str(number))
            memory.append(memory_now())
            if number >= 0:  # the first one compiles
                laps.append(watched)
                ratios.append(watched.seconds / bare.seconds)
        bare_seconds = per_step(laps) / statistics.median(ratios)
    finally:
        shutil.rmtree(folder)
    details = {
        "ratio_to_bare_run": statistics.median(ratios),
        "mib_after_each_round": " ".join("-" if mib is None else f"{mib:.0f}" for mib in memory),
        "bare_ms_per_step": bare_seconds * 1e3,
        "setting": f"table and CSV every {_EVERY} steps, checkpoint every {_CHECKPOINT}, bar",
    }
    return summary(work, program.atoms, laps, drift=None, details=details)


def _bare(program: programs.Melt, steps: int) -> Lap:
    began = time.perf_counter()
    out = td.run(program.dynamics, program.state, program.env, steps=steps)
    return Lap(time.perf_counter() - began, steps, out.rebuilds)


def _watched(program: programs.Melt, steps: int, folder: Path) -> Lap:
    folder.mkdir()
    numbers = td.store.thermo(dt=systems.DT)
    began = time.perf_counter()
    with contextlib.redirect_stderr(io.StringIO()), td.store.CSVWriter(folder / "run.csv") as csv:
        out = td.run(
            program.dynamics,
            program.state,
            program.env,
            steps=steps,
            progress="melt",
            outputs=[
                td.Output(td.store.ThermoTable(io.StringIO()), numbers, _EVERY),
                td.Output(csv, numbers, _EVERY),
            ],
            checkpoint=folder / "checkpoints",
            checkpoint_every=_CHECKPOINT,
        )
    return Lap(time.perf_counter() - began, steps, out.rebuilds)
