"""A perturbed crystal and FIRE, until no force on an atom is larger than `systems.FORCE`."""

from benchmarks import systems
from benchmarks.cases.dynamics import summary
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work


def fire(work: Work) -> Result:
    """Measure whole relaxations; a step is one evaluation of the forces."""
    programs.set_precision(work.dtype)
    program = programs.Relaxation(work, systems.make(work))
    program.warm(work)
    laps = [program.run(work.steps) for _ in range(work.rounds)]
    details = {
        "seconds": sorted(lap.seconds for lap in laps)[len(laps) // 2],
        "evaluations": laps[-1].steps,
        "largest_force": float(programs.largest_force(program.last)),
        "start_energy_per_atom": program.energy,
        "end_energy_per_atom": laps[-1].energy,
        "setting": program.setting,
    }
    result = summary(work, program.atoms, laps, drift=None, details=details)
    return result
