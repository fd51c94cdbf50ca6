"""Trajectories of particles in the formats of other programs: extended XYZ, GSD and HDF5 (H5MD).

Optional packages are imported when they are used.
"""

from treedyn.particles.io._formats import read as read
from treedyn.particles.io._formats import writer as writer
from treedyn.particles.io._trajectory import Trajectory as Trajectory
from treedyn.particles.io._trajectory import frame as frame
