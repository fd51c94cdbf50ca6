"""A pair function as a user would write it, beside the built-in one, in turn."""

from typing import Any

from benchmarks import systems
from benchmarks.cases.dynamics import summary
from benchmarks.measure import per_step
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work


def lennard_jones(r: Any) -> Any:
    """Return the energy of one pair."""
    return 4 * (r**-12 - r**-6)


def custom_pair(work: Work) -> Result:
    """Measure the melt with the function above; the ratio is one of times, built-in over the user's."""
    programs.set_precision(work.dtype)
    system = systems.make(work)
    own, built_in = programs.Melt(work, system, lennard_jones), programs.Melt(work, system)
    if abs(own.energy - built_in.energy) > 1e-4:
        raise RuntimeError(f"energies per atom disagree: own {own.energy}, built-in {built_in.energy}")
    for program in (own, built_in):
        program.warm(work)
    pairs = [(own.run(work.steps), built_in.run(work.steps)) for _ in range(work.rounds)]
    laps, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    details = {
        "built_in_ms_per_step": per_step(others) * 1e3,
        "ratio_to_built_in": per_step(others) / per_step(laps),
        "setting": own.setting,
    }
    return summary(work, own.atoms, laps, drift=None, details=details)
