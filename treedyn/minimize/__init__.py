"""Minimizers: dynamics made of a direction and a length, and a condition to stop."""

from treedyn.minimize._conjugate_gradient import ConjugateGradient as ConjugateGradient
from treedyn.minimize._conjugate_gradient import conjugate_gradient as conjugate_gradient
from treedyn.minimize._converged import Converged as Converged
from treedyn.minimize._converged import converged as converged
from treedyn.minimize._direction import Context as Context
from treedyn.minimize._direction import Direction as Direction
from treedyn.minimize._fire import Fire as Fire
from treedyn.minimize._fire import fire as fire
from treedyn.minimize._gradient_descent import Steepest as Steepest
from treedyn.minimize._gradient_descent import gradient_descent as gradient_descent
from treedyn.minimize._lbfgs import LBFGS as LBFGS
from treedyn.minimize._lbfgs import lbfgs as lbfgs
from treedyn.minimize._length import Descent as Descent
from treedyn.minimize._length import Length as Length
from treedyn.minimize._length import Limited as Limited
from treedyn.minimize._length import Line as Line
from treedyn.minimize._length import Whole as Whole
from treedyn.minimize._minimizer import Minimizer as Minimizer
from treedyn.minimize._minimizer import minimizer as minimizer
from treedyn.minimize._optax import as_optax as as_optax
from treedyn.minimize._optax import from_optax as from_optax
from treedyn.minimize._search import Armijo as Armijo
from treedyn.minimize._search import StrongWolfe as StrongWolfe
