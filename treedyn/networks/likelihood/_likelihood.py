"""The `Likelihood` contract, and the usual ones."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn.tree import PyTree


class Likelihood(Struct):
    """The density of the label of one datum, given the prediction of a network."""

    @abstractmethod
    def log_density(self, prediction: PyTree, label: PyTree) -> Float[Array, " n"]:
        """Return the logarithm of the density of every label; data are along the first axis."""

    @abstractmethod
    def mean(self, prediction: PyTree) -> PyTree:
        """Return the mean of the label: a value, or the probabilities of the classes."""

    def check(self, prediction: PyTree, label: PyTree) -> None:
        """Check labels whose numbers are known.

        Raises:
            ValueError: a label is not one that the likelihood allows.
        """


class Gaussian(Likelihood):
    """A normal density.

    Attributes:
        sd: standard deviation of the noise; `None` where the prediction is a pair of mean and standard deviation.
    """

    sd: Float[Array, "..."] | float | None

    def log_density(self, prediction: PyTree, label: PyTree) -> jax.Array:
        mean, sd = prediction if self.sd is None else (prediction, self.sd)
        label, sd = tree.cast(label, mean), jnp.broadcast_to(tree.cast(sd, mean), mean.shape)
        _same_shape(mean, label)
        return _sum(-(((label - mean) / sd) ** 2) / 2 - jnp.log(sd) - math.log(2 * math.pi) / 2)

    def mean(self, prediction: PyTree) -> PyTree:
        return prediction[0] if self.sd is None else prediction


class Categorical(Likelihood):
    """Classes, from logits along the last axis."""

    def log_density(self, prediction: PyTree, label: PyTree) -> jax.Array:
        label = jnp.asarray(label)
        if not jnp.issubdtype(label.dtype, jnp.integer) or label.shape != prediction.shape[:-1]:
            raise ValueError(
                f"labels: expected integers of shape {prediction.shape[:-1]}, the numbers of the classes, got "
                f"{label.dtype}{list(label.shape)}. For one-hot labels, use labels.argmax(-1)."
            )
        classes = prediction.shape[-1]
        known = (label >= 0) & (label < classes)
        place = jnp.clip(label, 0, classes - 1)[..., None]
        found = jnp.take_along_axis(jax.nn.log_softmax(prediction, axis=-1), place, axis=-1)[..., 0]
        # a class that does not exist is not another one
        return _sum(jnp.where(known, found, jnp.nan))

    def mean(self, prediction: PyTree) -> PyTree:
        return jax.nn.softmax(prediction, axis=-1)

    def check(self, prediction: PyTree, label: PyTree) -> None:
        classes = jnp.shape(prediction)[-1]
        _check_all(label, lambda y: (y >= 0) & (y < classes), f"from 0 to {classes - 1}, the numbers of the classes")


class Bernoulli(Likelihood):
    """Yes or no, from the logit of yes."""

    def log_density(self, prediction: PyTree, label: PyTree) -> jax.Array:
        label = tree.cast(label, prediction)
        _same_shape(prediction, label)
        return _sum(label * prediction - jax.nn.softplus(prediction))

    def mean(self, prediction: PyTree) -> PyTree:
        return jax.nn.sigmoid(prediction)

    def check(self, prediction: PyTree, label: PyTree) -> None:
        _check_all(label, lambda y: (y == 0) | (y == 1), "0 or 1")


class Poisson(Likelihood):
    """Counts, from the logarithm of the rate."""

    def log_density(self, prediction: PyTree, label: PyTree) -> jax.Array:
        label = tree.cast(label, prediction)
        _same_shape(prediction, label)
        return _sum(label * prediction - jnp.exp(prediction) - gammaln(label + 1))

    def mean(self, prediction: PyTree) -> PyTree:
        return jnp.exp(prediction)

    def check(self, prediction: PyTree, label: PyTree) -> None:
        _check_all(label, lambda y: (y >= 0) & (y == np.floor(y)), "counts")


class FromFunction(Likelihood):
    """A likelihood of the user.

    Attributes:
        density: `density(prediction, label)` of one datum, returns the logarithm of the density.
        expected: `expected(prediction)`, the mean of the label.
    """

    density: Callable[[PyTree, PyTree], Any] = function()
    expected: Callable[[PyTree], PyTree] = function()

    def log_density(self, prediction: PyTree, label: PyTree) -> jax.Array:
        return jax.vmap(self.density)(prediction, label)

    def mean(self, prediction: PyTree) -> PyTree:
        return jax.vmap(self.expected)(prediction)


def gaussian(sd: Any = None) -> Likelihood:
    r"""Build the likelihood $N(y; f, \sigma^2)$.

    Args:
        sd: standard deviation of the noise, positive: a number, or an array that broadcasts against the prediction. By
            default it is learned: the prediction is a pair `(mean, sd)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn.networks import likelihood
        >>> print(likelihood.gaussian(0.5).log_density(jnp.zeros(2), jnp.array([0.0, 2.0])).round(1))
        [-0.2 -8.2]
    """
    return Gaussian(sd=None if sd is None else check.array("sd", sd, "a standard deviation", positive=True))


def categorical() -> Likelihood:
    """Build the likelihood of a class; predictions are logits `[..., classes]`, labels are integers."""
    return Categorical()


def bernoulli() -> Likelihood:
    """Build the likelihood of 0 or 1; predictions are logits of 1, in the shape of the labels."""
    return Bernoulli()


def poisson() -> Likelihood:
    """Build the likelihood of a count; predictions are logarithms of the rate, in the shape of the labels."""
    return Poisson()


def from_function(
    density: Callable[[PyTree, PyTree], Any], expected: Callable[[PyTree], PyTree] = lambda prediction: prediction
) -> Likelihood:
    """Build a likelihood from any log density of one datum.

    Args:
        density: `density(prediction, label)`, both of one datum, returns the logarithm of the density, a scalar.
        expected: `expected(prediction)`, the mean of the label; by default the prediction.
    """
    return FromFunction(
        density=check.function("density", density, "a prediction and a label", 2),
        expected=check.function("expected", expected, "a prediction"),
    )


def _sum(x: jax.Array) -> jax.Array:
    """Return the sums over all axes but the first."""
    return jnp.sum(x.reshape(x.shape[0], -1), axis=1)


def _same_shape(prediction: jax.Array, label: jax.Array) -> None:
    if prediction.shape != label.shape:
        raise ValueError(
            f"labels: expected the shape of the predictions, {prediction.shape}, got {label.shape}. Reshape one of "
            "them."
        )


def _check_all(label: PyTree, good: Callable[[np.ndarray], np.ndarray], what: str) -> None:
    known = tree.known(label)
    if known is not None and not np.all(good(known)):
        raise ValueError(f"labels: expected {what}, got {known[~good(known)].flat[0]}. Check the labels.")
