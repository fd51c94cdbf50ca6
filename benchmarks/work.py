"""What is to be done, by any program: a case with its numbers, and where they come from."""

import dataclasses
import os

CASES = {
    "lj": "a Lennard-Jones melt at constant energy",
    "lj-langevin": "the same melt with Langevin noise",
    "custom-pair": "the melt with a user's own pair function, beside the built-in one",
    "precision": "the melt with pairs in float32 and all else in float64, beside one precision for all",
    "overhead": "the melt with a bar, a table, a file and checkpoints, beside a bare run",
    "neighbors": "one build of the neighbor list beside one evaluation of the forces",
    "batch": "many clusters of 32 atoms at once",
    "fire": "a perturbed crystal, relaxed until the largest force is small",
    "minimize": "minimizers beside those of SciPy and ASE: evaluations until no force exceeds 1e-8",
    "chains": "64 Langevin chains of a posterior as one ensemble, beside one after another",
    "ensemble": "clusters and boxes of liquid as ensembles, beside jax.vmap of a trajectory",
    "compile": "from starting Python to the first step, with a cold cache",
    "memory": "peak resident memory of building and running",
}
PEER_CASES = ("lj", "lj-langevin", "batch", "fire")
_ATOMS = {"batch": 512 * 32, "fire": 4_000, "minimize": 500, "ensemble": 512 * 32}
_STEPS = {"chains": 10_000, "ensemble": 200}


@dataclasses.dataclass(frozen=True)
class Work:
    """Say what is to be done.

    Attributes:
        case: one of `CASES`.
        atoms: how many atoms, about: crystals are rounded to whole cubes, batches to whole clusters.
        steps: steps in a round; enough of them for the fixed cost of a call not to matter.
        dtype: float32 or float64; programs that offer one precision only use that.
        truncation: cut or force-shifted.
        skin: of the neighbor lists of treedyn; `None` for its default.
        tolerance: the part of the pairs that the lists of treedyn may miss.
        rounds: how many rounds are timed; figures are their medians.
        warm: steps before the first round, in which the crystal melts.
        threads: for programs that want to be told.
    """

    case: str = "lj"
    atoms: int = 32_000
    steps: int = 200
    dtype: str = "float32"
    truncation: str = "cut"
    skin: float | None = None
    tolerance: float = 0.0
    rounds: int = 5
    warm: int = 300
    threads: int = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_atoms(case: str) -> int:
    """Return how many atoms a case has if nobody says otherwise."""
    return _ATOMS.get(case, Work.atoms)


def default_steps(case: str, atoms: int) -> int:
    """Return how many steps a round has if nobody says otherwise: a second or two of work."""
    return _STEPS.get(case, max(round(4_000_000 / atoms), 50))
