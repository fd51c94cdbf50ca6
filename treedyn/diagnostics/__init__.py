"""What to read off a state, a series or a method."""

from treedyn.diagnostics.blocking import standard_error as standard_error
from treedyn.diagnostics.certify import Certificate as Certificate
from treedyn.diagnostics.certify import certify as certify
from treedyn.diagnostics.kinetic import degrees_of_freedom as degrees_of_freedom
from treedyn.diagnostics.kinetic import kinetic_energy as kinetic_energy
from treedyn.diagnostics.kinetic import temperature as temperature
from treedyn.diagnostics.kinetic import thermal_momentum as thermal_momentum
