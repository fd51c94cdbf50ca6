"""Programs that print "ready", run, and may be killed."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

CHANCE = random.Random(0)
ROOT = Path(__file__).parents[1]


def start(code: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start a program in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
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
