"""Trajectories of particles in the formats of other programs: extended XYZ, GSD and HDF5 (H5MD).

Optional packages are imported when they are used.
"""

from treedyn.particles.io._formats import read as read
from treedyn.particles.io._formats import writer as writer
from treedyn.particles.io._gsd import GSDWriter as GSDWriter
from treedyn.particles.io._gsd import read_gsd as read_gsd
from treedyn.particles.io._h5md import H5MDWriter as H5MDWriter
from treedyn.particles.io._h5md import read_h5md as read_h5md
from treedyn.particles.io._trajectory import Trajectory as Trajectory
from treedyn.particles.io._trajectory import frame as frame
from treedyn.particles.io._xyz import XYZWriter as XYZWriter
from treedyn.particles.io._xyz import read_xyz as read_xyz
