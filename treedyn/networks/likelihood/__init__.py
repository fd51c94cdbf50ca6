"""Likelihoods: the density of a label, given the prediction of a network."""

from treedyn.networks.likelihood._likelihood import Likelihood as Likelihood
from treedyn.networks.likelihood._likelihood import bernoulli as bernoulli
from treedyn.networks.likelihood._likelihood import categorical as categorical
from treedyn.networks.likelihood._likelihood import from_function as from_function
from treedyn.networks.likelihood._likelihood import gaussian as gaussian
from treedyn.networks.likelihood._likelihood import poisson as poisson
