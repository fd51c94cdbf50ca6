"""Trajectories of particles in the formats that other programs read: extended XYZ, GSD, HDF5 (H5MD).

Nothing optional is loaded before it is used.
"""

from treedyn.particles.files.formats import read as read
from treedyn.particles.files.formats import writer as writer
from treedyn.particles.files.gsd import GSDWriter as GSDWriter
from treedyn.particles.files.gsd import read_gsd as read_gsd
from treedyn.particles.files.h5md import H5MDWriter as H5MDWriter
from treedyn.particles.files.h5md import read_h5md as read_h5md
from treedyn.particles.files.record import frame as frame
from treedyn.particles.files.trajectory import Trajectory as Trajectory
from treedyn.particles.files.xyz import XYZWriter as XYZWriter
from treedyn.particles.files.xyz import read_xyz as read_xyz
