"""Analysis of particles: structure, displacement, stress."""

from treedyn.particles.analysis._mean_squared_displacement import mean_squared_displacement as mean_squared_displacement
from treedyn.particles.analysis._radial import radial_distribution as radial_distribution
from treedyn.particles.analysis._stress import pressure as pressure
from treedyn.particles.analysis._stress import stress as stress
from treedyn.particles.analysis._stress import virial as virial
