"""Run in a process of its own: import, set up, take a step, and print how long each took and how much memory."""

import json
import sys
import time

from benchmarks.measure import peak_memory
from benchmarks.work import Work


def main() -> None:
    """Print one line of JSON; the arguments are the work, and when Python was started."""
    work, started = Work(**json.loads(sys.argv[1])), float(sys.argv[2])
    import benchmarks.peers.treedyn as programs
    from benchmarks import systems
    from benchmarks.compiles import SO_FAR

    programs.set_precision(work.dtype)
    imported, mib_imported = time.time(), peak_memory()
    program = programs.Melt(work, systems.make(work))
    built, mib_built = time.time(), peak_memory()
    before = SO_FAR.seconds
    program.take(1)
    first = time.time()
    compiling, compilations = SO_FAR.seconds - before, SO_FAR.count  # before: the small functions of the setup
    program.take(1)  # the same code again: what is more than this was tracing and compiling
    step = time.time() - first
    rebuilds = program.take(work.steps).rebuilds if work.steps > 1 else 0
    report = {
        "atoms": program.atoms,
        "import": imported - started,
        "setup": built - imported,
        "setup_compile": before,
        "trace": max(first - built - compiling - step, 0.0),
        "compile": compiling,
        "first_step": step,
        "total": first - started,
        "compilations": compilations,
        "rebuilds": rebuilds,
        "mib_imported": mib_imported,
        "mib_built": mib_built,
        "mib_ran": peak_memory(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
