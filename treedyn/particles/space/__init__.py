"""Boxes and lattices."""

from treedyn.particles.space._lattice import Lattice as Lattice
from treedyn.particles.space._lattice import bcc as bcc
from treedyn.particles.space._lattice import diamond as diamond
from treedyn.particles.space._lattice import fcc as fcc
from treedyn.particles.space._lattice import hcp as hcp
from treedyn.particles.space._lattice import hexagonal as hexagonal
from treedyn.particles.space._lattice import sc as sc
from treedyn.particles.space._space import Free as Free
from treedyn.particles.space._space import ParticleSpace as ParticleSpace
from treedyn.particles.space._space import Periodic as Periodic
from treedyn.particles.space._space import Triclinic as Triclinic
from treedyn.particles.space._space import free as free
from treedyn.particles.space._space import periodic as periodic
from treedyn.particles.space._space import triclinic as triclinic
