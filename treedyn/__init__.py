"""Simulate any PyTree: atoms in a box, the weights of a network, an image, or all of them in one tree.

The core knows only PyTrees. `treedyn.particles` and other plugins supply targets and spaces.
"""

from treedyn import environment as environment
from treedyn import files as files
from treedyn import minimize as minimize
from treedyn import noise as noise
from treedyn import operators as operators
from treedyn import stream as stream
from treedyn import tree as tree
from treedyn.diagnostics import certify as certify
from treedyn.diagnostics import degrees_of_freedom as degrees_of_freedom
from treedyn.diagnostics import kinetic_energy as kinetic_energy
from treedyn.diagnostics import standard_error as standard_error
from treedyn.diagnostics import temperature as temperature
from treedyn.diagnostics import thermal_momentum as thermal_momentum
from treedyn.driver import DamagedFile as DamagedFile
from treedyn.driver import Output as Output
from treedyn.driver import OutputError as OutputError
from treedyn.driver import Run as Run
from treedyn.driver import Trajectory as Trajectory
from treedyn.driver import load as load
from treedyn.driver import run as run
from treedyn.driver import save as save
from treedyn.driver import trajectory as trajectory
from treedyn.dynamics import Dynamics as Dynamics
from treedyn.dynamics import Ensemble as Ensemble
from treedyn.dynamics import Splitting as Splitting
from treedyn.dynamics import Targeted as Targeted
from treedyn.dynamics import andersen as andersen
from treedyn.dynamics import berendsen as berendsen
from treedyn.dynamics import brownian as brownian
from treedyn.dynamics import compose as compose
from treedyn.dynamics import csvr as csvr
from treedyn.dynamics import ensemble as ensemble
from treedyn.dynamics import jointly as jointly
from treedyn.dynamics import langevin as langevin
from treedyn.dynamics import nose_hoover as nose_hoover
from treedyn.dynamics import nve as nve
from treedyn.environment import Advancing as Advancing
from treedyn.environment import Refreshable as Refreshable
from treedyn.environment import Timed as Timed
from treedyn.member import PerMember as PerMember
from treedyn.member import per_member as per_member
from treedyn.member import stack as stack
from treedyn.metric import Metric as Metric
from treedyn.minimize import Minimizer as Minimizer
from treedyn.minimize import as_optax as as_optax
from treedyn.minimize import conjugate_gradient as conjugate_gradient
from treedyn.minimize import converged as converged
from treedyn.minimize import fire as fire
from treedyn.minimize import from_optax as from_optax
from treedyn.minimize import gradient_descent as gradient_descent
from treedyn.minimize import lbfgs as lbfgs
from treedyn.minimize import minimizer as minimizer
from treedyn.operators import Operator as Operator
from treedyn.space import Manifold as Manifold
from treedyn.space import Space as Space
from treedyn.space import as_space as as_space
from treedyn.space import euclidean as euclidean
from treedyn.sphere import rotations as rotations
from treedyn.sphere import sphere as sphere
from treedyn.state import State as State
from treedyn.status import SimulationError as SimulationError
from treedyn.status import Status as Status
from treedyn.struct import Struct as Struct
from treedyn.struct import function as function
from treedyn.struct import static as static
from treedyn.target import Evaluation as Evaluation
from treedyn.target import Target as Target
from treedyn.target import from_energy as from_energy
from treedyn.target import from_force as from_force
from treedyn.target import from_log_density as from_log_density
from treedyn.target import from_score as from_score

__version__ = "0.1.0"
