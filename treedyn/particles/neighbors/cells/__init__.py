"""Cell lists, from which neighbor lists are built."""

from treedyn.particles.neighbors.cells._build import Rows as Rows
from treedyn.particles.neighbors.cells._build import mark as mark
from treedyn.particles.neighbors.cells._build import write as write
from treedyn.particles.neighbors.cells._cells import Grid as Grid
from treedyn.particles.neighbors.cells._cells import heights as heights
from treedyn.particles.neighbors.cells._cells import make_grid as make_grid
from treedyn.particles.neighbors.cells._cells import sort_by_cell as sort_by_cell
from treedyn.particles.neighbors.cells._cells import to_real as to_real
from treedyn.particles.neighbors.cells._masks import Room as Room
from treedyn.particles.neighbors.cells._masks import compare as compare
from treedyn.particles.neighbors.cells._masks import cut as cut
from treedyn.particles.neighbors.cells._masks import read_out as read_out
