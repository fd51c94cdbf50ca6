"""Diagnostics of a state, a series of observations, or a method."""

from treedyn.diagnostics._blocking import standard_error as standard_error
from treedyn.diagnostics._certify import Certificate as Certificate
from treedyn.diagnostics._certify import certify as certify
from treedyn.diagnostics._kinetic import degrees_of_freedom as degrees_of_freedom
from treedyn.diagnostics._kinetic import kinetic_energy as kinetic_energy
from treedyn.diagnostics._kinetic import temperature as temperature
from treedyn.diagnostics._kinetic import thermal_momentum as thermal_momentum
