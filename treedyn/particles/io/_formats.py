"""Choose the format by the ending of the name."""

import os
from typing import Any

from treedyn import _check as check
from treedyn.particles.io._gsd import GSDWriter, read_gsd
from treedyn.particles.io._h5md import H5MDWriter, read_h5md
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.io._xyz import XYZWriter, read_xyz
from treedyn.store._writer import Writer

_WRITERS = {"xyz": XYZWriter, "extxyz": XYZWriter, "gsd": GSDWriter}
_WRITERS |= dict.fromkeys(("h5", "hdf5", "h5md"), H5MDWriter)
_READERS = {XYZWriter: read_xyz, GSDWriter: read_gsd, H5MDWriter: read_h5md}


def writer(
    path: str | os.PathLike[str], *, mode: str = "x", space: Any = None, species: Any = None, mass: Any = None
) -> Writer:
    """Open a trajectory file; its format shows in its name: .xyz or .extxyz, .gsd, .h5md, .h5 or .hdf5.

    Args:
        path: the file.
        mode: "x" for a new file, "w" to overwrite one, "a" to continue it.
        space: the box, where it does not change; open space by default. A box that changes is in the frames, `cell`.
        species: chemical symbols or atomic numbers, one for all or one each; X by default.
        mass: one for all or one each, to be kept in the file.

    Returns:
        A writer of frames: positions `[n, N, d]`, or dicts of arrays as `frame` records them.

    Raises:
        ValueError: the ending is none of these.
        FileExistsError: the file is there and was to be new.
        ImportError: what writes the format is not installed.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import particles as tp
        >>> from treedyn.particles import io
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.xyz"
        >>> with io.writer(path, space=tp.periodic(5.0), species="Ar") as out:
        ...     out.write(np.array([0, 10]), {"position": np.ones((2, 4, 3)), "energy": np.array([-1.0, -1.5])})
        >>> frames = io.read(path)
        >>> print(len(frames), frames.symbols[0], frames[-1]["energy"], frames[-1]["position"].shape)
        2 Ar -1.5 (4, 3)
    """
    return _WRITERS[_ending(path)](path, mode=mode, space=space, species=species, mass=mass)


def read(path: str | os.PathLike[str]) -> Trajectory:
    """Read a trajectory file; its format shows in its name.

    Args:
        path: the file.

    Returns:
        Its frames: `frames[-1]["position"]` is where a simulation may begin, in the box `frames.space()`.

    Raises:
        ValueError: the ending is none that is known.
        ImportError: what reads the format is not installed.
    """
    return _READERS[_WRITERS[_ending(path)]](path)


def _ending(path: str | os.PathLike[str]) -> str:
    ending = check.path("path", path).suffix.removeprefix(".").lower()
    if ending not in _WRITERS:
        raise ValueError(f"path: expected a name that ends in one of {', '.join(_WRITERS)}, got {str(path)!r}")
    return ending
