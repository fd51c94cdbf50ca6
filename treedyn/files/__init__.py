"""Files that a run writes while it goes on: tables of numbers, and trajectories of any PyTree.

Formats that know what a particle is are in `treedyn.particles.files`. Nothing optional is loaded before it is used.
"""

from treedyn.files.background import Background as Background
from treedyn.files.background import background as background
from treedyn.files.frames import Frames as Frames
from treedyn.files.growing import GrowingWriter as GrowingWriter
from treedyn.files.lines import CSVWriter as CSVWriter
from treedyn.files.lines import JSONLinesWriter as JSONLinesWriter
from treedyn.files.lines import read_table as read_table
from treedyn.files.thermo import Thermo as Thermo
from treedyn.files.thermo import ThermoTable as ThermoTable
from treedyn.files.thermo import thermo as thermo
from treedyn.files.writer import FileWriter as FileWriter
from treedyn.files.writer import Writer as Writer
from treedyn.files.zarr import ZarrFrames as ZarrFrames
from treedyn.files.zarr import ZarrWriter as ZarrWriter
from treedyn.files.zarr import read_zarr as read_zarr
