"""Constraints of single numbers: bounds on one or both sides."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import tree
from treedyn.bijector._bijector import Bijector, like


class Identity(Bijector):
    """The real numbers, without constraint."""

    def forward(self, x: jax.Array) -> jax.Array:
        return x

    def inverse(self, y: jax.Array) -> jax.Array:
        return y

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        return jnp.zeros_like(x)

    def contains(self, y: jax.Array) -> jax.Array:
        return jnp.all(jnp.isfinite(y))


class HalfLine(Bijector):
    """The numbers on one side of a bound.

    Attributes:
        bound: the bound.
    """

    sign: ClassVar[int]
    bound: Real[ArrayLike, "..."]

    def forward(self, x: jax.Array) -> jax.Array:
        return like(self.bound, x) + self.sign * jnp.exp(x)

    def inverse(self, y: jax.Array) -> jax.Array:
        return jnp.log(self.sign * (y - like(self.bound, y)))

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        return x

    def contains(self, y: jax.Array) -> jax.Array:
        return jnp.all(self.sign * (y - like(self.bound, y)) > 0)


class Above(HalfLine):
    """The numbers above a bound."""

    sign: ClassVar[int] = 1


class Below(HalfLine):
    """The numbers below a bound."""

    sign: ClassVar[int] = -1


class Interval(Bijector):
    """The numbers between two bounds.

    Attributes:
        low: the lower bound.
        high: the upper bound.
    """

    low: Real[ArrayLike, "..."]
    high: Real[ArrayLike, "..."]

    def forward(self, x: jax.Array) -> jax.Array:
        low, high = like(self.low, x), like(self.high, x)
        return low + (high - low) * jax.nn.sigmoid(x)

    def inverse(self, y: jax.Array) -> jax.Array:
        return jnp.log(y - like(self.low, y)) - jnp.log(like(self.high, y) - y)

    def log_jacobian(self, x: jax.Array) -> jax.Array:
        width = jnp.log(like(self.high, x) - like(self.low, x))
        return width + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)

    def contains(self, y: jax.Array) -> jax.Array:
        return jnp.all((y > like(self.low, y)) & (y < like(self.high, y)))


def identity() -> Identity:
    """Return the bijector of a leaf without constraint."""
    return Identity()


def above(bound: Real[ArrayLike, "..."]) -> Above:
    r"""Build the bijector $y = b + e^x$ onto the numbers above a bound b, which broadcasts against the leaf."""
    return Above(bound=check.floats(check.array("bound", bound, "real numbers")))


def below(bound: Real[ArrayLike, "..."]) -> Below:
    r"""Build the bijector $y = b - e^x$ onto the numbers below a bound b, which broadcasts against the leaf."""
    return Below(bound=check.floats(check.array("bound", bound, "real numbers")))


def positive() -> Above:
    """Build the bijector $y = e^x$ onto the positive numbers.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> print(f"{td.bijector.positive().forward(jnp.array(-1.0)):.3f}")
        0.368
    """
    return above(0.0)


def interval(low: Real[ArrayLike, "..."], high: Real[ArrayLike, "..."]) -> Interval:
    r"""Build the bijector $y = a + (b - a)/(1 + e^{-x})$ onto the numbers between a and b.

    Args:
        low: lower bound a; it broadcasts against the leaf.
        high: upper bound b, above a.

    Raises:
        ValueError: the bounds are not in order.
    """
    bounds = [check.floats(check.array(name, x, "real numbers")) for name, x in (("low", low), ("high", high))]
    known = [tree.known(x) for x in bounds]
    if all(x is not None for x in known) and not (known[0] < known[1]).all():  # type: ignore[index]
        raise ValueError(f"low, high: expected low < high, got {low} and {high}. Exchange the two.")
    return Interval(low=bounds[0], high=bounds[1])
