"""Drivers: from a step to a run."""

from treedyn.driver.archive import DamagedFile as DamagedFile
from treedyn.driver.archive import load as load
from treedyn.driver.archive import save as save
from treedyn.driver.output import Output as Output
from treedyn.driver.output import OutputError as OutputError
from treedyn.driver.run import Run as Run
from treedyn.driver.run import run as run
from treedyn.driver.trajectory import Trajectory as Trajectory
from treedyn.driver.trajectory import trajectory as trajectory
