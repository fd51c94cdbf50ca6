"""What to read off a state."""

from treedyn.diagnostics.kinetic import degrees_of_freedom as degrees_of_freedom
from treedyn.diagnostics.kinetic import kinetic_energy as kinetic_energy
from treedyn.diagnostics.kinetic import temperature as temperature
from treedyn.diagnostics.kinetic import thermal_momentum as thermal_momentum
