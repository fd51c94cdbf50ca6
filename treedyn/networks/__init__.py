"""Networks as simulated systems: posteriors of their parameters, minibatches, and stochastic-gradient dynamics."""

from treedyn.networks import likelihood as likelihood
from treedyn.networks import prior as prior
from treedyn.networks._batches import Batches as Batches
from treedyn.networks._batches import batches as batches
from treedyn.networks._control_variate import control_variate as control_variate
from treedyn.networks._cyclical import cold as cold
from treedyn.networks._cyclical import cyclical as cyclical
from treedyn.networks._gauss_newton import laplace as laplace
from treedyn.networks._gradient_noise import gradient_noise as gradient_noise
from treedyn.networks._posterior import posterior as posterior
from treedyn.networks._predict import Calibration as Calibration
from treedyn.networks._predict import Prediction as Prediction
from treedyn.networks._predict import accuracy as accuracy
from treedyn.networks._predict import calibration as calibration
from treedyn.networks._predict import entropy as entropy
from treedyn.networks._predict import log_score as log_score
from treedyn.networks._predict import predict as predict
from treedyn.networks._sgd import from_sgd as from_sgd
from treedyn.networks._sgd import to_sgd as to_sgd
from treedyn.networks._stochastic import sghmc as sghmc
from treedyn.networks._stochastic import sgld as sgld
from treedyn.networks._stochastic import sgnht as sgnht
