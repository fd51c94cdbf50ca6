"""Normal densities that approximate another one: starts and masses."""

from abc import abstractmethod
from typing import final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import noise, tree
from treedyn._struct import Struct
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


class Normal(Struct):
    """A normal density over a tree of d moving elements.

    Attributes:
        mean: the mean, a tree like the position.
    """

    mean: PyTree

    @abstractmethod
    def variances(self) -> Float[Array, " d"]:
        """Return the variance of every element, in the order of the leaves."""

    @abstractmethod
    def spread(self, white: Float[Array, " d"]) -> Float[Array, " d"]:
        """Return a draw less the mean, from standard normal noise."""

    @final
    @property
    def scales(self) -> PyTree:
        """Return the standard deviation of every element; `mass = 1 / scales**2` is a diagonal metric."""
        return unflatten(jnp.sqrt(self.variances()), self._part)

    @final
    def draws(self, key: jax.Array, count: int) -> PyTree:
        """Draw positions, stacked along the first axis: starts for `td.per_member`.

        Args:
            key: random key.
            count: number of draws.
        """
        count = check.integer("count", count, 1)
        part = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), self._part)
        white = jax.vmap(flatten)(noise.normal(key, part))
        moved = tree.add(part, jax.vmap(lambda v: unflatten(self.spread(v), self._part))(white))
        boxed = tree.box(self.mean)
        rest = jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), boxed)
        return tree.unbox(tree.merge(moved, rest))

    @property
    def _part(self) -> PyTree:
        return tree.moving(tree.box(self.mean))
