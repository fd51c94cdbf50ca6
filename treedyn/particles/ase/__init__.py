"""To and from ASE, the Atomic Simulation Environment: structures both ways, and energies as a calculator.

Needs `pip install "treedyn[ase]"`.
"""

from treedyn.particles.ase.calculator import TreedynCalculator as TreedynCalculator
from treedyn.particles.ase.convert import Structure as Structure
from treedyn.particles.ase.convert import from_ase as from_ase
from treedyn.particles.ase.convert import to_ase as to_ase
