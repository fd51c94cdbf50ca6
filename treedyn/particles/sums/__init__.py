"""Sums over neighbors, by gathers alone."""

from treedyn.particles.sums._kernel import PartnerList as PartnerList
from treedyn.particles.sums._kernel import Partners as Partners
from treedyn.particles.sums._kernel import sum_over_partners as sum_over_partners
from treedyn.particles.sums._passes import pair_sum as pair_sum
from treedyn.particles.sums._reciprocal import reciprocal as reciprocal
