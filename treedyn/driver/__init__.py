"""Drivers: from a step to a run."""

from treedyn.driver.archive import DamagedFile as DamagedFile
from treedyn.driver.archive import load as load
from treedyn.driver.archive import save as save
from treedyn.driver.checkpoint import CheckpointError as CheckpointError
from treedyn.driver.run import Run as Run
from treedyn.driver.run import run as run
from treedyn.driver.trajectory import Trajectory as Trajectory
from treedyn.driver.trajectory import trajectory as trajectory
