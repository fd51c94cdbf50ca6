"""Pairs in float32 with positions and sums in float64, beside all in float32 and all in float64, in turn."""

import dataclasses
import statistics

import jax.numpy as jnp

from benchmarks import systems
from benchmarks.cases.dynamics import summary
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work


def precision(work: Work) -> Result:
    """Measure the melt in three precisions; ratios are of times, to the mixed one."""
    programs.set_precision("float64")
    system = systems.make(work)
    double = dataclasses.replace(work, dtype="float64")
    mixed = programs.Melt(double, system, precision=jnp.float32)
    others = {
        "float32": programs.Melt(dataclasses.replace(work, dtype="float32"), system),
        "float64": programs.Melt(double, system),
    }
    for program in (mixed, *others.values()):
        program.warm(work)
    rounds = [
        (mixed.run(work.steps), {name: program.run(work.steps) for name, program in others.items()})
        for _ in range(work.rounds)
    ]
    details = {
        f"ratio_to_{name}": statistics.median(mine.seconds / laps[name].seconds for mine, laps in rounds)
        for name in others
    }
    laps = [mine for mine, _ in rounds]
    return summary(double, mixed.atoms, laps, drift=None, details=details | {"setting": "pairs in float32"})
