"""Minimizers, with the same `init` and `step` as every dynamics."""

from treedyn.minimize.bridge import as_optax as as_optax
from treedyn.minimize.bridge import from_optax as from_optax
from treedyn.minimize.fire import Fire as Fire
from treedyn.minimize.fire import fire as fire
from treedyn.minimize.fire import fire_rule as fire_rule
from treedyn.minimize.gradient_descent import GradientDescent as GradientDescent
from treedyn.minimize.gradient_descent import gradient_descent as gradient_descent
from treedyn.minimize.minimizer import Context as Context
from treedyn.minimize.minimizer import Minimizer as Minimizer
from treedyn.minimize.minimizer import Rule as Rule
from treedyn.minimize.minimizer import minimizer as minimizer
