"""Sums over neighbors, by gathers alone."""

from treedyn.particles.sums._neighbor_sum import neighbor_sum as neighbor_sum
from treedyn.particles.sums._reciprocal import reciprocal as reciprocal
