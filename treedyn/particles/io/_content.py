"""What all writers of particles share: their arguments, and frames in a common form."""

import dataclasses
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn.particles.io._species import Species, atomic_numbers
from treedyn.particles.space._space import Free, ParticleSpace, Triclinic, free, periodic, triclinic
from treedyn.store._writer import FileWriter, Mode
from treedyn.tree import PyTree

_OWN = {"position", "cell", "time"}
_OF_WRITERS = {"species", "mass", "periodic"}


@dataclasses.dataclass(frozen=True)
class Content:
    """Frames in the form that all formats start from.

    Attributes:
        steps: `int64[n]`.
        position: real coordinates, `[n, N, d]`.
        cell: lattice vectors in rows, `float64[n, d, d]`; `None` in open space.
        axes: the lattice vectors that are periodic.
        time: `[n]`, or `None`.
        species: atomic numbers, `int64[N]`.
        mass: `float64[N]`, or `None`.
        particles: arrays with one entry per particle by name, `[n, N, ...]`.
        frames: arrays with one entry per frame by name, `[n, ...]`.
    """

    steps: np.ndarray
    position: np.ndarray
    cell: np.ndarray | None
    axes: tuple[bool, ...]
    time: np.ndarray | None
    species: np.ndarray
    mass: np.ndarray | None
    particles: dict[str, np.ndarray]
    frames: dict[str, np.ndarray]

    @property
    def count(self) -> int:
        """Return the number of particles."""
        return self.position.shape[1]

    @property
    def dimension(self) -> int:
        """Return the number of coordinates."""
        return self.position.shape[2]


class ParticleWriter(FileWriter):
    """A writer of frames of particles: positions `[n, N, d]`, or dicts of arrays as `frame` records them."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        mode: Mode = "x",
        space: ParticleSpace | None = None,
        species: Species = None,
        mass: Real[ArrayLike, "*particles"] | None = None,
    ) -> None:
        self._space, self._species, self._mass = check_space(space), species, mass
        super().__init__(path, mode=mode)

    def _content(self, steps: np.ndarray, frames: PyTree) -> Content:
        """Return frames in their common form."""
        space = self._space
        if not isinstance(frames, dict):
            frames = {"position": frames}
        if "position" not in frames or not all(hasattr(x, "dtype") for x in frames.values()):
            raise ValueError(
                'frames: expected positions [n, N, d], or a dict of arrays with "position" among them, got '
                f"{ {name: type(x).__name__ for name, x in frames.items()} }. tp.io.frame records such a dict."
            )
        if given := sorted(_OF_WRITERS & frames.keys()):
            raise ValueError(
                f"frames[{given[0]!r}]: expected arrays that change, but it is constant. Leave it out, and pass "
                "species=, mass= or space= to the writer."
            )
        arrays = {name: np.asarray(x) for name, x in frames.items()}
        position = arrays["position"]
        if position.ndim != 3 or position.dtype not in (np.float32, np.float64) or 0 in position.shape[1:]:
            raise ValueError(
                f"frames['position']: expected float32 or float64 [n, N, d], got {position.dtype}{list(position.shape)}"
            )
        n, count, dimension = position.shape
        cell = _cells(arrays.get("cell"), space, n, dimension)
        if isinstance(space, Triclinic) and space.is_fractional:
            position = (position @ cell).astype(position.dtype)
        rest = {name: x for name, x in arrays.items() if name not in _OWN}
        time = arrays.get("time")
        if time is not None and time.shape != (n,):
            raise ValueError(f"frames['time']: expected one number per frame, got shape {time.shape}")
        return Content(
            steps=steps,
            position=position,
            cell=cell,
            axes=space.periodic_axes(dimension) if not isinstance(space, Free) or cell is None else (True,) * dimension,
            time=time,
            species=atomic_numbers(self._species, count),
            mass=masses(self._mass, count),
            particles={name: x for name, x in rest.items() if x.ndim >= 2 and x.shape[1] == count},
            frames={name: x for name, x in rest.items() if x.ndim < 2 or x.shape[1] != count},
        )


def check_space(space: object) -> ParticleSpace:
    """Return the space, by default open space."""
    kinds = "tp.free(), tp.periodic(...) or tp.triclinic(...)"
    return free() if space is None else check.instance("space", space, ParticleSpace, kinds)


def of_others(path: Path) -> ValueError:
    """Return the error for a file that is not continued."""
    return ValueError(
        f"path: {str(path)!r} was written by another program, so it cannot be continued. Write a new file."
    )


def masses(mass: Real[ArrayLike, "*particles"] | None, count: int) -> np.ndarray | None:
    """Return the mass of every particle, `float64[count]`, or `None` if `mass` is."""
    if mass is None:
        return None
    given = check.array("mass", mass, f"one positive number or {count} of them", (0, 1), positive=True, finite=False)
    if np.shape(given) not in ((), (count,)):
        raise ValueError(f"mass: expected one number or one per particle [{count}], got shape {np.shape(given)}")
    return np.broadcast_to(np.asarray(given, np.float64), (count,))


def in_space(x: np.ndarray) -> np.ndarray:
    """Return vectors with two components as vectors in the plane z = 0."""
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, 3 - x.shape[-1])])


def make_space(cell: np.ndarray | None, axes: Iterable[bool]) -> ParticleSpace:
    """Return the space of a cell with these periodic axes: open without one, rectangular if possible."""
    axes = tuple(bool(axis) for axis in axes)
    if cell is None or not any(axes):
        return free()
    every = None if all(axes) else axes
    if np.array_equal(cell, np.diag(np.diag(cell))) and np.all(np.diag(cell) > 0):
        return periodic(np.diag(cell), axes=every)
    return triclinic(cell, axes=every)


def _cells(given: np.ndarray | None, space: ParticleSpace, n: int, dimension: int) -> np.ndarray | None:
    """Return the cell of every frame, from matrices, from sides, or from the space."""
    if given is None:
        cell = space.cell(dimension)
        if cell is None:
            return None
        if np.shape(cell) != (dimension, dimension):
            raise ValueError(f"space: expected a cell of {dimension} axes, like the positions, got {np.shape(cell)}")
        return np.broadcast_to(np.asarray(cell, np.float64), (n, dimension, dimension))
    if given.shape == (n, dimension):
        return np.asarray(given, np.float64)[:, :, None] * np.eye(dimension)
    if given.shape != (n, dimension, dimension):
        raise ValueError(
            f"frames['cell']: expected sides {[n, dimension]} or lattice vectors {[n, dimension, dimension]}, got "
            f"shape {list(given.shape)}"
        )
    return np.asarray(given, np.float64)
