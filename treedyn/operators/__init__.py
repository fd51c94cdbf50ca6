"""Exact flows of single parts of a dynamics. A method is a sequence of them: see `treedyn.compose`."""

from treedyn.operators.collide import Collide as Collide
from treedyn.operators.collide import collide as collide
from treedyn.operators.deform import Deform as Deform
from treedyn.operators.deform import deform as deform
from treedyn.operators.drift import Drift as Drift
from treedyn.operators.drift import drift as drift
from treedyn.operators.kick import Kick as Kick
from treedyn.operators.kick import kick as kick
from treedyn.operators.nose_hoover_chain import NoseHooverChain as NoseHooverChain
from treedyn.operators.nose_hoover_chain import nose_hoover_chain as nose_hoover_chain
from treedyn.operators.operator import Operator as Operator
from treedyn.operators.ornstein_uhlenbeck import OrnsteinUhlenbeck as OrnsteinUhlenbeck
from treedyn.operators.ornstein_uhlenbeck import ornstein_uhlenbeck as ornstein_uhlenbeck
from treedyn.operators.overdamped import Overdamped as Overdamped
from treedyn.operators.overdamped import overdamped as overdamped
from treedyn.operators.remove_drift import RemoveDrift as RemoveDrift
from treedyn.operators.remove_drift import hold_center as hold_center
from treedyn.operators.remove_drift import remove_drift as remove_drift
from treedyn.operators.rescale import Berendsen as Berendsen
from treedyn.operators.rescale import StochasticRescale as StochasticRescale
from treedyn.operators.rescale import berendsen as berendsen
from treedyn.operators.rescale import csvr as csvr
