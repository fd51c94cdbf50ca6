"""To and from ASE, the Atomic Simulation Environment: structures both ways, and energies as a calculator.

Needs `pip install "treedyn[ase]"`.
"""

from treedyn.particles.io.ase._calculator import TreedynCalculator as TreedynCalculator
from treedyn.particles.io.ase._convert import Structure as Structure
from treedyn.particles.io.ase._convert import from_ase as from_ase
from treedyn.particles.io.ase._convert import to_ase as to_ase
