"""Neighbor lists: what to list, the list itself, and when it has to be built again."""

from treedyn.particles.neighbors._list import NeighborList as NeighborList
from treedyn.particles.neighbors._spec import NeighborLists as NeighborLists
from treedyn.particles.neighbors._spec import neighbor_list as neighbor_list
