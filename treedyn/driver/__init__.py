"""Drivers: from a step to a run."""

from treedyn.driver.run import Run as Run
from treedyn.driver.run import run as run
from treedyn.driver.trajectory import Trajectory as Trajectory
from treedyn.driver.trajectory import trajectory as trajectory
