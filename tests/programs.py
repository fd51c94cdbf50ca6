"""Programs that print "ready", run, and may be killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import jax

CHANCE = random.Random(0)
ROOT = Path(__file__).parents[1]


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start a program in a process of its own.

    Programs share what they have compiled, apart from this process: one that is killed may leave half a file.
    """
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    compiled = {
        "JAX_COMPILATION_CACHE_DIR": f"{jax.config.jax_compilation_cache_dir}/programs",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # XLA writes a kilobyte about every program that it loads, and nobody reads the pipe until the end
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **compiled, **environment}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=surroundings)


def wait(process: subprocess.Popen[str]) -> None:
    """Return once a program is ready."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]


def kill(process: subprocess.Popen[str], folder: Path) -> None:
    """Kill a program at a random moment, once it has written one more piece of records to a folder."""
    wait(process)
    before = len(list(folder.glob("records-*")))
    while len(list(folder.glob("records-*"))) <= before and process.poll() is None:
        time.sleep(0.002)
    time.sleep(CHANCE.uniform(0.0, 0.2))
    process.kill()
    process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    """Return what a program has printed at its end."""
    out, error = process.communicate()
    assert process.returncode == 0, error
    return out.removeprefix("ready\n")
