"""Diagnostics of a state, a series of observations, or a method."""

from treedyn.diagnostics._arviz import to_arviz as to_arviz
from treedyn.diagnostics._blocking import standard_error as standard_error
from treedyn.diagnostics._calibrate import Calibration as Calibration
from treedyn.diagnostics._calibrate import calibrate as calibrate
from treedyn.diagnostics._certify import Certificate as Certificate
from treedyn.diagnostics._certify import certify as certify
from treedyn.diagnostics._convergence import effective_sample_size as effective_sample_size
from treedyn.diagnostics._convergence import monte_carlo_error as monte_carlo_error
from treedyn.diagnostics._convergence import r_hat as r_hat
from treedyn.diagnostics._equipartition import Equipartition as Equipartition
from treedyn.diagnostics._equipartition import equipartition as equipartition
from treedyn.diagnostics._equipartition import temperature_band as temperature_band
from treedyn.diagnostics._joint import JointTest as JointTest
from treedyn.diagnostics._joint import joint_test as joint_test
from treedyn.diagnostics._kinetic import degrees_of_freedom as degrees_of_freedom
from treedyn.diagnostics._kinetic import kinetic_energy as kinetic_energy
from treedyn.diagnostics._kinetic import temperature as temperature
from treedyn.diagnostics._kinetic import thermal_momentum as thermal_momentum
from treedyn.diagnostics._samples import Sample as Sample
from treedyn.diagnostics._samples import e_bfmi as e_bfmi
from treedyn.diagnostics._samples import sample as sample
from treedyn.diagnostics._summary import Summary as Summary
from treedyn.diagnostics._summary import summary as summary
