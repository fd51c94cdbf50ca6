"""Seconds and mebibytes."""

import dataclasses
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


@dataclasses.dataclass(frozen=True)
class Lap:
    """Hold one round of one program.

    Attributes:
        seconds: wall time, without any compilation.
        steps: steps taken, or force evaluations of a relaxation.
        rebuilds: how often the neighbor list was built; `None` where the program does not say.
        energy: potential energy per atom at the end; `None` where it was not asked for.
    """

    seconds: float
    steps: int
    rebuilds: int | None = None
    energy: float | None = None


def per_step(laps: Sequence[Lap]) -> float:
    """Return the median of seconds per step."""
    return statistics.median(lap.seconds / lap.steps for lap in laps)


def medians(functions: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Return the median of seconds of every function, called in turn so that all see the same minutes.

    The first call of each, which may compile, does not count. Functions have to wait for their results themselves.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(rounds):
        for name, function in functions.items():
            began = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def memory_now() -> float | None:
    """Return the resident memory of this process, in MiB; `None` where the system does not say."""
    return _resident("VmRSS") if _STATUS.exists() else None


def peak_memory() -> float:
    """Return the largest resident memory that this process ever had, in MiB."""
    if _STATUS.exists():  # getrusage would remember what the process that started this one had
        return _resident("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _resident(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 2**10
