"""Files that a run writes: tables of numbers, and trajectories of any PyTree.

Formats for particles are in `treedyn.particles.io`. Optional packages are imported when they are used.
"""

from treedyn.store._archive import DamagedFile as DamagedFile
from treedyn.store._archive import load as load
from treedyn.store._archive import save as save
from treedyn.store._background import Background as Background
from treedyn.store._background import background as background
from treedyn.store._frames import Frames as Frames
from treedyn.store._growing import GrowingWriter as GrowingWriter
from treedyn.store._lines import CSVWriter as CSVWriter
from treedyn.store._lines import JSONLinesWriter as JSONLinesWriter
from treedyn.store._lines import read_table as read_table
from treedyn.store._thermo import Thermo as Thermo
from treedyn.store._thermo import ThermoTable as ThermoTable
from treedyn.store._thermo import thermo as thermo
from treedyn.store._writer import FileWriter as FileWriter
from treedyn.store._writer import Writer as Writer
from treedyn.store._zarr import ZarrFrames as ZarrFrames
from treedyn.store._zarr import ZarrWriter as ZarrWriter
from treedyn.store._zarr import read_zarr as read_zarr
