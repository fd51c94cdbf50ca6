"""Predictions of many networks, and scores of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Int

from treedyn import _check as check
from treedyn._state import State
from treedyn._struct import Struct, function
from treedyn.networks.likelihood import Likelihood
from treedyn.tree import PyTree


class Prediction(Struct):
    """What one network predicts.

    Attributes:
        mean: the mean of the label: a value, or the probabilities of the classes.
        density: the density of the right label of every datum.
    """

    mean: PyTree
    density: Float[jax.Array, " n"]


class Predict(Struct):
    """The prediction of the network of a state, for reducers and records.

    Attributes:
        apply: `apply(parameters, inputs)`.
        likelihood: density of the labels.
        inputs: inputs of the data.
        labels: labels of the data.
        parameters: the part of a position with the parameters.
    """

    apply: Callable[[PyTree, PyTree], PyTree] = function()
    likelihood: Likelihood
    inputs: PyTree
    labels: PyTree
    parameters: Callable[[PyTree], PyTree] = function()

    def __call__(self, state: State) -> Prediction:
        """Return the prediction."""
        found = self.apply(self.parameters(state.position), self.inputs)
        density = jnp.exp(self.likelihood.log_density(found, self.labels))
        return Prediction(mean=self.likelihood.mean(found), density=density)


def predict(
    apply: Callable[[PyTree, PyTree], PyTree],
    likelihood: Likelihood,
    data: tuple[PyTree, PyTree],
    *,
    parameters: Callable[[PyTree], PyTree] = lambda position: position,
) -> Predict:
    r"""Build an observable: what the network of a state predicts for data.

    Its mean over the samples is the posterior predictive distribution,
    $p(y \mid x) = \langle p(y \mid f(x; \theta)) \rangle_\theta$. Its variance is the disagreement of the networks.

    Args:
        apply: `apply(parameters, inputs)`, returns the predictions.
        likelihood: density of the labels.
        data: inputs and labels, such as those of a test set.
        parameters: the part of a position with the parameters; by default all of it.

    Returns:
        A function of a state, for `td.stream.mean` and others. It returns `mean` and `density`.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> noise, line = networks.likelihood.gaussian(0.5), lambda w, x: w * x
        >>> data = jnp.array([-1.0, 1.0]), jnp.array([-1.0, 1.0])
        >>> chains = td.ensemble(td.nuts(networks.posterior(line, noise, networks.prior.gaussian()), dt=0.3), 4)
        >>> state = chains.init(jax.random.key(0), jnp.array(1.0), data)
        >>> seen = networks.predict(line, noise, (jnp.array([3.0]), jnp.array([3.0])))
        >>> spread = td.stream.pooled(td.stream.variance(seen))
        >>> found = td.run(chains, state, data, steps=500, reduce=spread).reduced
        >>> print(abs(found.mean.mean - 2.67) < 0.2, jnp.sqrt(found.variance.mean).round(1))
        [ True] [1.]
    """
    check.function("apply", apply, "parameters and inputs", 2)
    check.instance("likelihood", likelihood, Likelihood, "a likelihood such as likelihood.categorical()")
    if not (isinstance(data, tuple | list) and len(data) == 2):
        raise ValueError(f"data: expected a pair (inputs, labels), got {check.brief(data)}.")
    return Predict(
        apply=apply,
        likelihood=likelihood,
        inputs=data[0],
        labels=data[1],
        parameters=check.function("parameters", parameters, "the position"),
    )


class Calibration(NamedTuple):
    """How often the most probable class is right, by its probability.

    Attributes:
        confidence: mean probability of the class in every bin; NaN in an empty one.
        accuracy: part of the data of every bin for which the class is right.
        size: number of data in every bin.
        error: expected calibration error: the mean distance of the two over all data.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    size: np.ndarray
    error: float


def calibration(
    probabilities: Float[ArrayLike, "n classes"], labels: Int[ArrayLike, " n"], bins: int = 15
) -> Calibration:
    """Return the calibration of probabilities of classes.

    Args:
        probabilities: probabilities, such as the mean of `predict` over the samples.
        labels: the right classes.
        bins: number of bins of the probability.

    Example:
        >>> import numpy as np
        >>> from treedyn import networks
        >>> sure = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
        >>> round(networks.calibration(sure, np.array([0, 0, 1, 0])).error, 2)
        0.2

    Reference:
        Guo et al., ICML 34, 1321 (2017), arXiv:1706.04599.
    """
    chances, right = _classes(probabilities, labels)
    count = check.integer("bins", bins, 1)
    sure, hit = chances.max(axis=1), chances.argmax(axis=1) == right
    place = np.minimum((sure * count).astype(int), count - 1)
    counts = np.bincount(place, minlength=count)
    with np.errstate(invalid="ignore"):
        confidence, accuracy = (np.bincount(place, x, minlength=count) / counts for x in (sure, hit))
    error = float(np.nansum(counts * np.abs(confidence - accuracy)) / len(sure))
    return Calibration(confidence, accuracy, counts, error)


def accuracy(probabilities: Float[ArrayLike, "n classes"], labels: Int[ArrayLike, " n"]) -> float:
    """Return the part of the data for which the most probable class is right.

    Args:
        probabilities: probabilities of the classes.
        labels: the right classes.
    """
    chances, right = _classes(probabilities, labels)
    return float(np.mean(chances.argmax(axis=1) == right))


def log_score(density: Float[ArrayLike, " n"]) -> float:
    """Return the mean logarithm of the density of the right labels; larger is better.

    Args:
        density: mean density of the label of every datum over the samples, from `predict`.
    """
    return float(np.mean(np.log(check.reals("density", density, "an array [n]", (1,)))))


def entropy(probabilities: Float[ArrayLike, "*shape classes"]) -> Float[np.ndarray, "*shape"]:
    """Return the entropy of probabilities of classes, large for data unlike those of the training.

    Args:
        probabilities: probabilities of the classes along the last axis.
    """
    p = check.reals("probabilities", probabilities, "an array [..., classes]")
    return -np.sum(np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0), axis=-1)


def _classes(probabilities: ArrayLike, labels: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    chances = check.reals("probabilities", probabilities, "an array [n, classes]", (2,))
    right = np.asarray(labels)
    if right.shape != chances.shape[:1] or not np.issubdtype(right.dtype, np.integer):
        raise ValueError(
            f"labels: expected {len(chances)} integers, the numbers of the classes, got {right.dtype}"
            f"{list(right.shape)}. For one-hot labels, use labels.argmax(-1)."
        )
    return chances, right
