"""Constrained parameters: maps from free coordinates, and targets in them."""

from treedyn.bijector._bijector import Bijector as Bijector
from treedyn.bijector._numbers import above as above
from treedyn.bijector._numbers import below as below
from treedyn.bijector._numbers import identity as identity
from treedyn.bijector._numbers import interval as interval
from treedyn.bijector._numbers import positive as positive
from treedyn.bijector._numpyro import NumPyroTarget as NumPyroTarget
from treedyn.bijector._numpyro import from_numpyro as from_numpyro
from treedyn.bijector._transformed import TransformedTarget as TransformedTarget
from treedyn.bijector._transformed import transformed as transformed
from treedyn.bijector._vectors import cholesky_of_correlation as cholesky_of_correlation
from treedyn.bijector._vectors import ordered as ordered
from treedyn.bijector._vectors import simplex as simplex
