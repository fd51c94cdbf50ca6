"""Monte Carlo: dynamics that propose, and accept or reject by the rule of Metropolis."""

from treedyn.montecarlo._dual_averaging import DualAveraging as DualAveraging
from treedyn.montecarlo._estimator import Estimator as Estimator
from treedyn.montecarlo._estimator import fisher as fisher
from treedyn.montecarlo._estimator import variance as variance
from treedyn.montecarlo._gibbs import Gibbs as Gibbs
from treedyn.montecarlo._gibbs import gibbs as gibbs
from treedyn.montecarlo._hmc import ghmc as ghmc
from treedyn.montecarlo._hmc import hmc as hmc
from treedyn.montecarlo._hmc import mala as mala
from treedyn.montecarlo._hmc import malt as malt
from treedyn.montecarlo._laplace import Laplace as Laplace
from treedyn.montecarlo._laplace import laplace as laplace
from treedyn.montecarlo._low_rank import low_rank as low_rank
from treedyn.montecarlo._metropolis import Acceptance as Acceptance
from treedyn.montecarlo._metropolize import Metropolized as Metropolized
from treedyn.montecarlo._metropolize import metropolize as metropolize
from treedyn.montecarlo._nuts import NoUTurn as NoUTurn
from treedyn.montecarlo._nuts import Orbit as Orbit
from treedyn.montecarlo._nuts import nuts as nuts
from treedyn.montecarlo._random_walk import RandomWalk as RandomWalk
from treedyn.montecarlo._random_walk import random_walk as random_walk
from treedyn.montecarlo._tunable import Tunable as Tunable
from treedyn.montecarlo._warm_up import Tuning as Tuning
from treedyn.montecarlo._warm_up import WarmUp as WarmUp
from treedyn.montecarlo._warm_up import warm_up as warm_up
