"""Named methods: each is one line of operators."""

from treedyn.dynamics.andersen import andersen as andersen
from treedyn.dynamics.brownian import brownian as brownian
from treedyn.dynamics.compose import Splitting as Splitting
from treedyn.dynamics.compose import compose as compose
from treedyn.dynamics.dynamics import Dynamics as Dynamics
from treedyn.dynamics.dynamics import Targeted as Targeted
from treedyn.dynamics.ensemble import Ensemble as Ensemble
from treedyn.dynamics.ensemble import ensemble as ensemble
from treedyn.dynamics.langevin import langevin as langevin
from treedyn.dynamics.nose_hoover import nose_hoover as nose_hoover
from treedyn.dynamics.nve import nve as nve
from treedyn.dynamics.rescaled import berendsen as berendsen
from treedyn.dynamics.rescaled import csvr as csvr
