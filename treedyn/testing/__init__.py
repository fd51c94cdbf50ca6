"""Tests for new targets, spaces and dynamics."""

from treedyn.testing._flat import flat_difference as flat_difference
from treedyn.testing._statistics import sigmas as sigmas
from treedyn.testing._structure import convergence_order as convergence_order
from treedyn.testing._structure import log_volume as log_volume
from treedyn.testing._structure import reversal_error as reversal_error
