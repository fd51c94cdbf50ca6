"""Exact flows of single parts of a dynamics; a method is a sequence of them, see `treedyn.compose`.

`kT`, `gamma`, `tau` and rates are numbers: a constant, a schedule (a function of the step), or a prefix tree of both.
Leaves whose labels in `groups` are equal share a thermostat; by default there is one for every value in `kT`.
"""

from treedyn.operators._collide import Collide as Collide
from treedyn.operators._collide import collide as collide
from treedyn.operators._deform import Deform as Deform
from treedyn.operators._deform import deform as deform
from treedyn.operators._drift import Drift as Drift
from treedyn.operators._drift import drift as drift
from treedyn.operators._isokinetic import IsokineticBath as IsokineticBath
from treedyn.operators._isokinetic import IsokineticKick as IsokineticKick
from treedyn.operators._isokinetic import isokinetic_bath as isokinetic_bath
from treedyn.operators._isokinetic import isokinetic_kick as isokinetic_kick
from treedyn.operators._kick import Kick as Kick
from treedyn.operators._kick import kick as kick
from treedyn.operators._nose_hoover_chain import NoseHooverChain as NoseHooverChain
from treedyn.operators._nose_hoover_chain import nose_hoover_chain as nose_hoover_chain
from treedyn.operators._operator import Operator as Operator
from treedyn.operators._ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from treedyn.operators._ornstein_uhlenbeck import ornstein_uhlenbeck as ornstein_uhlenbeck
from treedyn.operators._overdamped import Overdamped as Overdamped
from treedyn.operators._overdamped import overdamped as overdamped
from treedyn.operators._refresh import Refresh as Refresh
from treedyn.operators._refresh import refresh as refresh
from treedyn.operators._remove_drift import RemoveDrift as RemoveDrift
from treedyn.operators._remove_drift import hold_center as hold_center
from treedyn.operators._remove_drift import remove_drift as remove_drift
from treedyn.operators._rescale import Berendsen as Berendsen
from treedyn.operators._rescale import StochasticRescale as StochasticRescale
from treedyn.operators._rescale import berendsen as berendsen
from treedyn.operators._rescale import csvr as csvr
from treedyn.operators._white_noise import WhiteNoise as WhiteNoise
from treedyn.operators._white_noise import white_noise as white_noise
