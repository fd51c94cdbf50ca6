"""The cases, each a function from `Work` to a `Result`, or to several."""

from collections.abc import Callable

from benchmarks.result import Result
from benchmarks.work import Work


def find(case: str) -> Callable[[Work], Result | list[Result]]:
    """Return the function of a case; what it needs is imported only now."""
    # Fresh processes are measured by these two, so this one may stay small.
    if case in ("compile", "memory"):
        from benchmarks.cases import fresh

        return {"compile": fresh.compile_time, "memory": fresh.memory}[case]
    if case == "minimize":  # needs SciPy and ASE
        from benchmarks.cases import minimizers

        return minimizers.minimize
    from benchmarks.cases import custom, dynamics, ensembles, neighbors, overhead, precision, relaxation

    return {
        "lj": dynamics.melt,
        "lj-langevin": dynamics.melt,
        "batch": dynamics.batch,
        "custom-pair": custom.custom_pair,
        "precision": precision.precision,
        "overhead": overhead.overhead,
        "neighbors": neighbors.neighbors,
        "fire": relaxation.fire,
        "chains": ensembles.chains,
        "ensemble": ensembles.ensemble,
    }[case]
