"""The format of a trajectory: by the suffix of its name, or by its own."""

import os
from pathlib import Path
from typing import Literal

from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn.particles.io._content import ParticleWriter
from treedyn.particles.io._gsd import GSDTrajectory, GSDWriter
from treedyn.particles.io._h5md import H5MDTrajectory, H5MDWriter
from treedyn.particles.io._species import Species
from treedyn.particles.io._trajectory import Trajectory
from treedyn.particles.io._xyz import XYZTrajectory, XYZWriter
from treedyn.particles.space._space import ParticleSpace
from treedyn.store._writer import Mode

Format = Literal["xyz", "gsd", "h5md"]

_FORMATS = {"xyz": (XYZWriter, XYZTrajectory), "gsd": (GSDWriter, GSDTrajectory), "h5md": (H5MDWriter, H5MDTrajectory)}
_SUFFIXES = {name: name for name in _FORMATS} | {"extxyz": "xyz", "h5": "h5md", "hdf5": "h5md"}


def writer(
    path: str | os.PathLike[str],
    *,
    mode: Mode = "x",
    space: ParticleSpace | None = None,
    species: Species = None,
    mass: Real[ArrayLike, "*particles"] | None = None,
    format: Format | None = None,
) -> ParticleWriter:
    """Open a trajectory to write, in extended XYZ, in GSD of HOOMD-blue, or in HDF5 in the layout of H5MD.

    Args:
        path: the file.
        mode: "x" for a new file, "w" to overwrite a file, "a" to continue one of treedyn.
        space: the box if it is constant; open space by default. A box that changes is in the frames, as `cell`.
        species: chemical symbols or atomic numbers, one for all or one each; X by default.
        mass: one mass for all or one each, kept in the file.
        format: "xyz", "gsd" or "h5md". By default the suffix .xyz, .extxyz, .gsd, .h5md, .h5 or .hdf5 chooses it.

    Returns:
        A writer of frames: positions `[n, N, d]`, or dicts of arrays as `frame` records them. XYZ holds masses as a
        column, and has 2 or 3 dimensions. GSD needs a box that is periodic along every axis, and holds forces and other
        arrays in its log. In H5MD, values that a frame has once are observables.

    Raises:
        ValueError: the suffix is unknown, or the file to be continued has another format or is of another program.
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
    path, name = _chosen(path, format)
    return _FORMATS[name][0](path, mode=mode, space=space, species=species, mass=mass)


def read(path: str | os.PathLike[str], *, format: Format | None = None, group: str | None = None) -> Trajectory:
    """Open a trajectory of any program to read.

    Args:
        path: the file, which may be one that is being written.
        format: "xyz", "gsd" or "h5md". By default the suffix .xyz, .extxyz, .gsd, .h5md, .h5 or .hdf5 chooses it.
        group: the group of particles in H5MD, by default the first.

    Returns:
        The frames that the file has at this time. A simulation can start from `frames[-1]["position"]` in the box
        `frames.space()`. Positions in GSD have their images added, and may lie outside of the box. Arrays that H5MD
        stores at other steps than the positions are left out.

    Raises:
        ValueError: the suffix is unknown, or the file is damaged, has another format, or has no frame.
        ImportError: the package for the format is not installed.
    """
    path, name = _chosen(path, format)
    if name == "h5md":
        return H5MDTrajectory(path, group)
    if group is not None:
        raise ValueError(f"group: expected None, because only H5MD has groups of particles, got {group!r}")
    return _FORMATS[name][1](path)


def _chosen(path: str | os.PathLike[str], format: str | None) -> tuple[Path, str]:
    """Return the path, and the name of the format."""
    path = check.path("path", path)
    if format is not None:
        return path, check.choice("format", format, tuple(_FORMATS))
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in _SUFFIXES:
        expected = ", ".join(_SUFFIXES)
        raise ValueError(f"path: expected a name that ends in one of {expected}, got {str(path)!r}. Or pass format=.")
    return path, _SUFFIXES[suffix]
