"""Structures from and to ASE, the Atomic Simulation Environment, and energies as calculators of ASE.

Needs `pip install "treedyn[ase]"`.
"""

from treedyn.particles.io.ase._calculator import TreedynCalculator as TreedynCalculator
from treedyn.particles.io.ase._convert import Structure as Structure
from treedyn.particles.io.ase._convert import from_ase as from_ase
from treedyn.particles.io.ase._convert import to_ase as to_ase
