"""Monte Carlo: dynamics that propose, and accept or reject by the rule of Metropolis."""

from treedyn.montecarlo._hmc import ghmc as ghmc
from treedyn.montecarlo._hmc import hmc as hmc
from treedyn.montecarlo._hmc import mala as mala
from treedyn.montecarlo._hmc import malt as malt
from treedyn.montecarlo._metropolis import Acceptance as Acceptance
from treedyn.montecarlo._metropolize import Metropolized as Metropolized
from treedyn.montecarlo._metropolize import metropolize as metropolize
from treedyn.montecarlo._nuts import NoUTurn as NoUTurn
from treedyn.montecarlo._nuts import Orbit as Orbit
from treedyn.montecarlo._nuts import nuts as nuts
from treedyn.montecarlo._random_walk import RandomWalk as RandomWalk
from treedyn.montecarlo._random_walk import random_walk as random_walk
