"""kUPS, which needs Python 3.12 or newer: listed, but without a program that does the work."""

from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work


def build(work: Work, system: System) -> Program:
    """Refuse: its simulations are described by files, in units of its own, and do not say how long a step took."""
    raise NotOffered("no comparison with it has been written")
