"""The format of a trajectory by the suffix of its name."""

import os

from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn.particles.io._content import ParticleWriter
from treedyn.particles.io._gsd import GSDWriter, read_gsd
from treedyn.particles.io._h5md import H5MDWriter, read_h5md
from treedyn.particles.io._species import Species
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.io._xyz import XYZWriter, read_xyz
from treedyn.particles.space._space import ParticleSpace
from treedyn.store._writer import Mode

_XYZ, _GSD, _H5MD = (XYZWriter, read_xyz), (GSDWriter, read_gsd), (H5MDWriter, read_h5md)
_FORMATS = {"xyz": _XYZ, "extxyz": _XYZ, "gsd": _GSD, "h5": _H5MD, "hdf5": _H5MD, "h5md": _H5MD}


def writer(
    path: str | os.PathLike[str],
    *,
    mode: Mode = "x",
    space: ParticleSpace | None = None,
    species: Species = None,
    mass: Real[ArrayLike, "*particles"] | None = None,
) -> ParticleWriter:
    """Open a trajectory to write; the suffix .xyz, .extxyz, .gsd, .h5md, .h5 or .hdf5 chooses the format.

    Args:
        path: the file.
        mode: "x" for a new file, "w" to overwrite a file, "a" to continue one.
        space: the box if it is constant; open space by default. A box that changes is in the frames, as `cell`.
        species: chemical symbols or atomic numbers, one for all or one each; X by default.
        mass: one mass for all or one each, kept in the file.

    Returns:
        A writer of frames: positions `[n, N, d]`, or dicts of arrays as `frame` records them.

    Raises:
        ValueError: the suffix is unknown.
        FileExistsError: the file exists and `mode` is "x".
        ImportError: the package for the format is not installed.

    Example:
        >>> import numpy as np, tempfile, pathlib
        >>> from treedyn import particles as tp
        >>> from treedyn.particles import io
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.xyz"
        >>> with io.writer(path, space=tp.periodic(5.0), species="Ar") as out:
        ...     out.write(np.array([0, 10]), {"position": np.ones((2, 4, 3)), "energy": np.array([-1.0, -1.5])})
        >>> frames = io.read(path)
        >>> print(len(frames), frames[-1]["species"][0], frames[-1]["energy"], frames[-1]["position"].shape)
        2 Ar -1.5 (4, 3)
    """
    return _FORMATS[_suffix(path)][0](path, mode=mode, space=space, species=species, mass=mass)


def read(path: str | os.PathLike[str]) -> Trajectory:
    """Open a trajectory of any program to read; the suffix of its name chooses the format.

    Args:
        path: the file.

    Returns:
        Its frames. A simulation can start from `frames[-1]["position"]` in the box `frames.space()`.

    Raises:
        ValueError: the suffix is unknown.
        ImportError: the package for the format is not installed.
    """
    return _FORMATS[_suffix(path)][1](path)


def _suffix(path: str | os.PathLike[str]) -> str:
    suffix = check.path("path", path).suffix.removeprefix(".").lower()
    if suffix not in _FORMATS:
        raise ValueError(f"path: expected a name that ends in one of {', '.join(_FORMATS)}, got {str(path)!r}")
    return suffix
