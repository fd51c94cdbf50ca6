"""What the readers of particle formats return."""

from abc import abstractmethod
from typing import Any

import numpy as np

from treedyn.particles.io._content import make_space
from treedyn.particles.io._species import symbols
from treedyn.particles.space._space import ParticleSpace
from treedyn.store._frames import Frames


class Trajectory(Frames):
    """Read frames of particles: dicts of arrays by name, with `position` and, in a box, `cell` among them.

    Attributes:
        steps: the step of every frame, `int64[n]`.
        axes: which lattice vectors repeat.
        species: atomic numbers, `int64[N]`.
        mass: `[N]`, or `None` where the file does not say.
    """

    axes: tuple[bool, ...]
    species: np.ndarray
    mass: np.ndarray | None = None

    @property
    def symbols(self) -> list[str]:
        """Return the chemical symbol of every particle."""
        return symbols(self.species)

    def space(self, index: int = -1) -> ParticleSpace:
        """Return the box of a frame, by default of the last one."""
        return make_space(self[index].get("cell"), self.axes)

    @abstractmethod
    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]: ...

    def _pick(self, frames: dict[str, np.ndarray], which: Any) -> dict[str, np.ndarray]:
        return {name: array[which] for name, array in frames.items()}
