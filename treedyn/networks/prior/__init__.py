"""Priors of the parameters of a network: one for every leaf, or a prefix tree of them."""

from treedyn.networks.prior._prior import Prior as Prior
from treedyn.networks.prior._prior import flat as flat
from treedyn.networks.prior._prior import gaussian as gaussian
from treedyn.networks.prior._prior import given as given
from treedyn.networks.prior._prior import is_prior as is_prior
from treedyn.networks.prior._prior import laplace as laplace
from treedyn.networks.prior._prior import log_density as log_density
from treedyn.networks.prior._prior import student_t as student_t
