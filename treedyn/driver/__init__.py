"""Drivers: from a step to a run."""

from treedyn.driver._outputs import Output as Output
from treedyn.driver._outputs import OutputError as OutputError
from treedyn.driver._run import Run as Run
from treedyn.driver._run import run as run
from treedyn.driver._trajectory import Trajectory as Trajectory
from treedyn.driver._trajectory import trajectory as trajectory
