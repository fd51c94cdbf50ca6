"""What a new process costs: time from starting Python to the first step, and memory."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.result import Result
from benchmarks.work import Work


def compile_time(work: Work) -> Result:
    """Measure the time to the first step of a melt; nothing is in JAX's cache of compiled code."""
    found = _child(dataclasses.replace(work, steps=1))
    parts = ("import", "setup", "setup_compile", "trace", "compile", "first_step", "total")
    return Result(
        case=work.case,
        atoms=found["atoms"],
        steps=1,
        dtype=work.dtype,
        ms_per_step=found["first_step"] * 1e3,
        peak_memory_mib=found["mib_ran"],
        details={f"seconds_{part}": found[part] for part in parts} | {"compilations": found["compilations"]},
    )


def memory(work: Work) -> Result:
    """Measure the peak memory of building and running a melt."""
    found = _child(work)
    return Result(
        case=work.case,
        atoms=found["atoms"],
        steps=work.steps,
        dtype=work.dtype,
        rebuilds=found["rebuilds"],
        peak_memory_mib=found["mib_ran"],
        details={
            "mib_imported": found["mib_imported"],
            "mib_built": found["mib_built"],
            "mib_ran": found["mib_ran"],
            "kib_per_atom": (found["mib_ran"] - found["mib_imported"]) * 2**10 / found["atoms"],
        },
    )


def _child(work: Work) -> dict[str, Any]:
    """Return what a process of its own says; `benchmarks.first_step` is what it runs."""
    # Everything is compiled, whatever cache the environment points to.
    environment = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    task = json.dumps(dataclasses.asdict(work) | {"case": "lj"})
    command = [sys.executable, "-m", "benchmarks.first_step", task, repr(time.time())]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}:\n{done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
