"""Energies of particles: pair potentials, their truncation and parameters, bonds, tails."""

from treedyn.particles.energies._bonds import BondEnergy as BondEnergy
from treedyn.particles.energies._bonds import bond_energy as bond_energy
from treedyn.particles.energies._energy import Energy as Energy
from treedyn.particles.energies._pair import PairEnergy as PairEnergy
from treedyn.particles.energies._pair import pair_energy as pair_energy
from treedyn.particles.energies._parameters import arithmetic_mean as arithmetic_mean
from treedyn.particles.energies._parameters import by_particle as by_particle
from treedyn.particles.energies._parameters import by_species as by_species
from treedyn.particles.energies._parameters import geometric_mean as geometric_mean
from treedyn.particles.energies._potentials import harmonic as harmonic
from treedyn.particles.energies._potentials import lennard_jones as lennard_jones
from treedyn.particles.energies._potentials import morse as morse
from treedyn.particles.energies._potentials import soft_sphere as soft_sphere
from treedyn.particles.energies._tail import LongRangeCorrection as LongRangeCorrection
from treedyn.particles.energies._tail import long_range_correction as long_range_correction
from treedyn.particles.energies._truncation import cut as cut
from treedyn.particles.energies._truncation import cutoff_of as cutoff_of
from treedyn.particles.energies._truncation import force_shifted as force_shifted
from treedyn.particles.energies._truncation import shifted as shifted
from treedyn.particles.energies._truncation import smooth as smooth
