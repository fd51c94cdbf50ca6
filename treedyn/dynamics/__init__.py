"""The `Dynamics` contract, dynamics made of operators, and ensembles."""

from treedyn.dynamics._andersen import andersen as andersen
from treedyn.dynamics._brownian import brownian as brownian
from treedyn.dynamics._compose import Splitting as Splitting
from treedyn.dynamics._compose import compose as compose
from treedyn.dynamics._dynamics import Dynamics as Dynamics
from treedyn.dynamics._dynamics import Targeted as Targeted
from treedyn.dynamics._ensemble import Ensemble as Ensemble
from treedyn.dynamics._ensemble import ensemble as ensemble
from treedyn.dynamics._in_turn import InTurn as InTurn
from treedyn.dynamics._in_turn import in_turn as in_turn
from treedyn.dynamics._langevin import langevin as langevin
from treedyn.dynamics._mclmc import mclmc as mclmc
from treedyn.dynamics._nose_hoover import nose_hoover as nose_hoover
from treedyn.dynamics._nve import nve as nve
from treedyn.dynamics._rescaled import berendsen as berendsen
from treedyn.dynamics._rescaled import csvr as csvr
