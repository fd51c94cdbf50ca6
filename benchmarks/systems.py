"""The systems, in plain NumPy: every program starts from the same positions and velocities."""

import dataclasses
import itertools

import numpy as np

from benchmarks.work import Work

DENSITY = 0.8442
CUTOFF = 2.5
DT = 0.005
TEMPERATURE = 1.44  # of the velocities on the perfect lattice; half of it becomes potential energy as the crystal melts
BATH = 0.72  # of the heat bath: about what is left after melting
FRICTION = 1.0
CLUSTER = 32
CLUSTER_TEMPERATURE = 0.1  # cold enough for a cluster to stay together
CLUSTER_DISTANCE = 12.0  # between the middles of clusters where they share one box: none sees another
LIQUID = 108  # atoms in each of many small boxes
LIQUID_CUTOFF = 2.0  # half of such a box is 2.52
FORCE = 1e-3  # the largest force on any atom at which a relaxation ends
_FCC = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])


@dataclasses.dataclass(frozen=True)
class System:
    """Hold where atoms are and how they move; their mass is 1.

    Attributes:
        position: `[N, 3]`, the clusters of a batch one after another, each around the origin.
        velocity: `[N, 3]`.
        box: side of the periodic cube; infinite for open space.
    """

    position: np.ndarray
    velocity: np.ndarray
    box: float


def make(work: Work) -> System:
    """Return the system of a case."""
    if work.case == "batch":
        return clusters(work.atoms)
    if work.case == "fire":
        return perturbed(work.atoms)
    return melt(work.atoms)


def melt(atoms: int) -> System:
    """Return a perfect crystal that is hot enough to melt."""
    position, box = _crystal(atoms)
    return System(position, _velocities(position, TEMPERATURE), box)


def perturbed(atoms: int) -> System:
    """Return a crystal at rest whose atoms were moved a little."""
    position, box = _crystal(atoms)
    moved = position + np.random.default_rng(1).normal(0, 0.05, position.shape)
    return System(moved % box, np.zeros_like(position), box)


def clusters(atoms: int) -> System:
    """Return compact clusters of `CLUSTER` atoms, each with velocities of its own."""
    count = max(round(atoms / CLUSTER), 1)
    edge = np.sqrt(2) * 2 ** (1 / 6)  # neighbors at the minimum of the potential
    cells = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    sites = ((cells[:, None] + _FCC).reshape(-1, 3) - 0.25) * edge
    ball = sites[np.argsort(np.linalg.norm(sites, axis=1), kind="stable")[:CLUSTER]]
    velocity = [_velocities(ball, CLUSTER_TEMPERATURE, seed) for seed in range(count)]
    return System(np.tile(ball, (count, 1)), np.concatenate(velocity), np.inf)


def liquids(count: int) -> System:
    """Return small boxes, one after another, each a crystal that is hot enough to melt, with velocities of its own."""
    position, box = _crystal(LIQUID)
    velocity = [_velocities(position, TEMPERATURE, seed) for seed in range(count)]
    return System(np.tile(position, (count, 1)), np.concatenate(velocity), box)


def in_one_box(system: System) -> System:
    """Return the clusters of a batch side by side in one periodic box, for programs that know one system only."""
    count = len(system.position) // CLUSTER
    side = int(np.ceil(np.cbrt(count)))
    middles = (np.array(list(itertools.product(range(side), repeat=3)))[:count] + 0.5) * CLUSTER_DISTANCE
    position = system.position + np.repeat(middles, CLUSTER, axis=0)
    return System(position, system.velocity, side * CLUSTER_DISTANCE)


def _crystal(atoms: int) -> tuple[np.ndarray, float]:
    repeats = max(round((atoms / 4) ** (1 / 3)), 1)
    edge = (4 / DENSITY) ** (1 / 3)
    cells = np.array(list(itertools.product(range(repeats), repeat=3)))
    return ((cells[:, None] + _FCC) * edge).reshape(-1, 3), repeats * edge


def _velocities(position: np.ndarray, kT: float, seed: int = 0) -> np.ndarray:
    velocity = np.random.default_rng(seed).normal(size=position.shape)
    velocity -= velocity.mean(axis=0)
    return velocity * np.sqrt(kT * 3 * (len(position) - 1) / np.sum(velocity**2))
