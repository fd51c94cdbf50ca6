r"""The hyperparameters of a training as those of a dynamics.

Gradient descent with momentum for the mean loss L of N data, $v' = \mu v + \nabla L$ and $\theta' = \theta - \eta v'$,
is the Langevin dynamics O B A at kT = 0 with the energy U = N L:

$$ h = \sqrt{\eta/N}, \qquad \gamma = -\ln(\mu)/h, \qquad p = -v\,\sqrt{\eta N}. $$

The loss of a posterior has a weight decay $\lambda$ for the prior $N(0, 1/N\lambda)$.
"""

import math
from typing import NamedTuple

from treedyn import _check as check


class Langevin(NamedTuple):
    """Hyperparameters of Langevin dynamics.

    Attributes:
        dt: time step h.
        gamma: friction.
        prior_scale: standard deviation of the Gaussian prior; infinite without weight decay.
    """

    dt: float
    gamma: float
    prior_scale: float


class SGD(NamedTuple):
    """Hyperparameters of gradient descent on the mean loss.

    Attributes:
        learning_rate: the learning rate.
        momentum: the part of the velocity that is kept.
        weight_decay: the factor of the parameters in the gradient.
    """

    learning_rate: float
    momentum: float
    weight_decay: float


def from_sgd(learning_rate: float, momentum: float, data_size: int, weight_decay: float = 0.0) -> Langevin:
    r"""Return the Langevin dynamics that gradient descent with momentum is at kT = 0, with `splitting="OBA"`.

    Args:
        learning_rate: learning rate $\eta$ of the mean loss, positive.
        momentum: momentum $\mu$, between 0 and 1.
        data_size: number N of data.
        weight_decay: weight decay $\lambda$, zero or positive.

    Example:
        >>> from treedyn import networks
        >>> settings = networks.from_sgd(learning_rate=0.1, momentum=0.9, data_size=1000)
        >>> print(f"{settings.dt:.4f} {settings.gamma:.2f}")
        0.0100 10.54
        >>> back = networks.to_sgd(settings.dt, settings.gamma, data_size=1000)
        >>> print(f"{back.learning_rate:.3f} {back.momentum:.3f}")
        0.100 0.900

    Reference:
        Wenzel et al., ICML 37, 10248 (2020), arXiv:2002.02405.
    """
    rate = float(check.number("learning_rate", learning_rate, positive=True))
    kept = float(check.number("momentum", momentum, "one number between 0 and 1", positive=True))
    if not kept < 1:
        raise ValueError(f"momentum: expected one number between 0 and 1, got {kept}.")
    size, decay = check.integer("data_size", data_size, 1), float(check.number("weight_decay", weight_decay))
    if decay < 0:
        raise ValueError(f"weight_decay: expected zero or a positive number, got {decay}.")
    dt = math.sqrt(rate / size)
    return Langevin(dt, -math.log(kept) / dt, 1 / math.sqrt(size * decay) if decay else math.inf)


def to_sgd(dt: float, gamma: float, data_size: int, prior_scale: float = math.inf) -> SGD:
    """Return the gradient descent with momentum that Langevin dynamics is at kT = 0; the inverse of `from_sgd`.

    Args:
        dt: time step, positive.
        gamma: friction, positive.
        data_size: number of data.
        prior_scale: standard deviation of the Gaussian prior, positive.
    """
    h, rate = (float(check.number(name, x, positive=True)) for name, x in (("dt", dt), ("gamma", gamma)))
    size = check.integer("data_size", data_size, 1)
    scale = float(check.array("prior_scale", prior_scale, "one number", (0,), positive=True, finite=False))
    return SGD(size * h**2, math.exp(-rate * h), 1 / (size * scale**2))
