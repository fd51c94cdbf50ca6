"""Networks as simulated systems: posteriors of their parameters, minibatches, and stochastic-gradient dynamics."""

from treedyn.networks import likelihood as likelihood
from treedyn.networks import prior as prior
from treedyn.networks._batches import Batches as Batches
from treedyn.networks._batches import batches as batches
from treedyn.networks._control_variate import control_variate as control_variate
from treedyn.networks._cyclical import cold as cold
from treedyn.networks._cyclical import cyclical as cyclical
from treedyn.networks._gradient_noise import gradient_noise as gradient_noise
from treedyn.networks._posterior import posterior as posterior
from treedyn.networks._stochastic import sghmc as sghmc
from treedyn.networks._stochastic import sgld as sgld
from treedyn.networks._stochastic import sgnht as sgnht
