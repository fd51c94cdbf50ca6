"""What is in frames of particles, brought into one form before it is written in any format."""

import dataclasses
from typing import Any

import numpy as np

from treedyn import _check as check
from treedyn.particles.space._space import Free, ParticleSpace, Triclinic, free, periodic, triclinic
from treedyn.store._writer import check_steps
from treedyn.tree import PyTree

_OWN = {"position", "cell", "time"}


@dataclasses.dataclass(frozen=True)
class Content:
    """Hold frames in one form.

    Attributes:
        steps: `int64[n]`.
        position: real coordinates, `[n, N, d]`.
        cell: lattice vectors in rows, `float64[n, d, d]`; `None` in open space.
        axes: which lattice vectors repeat.
        time: `[n]`, or `None`.
        particles: what there is one of for every particle, by name; `[n, N, ...]`.
        frames: what there is one of in every frame, by name; `[n, ...]`.
    """

    steps: np.ndarray
    position: np.ndarray
    cell: np.ndarray | None
    axes: tuple[bool, ...]
    time: np.ndarray | None
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


def content(steps: Any, frames: PyTree, space: ParticleSpace, last: int | None) -> Content:
    """Bring frames into one form.

    Args:
        steps: the steps.
        frames: positions `[n, N, d]`, or a dict of arrays by name with `position` among them.
        space: the box, where the frames have no `cell`; how positions are stored.
        last: the step of the last frame that was written.

    Raises:
        ValueError: there are no positions, or something does not fit.
    """
    if not isinstance(frames, dict):
        frames = {"position": frames}
    if "position" not in frames or not all(hasattr(x, "dtype") for x in frames.values()):
        raise ValueError(
            'frames: expected positions [n, N, d], or a dict of arrays with "position" among them, got '
            f"{ {name: type(x).__name__ for name, x in frames.items()} }; tp.io.frame records one"
        )
    steps = check_steps(steps, frames, last)
    arrays = {name: np.asarray(x) for name, x in frames.items()}
    position = arrays["position"]
    if position.ndim != 3 or position.dtype not in (np.float32, np.float64) or 0 in position.shape[1:]:
        raise ValueError(
            f"frames['position']: expected float32 or float64 [n, N, d], got {position.dtype}{list(position.shape)}"
        )
    n, count, dimension = position.shape
    cell = _cells(arrays.get("cell"), space, n, dimension)
    if isinstance(space, Triclinic) and space.is_fractional:
        assert cell is not None
        position = (position @ cell).astype(position.dtype)
    rest = {name: x for name, x in arrays.items() if name not in _OWN}
    time = arrays.get("time")
    if time is not None and time.shape != (n,):
        raise ValueError(f"frames['time']: expected one number a frame, got shape {time.shape}")
    return Content(
        steps=steps,
        position=position,
        cell=cell,
        axes=space.periodic_axes(dimension) if not isinstance(space, Free) or cell is None else (True,) * dimension,
        time=time,
        particles={name: x for name, x in rest.items() if x.ndim >= 2 and x.shape[1] == count},
        frames={name: x for name, x in rest.items() if x.ndim < 2 or x.shape[1] != count},
    )


def check_space(space: Any) -> ParticleSpace:
    """Return the space, open where there is none, or refuse it."""
    if space is None:
        return free()
    if not isinstance(space, ParticleSpace):
        raise ValueError(f"space: expected tp.free(), tp.periodic(...) or tp.triclinic(...), got {space!r}")
    return space


def masses(mass: Any, count: int) -> np.ndarray:
    """Return the mass of every particle, `float64[count]`.

    Raises:
        ValueError: it is neither one positive number nor one for each.
    """
    given = check.array("mass", mass, f"one positive number or {count} of them", (0, 1), positive=True, finite=False)
    if np.shape(given) not in ((), (count,)):
        raise ValueError(f"mass: expected one number or one for each of {count} particles, got shape {np.shape(given)}")
    return np.broadcast_to(np.asarray(given, np.float64), (count,))


def make_space(cell: Any, axes: Any) -> ParticleSpace:
    """Return the space of a cell: open where nothing repeats, rectangular where it can be.

    Args:
        cell: lattice vectors in rows, or `None`.
        axes: which of them repeat.
    """
    axes = tuple(bool(axis) for axis in axes)
    if cell is None or not any(axes):
        return free()
    cell = np.asarray(cell)
    every = None if all(axes) else axes
    if np.array_equal(cell, np.diag(np.diag(cell))) and np.all(np.diag(cell) > 0):
        return periodic(np.diag(cell), axes=every)
    return triclinic(cell, axes=every)


def _cells(given: np.ndarray | None, space: ParticleSpace, n: int, dimension: int) -> np.ndarray | None:
    """Return the cell of every frame: given as matrices or as sides, or that of the space."""
    if given is None:
        cell = space.cell(dimension)
        if cell is None:
            return None
        if np.shape(cell) != (dimension, dimension):
            raise ValueError(f"space: its cell has shape {np.shape(cell)}, it must have {dimension} axes as the points")
        return np.broadcast_to(np.asarray(cell, np.float64), (n, dimension, dimension))
    if given.shape == (n, dimension):
        return np.asarray(given, np.float64)[:, :, None] * np.eye(dimension)
    if given.shape != (n, dimension, dimension):
        raise ValueError(
            f"frames['cell']: expected sides {[n, dimension]} or lattice vectors {[n, dimension, dimension]}, got "
            f"shape {list(given.shape)}"
        )
    return np.asarray(given, np.float64)
