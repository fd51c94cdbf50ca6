"""The melt and the batch: speed, rebuilds and energy drift of many steps."""

from collections.abc import Sequence

import numpy as np

from benchmarks import systems
from benchmarks.measure import Lap, peak_memory, per_step
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work


def melt(work: Work) -> Result:
    """Measure a melt, at constant energy or with Langevin noise."""
    programs.set_precision(work.dtype)
    return drive(work, programs.Melt(work, systems.make(work)))


def batch(work: Work) -> Result:
    """Measure many clusters at once."""
    programs.set_precision(work.dtype)
    return drive(work, programs.Batch(work, systems.make(work)))


def drive(work: Work, program: programs.Melt | programs.Batch) -> Result:
    """Warm a program up, run its rounds, and say what they were like."""
    program.warm(work)
    laps: list[Lap] = []
    conserved = [program.conserved()]
    for _ in range(work.rounds):
        laps.append(program.run(work.steps))
        conserved.append(program.conserved())
    kT, known = program.temperature(), [value for value in conserved if value is not None]
    details = {
        "energy_per_atom": program.energy,
        "temperature": kT,
        "truncation": work.truncation,
        "setting": program.setting,
    }
    return summary(work, program.atoms, laps, drift=_rise(known) / kT if known else None, details=details)


def summary(work: Work, atoms: int, laps: Sequence[Lap], *, drift: float | None, details: dict) -> Result:
    """Return the result of some rounds."""
    seconds = per_step(laps)
    rebuilds = [lap.rebuilds for lap in laps]
    return Result(
        case=work.case,
        atoms=atoms,
        steps=work.steps,
        dtype=work.dtype,
        matom_steps_per_s=atoms / seconds / 1e6,
        ms_per_step=seconds * 1e3,
        rebuilds=None if None in rebuilds else sum(n for n in rebuilds if n is not None),
        energy_drift_per_atom=drift,
        peak_memory_mib=peak_memory(),
        details={"rounds": work.rounds, **details},
    )


def _rise(values: list[float]) -> float:
    """Return how far the straight line through values at equal distances rises from the first to the last."""
    times = np.arange(len(values))
    return float(np.polyfit(times, values, 1)[0] * times[-1])
