"""Minimizers, with the same `init` and `step` as every dynamics: a direction, a length, and when to stop."""

from treedyn.minimize.conjugate_gradient import ConjugateGradient as ConjugateGradient
from treedyn.minimize.conjugate_gradient import conjugate_gradient as conjugate_gradient
from treedyn.minimize.converged import Converged as Converged
from treedyn.minimize.converged import converged as converged
from treedyn.minimize.direction import Context as Context
from treedyn.minimize.direction import Direction as Direction
from treedyn.minimize.direction import Steepest as Steepest
from treedyn.minimize.fire import Fire as Fire
from treedyn.minimize.fire import fire as fire
from treedyn.minimize.gradient_descent import gradient_descent as gradient_descent
from treedyn.minimize.lbfgs import LBFGS as LBFGS
from treedyn.minimize.lbfgs import lbfgs as lbfgs
from treedyn.minimize.length import Descent as Descent
from treedyn.minimize.length import Length as Length
from treedyn.minimize.length import Limited as Limited
from treedyn.minimize.length import Line as Line
from treedyn.minimize.length import Whole as Whole
from treedyn.minimize.minimizer import Minimizer as Minimizer
from treedyn.minimize.minimizer import minimizer as minimizer
from treedyn.minimize.optax import as_optax as as_optax
from treedyn.minimize.optax import from_optax as from_optax
from treedyn.minimize.search import Armijo as Armijo
from treedyn.minimize.search import StrongWolfe as StrongWolfe
