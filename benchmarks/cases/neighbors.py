"""The two costs of a list, in a melt: building it, and summing forces over it."""

import jax

from benchmarks import systems
from benchmarks.measure import medians, peak_memory
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work


def neighbors(work: Work) -> Result:
    """Measure a build, an evaluation of the forces, and the question whether the list still holds."""
    programs.set_precision(work.dtype)
    program = programs.Melt(work, systems.make(work))
    program.warm(work)
    position, lists = program.state.position, program.env.rebuild(program.state.position)
    build = jax.jit(lambda lists, x: lists.rebuild(x))
    force = jax.jit(jax.grad(program.potential))
    valid = jax.jit(lambda lists, x: lists.valid(x))
    seconds = medians(
        {
            "build": lambda: jax.block_until_ready(build(lists, position)),
            "force": lambda: jax.block_until_ready(force(position, lists)),
            "valid": lambda: jax.block_until_ready(valid(lists, position)),
        },
        3 * work.rounds,
    )
    return Result(
        case=work.case,
        atoms=program.atoms,
        steps=0,
        dtype=work.dtype,
        peak_memory_mib=peak_memory(),
        details={
            "ms_per_build": seconds["build"] * 1e3,
            "ms_per_force": seconds["force"] * 1e3,
            "ms_per_valid": seconds["valid"] * 1e3,
            "ratio_build_to_force": seconds["build"] / seconds["force"],
            "neighbors_per_atom": len(lists.pairs()[0]) / program.atoms,
            "capacity": lists.capacity,
            "setting": program.setting,
        },
    )
