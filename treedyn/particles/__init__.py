"""Particles: boxes, neighbor lists, energies, analysis. A plugin: it supplies targets, spaces and environments.

Trajectory files are in `treedyn.particles.io`, which is imported by itself.
"""

from treedyn.particles.analysis import mean_squared_displacement as mean_squared_displacement
from treedyn.particles.analysis import pressure as pressure
from treedyn.particles.analysis import radial_distribution as radial_distribution
from treedyn.particles.analysis import stress as stress
from treedyn.particles.analysis import virial as virial
from treedyn.particles.energies import BondEnergy as BondEnergy
from treedyn.particles.energies import Energy as Energy
from treedyn.particles.energies import LongRangeCorrection as LongRangeCorrection
from treedyn.particles.energies import PairEnergy as PairEnergy
from treedyn.particles.energies import arithmetic_mean as arithmetic_mean
from treedyn.particles.energies import bond_energy as bond_energy
from treedyn.particles.energies import by_particle as by_particle
from treedyn.particles.energies import by_species as by_species
from treedyn.particles.energies import cut as cut
from treedyn.particles.energies import cutoff_of as cutoff_of
from treedyn.particles.energies import force_shifted as force_shifted
from treedyn.particles.energies import geometric_mean as geometric_mean
from treedyn.particles.energies import harmonic as harmonic
from treedyn.particles.energies import lennard_jones as lennard_jones
from treedyn.particles.energies import long_range_correction as long_range_correction
from treedyn.particles.energies import morse as morse
from treedyn.particles.energies import pair_energy as pair_energy
from treedyn.particles.energies import shifted as shifted
from treedyn.particles.energies import smooth as smooth
from treedyn.particles.energies import soft_sphere as soft_sphere
from treedyn.particles.neighbors import NeighborList as NeighborList
from treedyn.particles.neighbors import NeighborLists as NeighborLists
from treedyn.particles.neighbors import neighbor_list as neighbor_list
from treedyn.particles.space import Free as Free
from treedyn.particles.space import Lattice as Lattice
from treedyn.particles.space import ParticleSpace as ParticleSpace
from treedyn.particles.space import Periodic as Periodic
from treedyn.particles.space import Triclinic as Triclinic
from treedyn.particles.space import bcc as bcc
from treedyn.particles.space import diamond as diamond
from treedyn.particles.space import fcc as fcc
from treedyn.particles.space import free as free
from treedyn.particles.space import hcp as hcp
from treedyn.particles.space import hexagonal as hexagonal
from treedyn.particles.space import periodic as periodic
from treedyn.particles.space import sc as sc
from treedyn.particles.space import triclinic as triclinic
from treedyn.particles.sums import neighbor_sum as neighbor_sum
from treedyn.particles.sums import reciprocal as reciprocal
