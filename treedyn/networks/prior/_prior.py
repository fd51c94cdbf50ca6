"""The `Prior` contract, and priors with independent elements."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn.tree import PyTree


class Prior(Struct):
    """The density of one leaf before any data."""

    @abstractmethod
    def log_density(self, x: Float[Array, "..."]) -> Float[Array, ""]:
        """Return the logarithm of the density of a leaf, normalized where that is possible."""


class Scaled(Prior):
    """A density of independent elements, all of one shape.

    Attributes:
        scale: their scale, a number or an array that broadcasts against the leaf.
    """

    scale: Float[Array, "..."] | float

    def log_density(self, x: jax.Array) -> jax.Array:
        wide = x.astype(tree.dtype(x))
        scale = jnp.broadcast_to(tree.cast(self.scale, wide), wide.shape)
        return jnp.sum(self.standard(wide / scale) - jnp.log(scale))

    @abstractmethod
    def standard(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the logarithm of the density of every element at a scale of 1."""


class Gaussian(Scaled):
    """A normal density."""

    def standard(self, z: jax.Array) -> jax.Array:
        return -(z**2) / 2 - math.log(2 * math.pi) / 2


class Laplace(Scaled):
    """A Laplace density."""

    def standard(self, z: jax.Array) -> jax.Array:
        return -jnp.abs(z) - math.log(2)


class StudentT(Scaled):
    """A Student t density.

    Attributes:
        freedom: degrees of freedom.
    """

    freedom: Float[Array, ""] | float

    def standard(self, z: jax.Array) -> jax.Array:
        n = tree.cast(self.freedom, z)
        constant = gammaln((n + 1) / 2) - gammaln(n / 2) - jnp.log(n * math.pi) / 2
        return constant - (n + 1) / 2 * jnp.log1p(z**2 / n)


class Flat(Prior):
    """The density 1."""

    def log_density(self, x: jax.Array) -> jax.Array:
        return jnp.sum(0 * x.astype(tree.dtype(x)))


class Given(Struct):
    """A prior that depends on other leaves.

    Attributes:
        of: a function of the whole position that returns a prior.
    """

    of: Callable[[PyTree], Prior] = function()


def gaussian(scale: Any = 1.0) -> Prior:
    r"""Build the prior $N(0, s^2)$ of every element of a leaf; weight decay $\lambda$ is $s = \lambda^{-1/2}$.

    Args:
        scale: standard deviation, positive: a number, or an array that broadcasts against the leaf.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn.networks import prior
        >>> print(f"{prior.gaussian(2.0).log_density(jnp.zeros(1)):.3f}")
        -1.612
    """
    return Gaussian(scale=check.array("scale", scale, "a standard deviation", positive=True))


def laplace(scale: Any = 1.0) -> Prior:
    r"""Build the prior $e^{-|x|/s}/2s$ of every element of a leaf.

    Args:
        scale: the scale s, positive: a number, or an array that broadcasts against the leaf.
    """
    return Laplace(scale=check.array("scale", scale, "a scale", positive=True))


def student_t(freedom: Any = 3.0, scale: Any = 1.0) -> Prior:
    r"""Build the heavy-tailed prior $\propto (1 + x^2/\nu s^2)^{-(\nu + 1)/2}$ of every element of a leaf.

    Args:
        freedom: degrees of freedom $\nu$, positive; 1 is the Cauchy density.
        scale: the scale s, positive: a number, or an array that broadcasts against the leaf.
    """
    return StudentT(
        scale=check.array("scale", scale, "a scale", positive=True),
        freedom=check.number("freedom", freedom, positive=True),
    )


def flat() -> Prior:
    """Build the improper prior 1."""
    return Flat()


def given(of: Callable[[PyTree], Prior]) -> Given:
    """Build a prior whose parameters are leaves of the position, such as a scale that is sampled, too.

    Args:
        of: a function of the whole position that returns a prior.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn.networks import prior
        >>> weights = prior.given(lambda position: prior.gaussian(jnp.exp(position["log_scale"])))
        >>> priors = {"net": weights, "log_scale": prior.gaussian()}
        >>> print(f"{prior.log_density(priors, {'net': jnp.ones(3), 'log_scale': jnp.array(0.0)}):.3f}")
        -5.176
    """
    return Given(of=check.function("of", of, "the position"))


def log_density(priors: PyTree, position: PyTree) -> Float[Array, ""]:
    """Return the logarithm of the prior density of a position.

    Args:
        priors: a prior, or a prefix tree of priors, for the floating-point leaves of the position.
        position: the parameters.

    Raises:
        ValueError: the trees do not fit, or a leaf is not a prior.
    """

    def one(own: Any, x: jax.Array) -> jax.Array:
        found = own.of(position) if isinstance(own, Given) else own
        check.instance("prior", found, Prior, "a prior such as prior.gaussian()")
        return found.log_density(x)

    parts = tree.prefix_map(one, priors, tree.moving(tree.box(position)), name="prior", is_leaf=is_prior)
    return tree.total(parts)


def is_prior(value: object) -> bool:
    """Tell whether `value` is a prior."""
    return isinstance(value, Prior | Given)
