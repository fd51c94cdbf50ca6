"""A metric with a few directions that are stiffer or softer than the elements of a leaf."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from treedyn import tree
from treedyn.metric._metric import Metric


class LowRank(Metric):
    r"""One mass for every element of a leaf, times a factor along each of a few directions.

    $$ M = m^{1/2} \Big(1 + \sum_k (c_k - 1)\,u_k u_k^T\Big) m^{1/2} $$

    Attributes:
        mass: masses m of the elements, in the shape of the leaf; infinite where an element cannot move.
        directions: orthonormal vectors u, stacked along the first axis, `[k, *leaf]`; zero where the mass is infinite.
        factors: positive numbers c, `[k]`.
    """

    mass: Float[Array, "..."]
    directions: Float[Array, "directions ..."]
    factors: Float[Array, " directions"]

    def velocity(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        root = jnp.sqrt(self.mass)
        return self._scaled(momentum / root, 1 / self.factors) / root

    def twice_kinetic(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        white = self._scaled(momentum / jnp.sqrt(self.mass), 1 / jnp.sqrt(self.factors))
        wide = white.astype(tree.dtype(white))
        return wide * wide

    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        """Return the momentum of white noise; the momentum of an infinite mass is zero.

        Raises:
            ValueError: the elements have several temperatures, which masses between them would mix.
        """
        if jnp.size(kT) != 1:
            raise ValueError(f"kT: expected one number for a leaf with a LowRank metric, got shape {jnp.shape(kT)}")
        finite = jnp.isfinite(self.mass)
        root = jnp.sqrt(jnp.where(finite, self.mass, 1) * kT)
        return jnp.where(finite, root * self._scaled(noise, jnp.sqrt(self.factors)), 0)

    def degrees(self, position: jax.Array) -> ArrayLike:
        return jnp.sum(jnp.broadcast_to(jnp.isfinite(self.mass), position.shape))

    def _scaled(self, x: jax.Array, factors: jax.Array) -> jax.Array:
        """Return a leaf with its parts along the directions multiplied by factors."""
        along = jnp.tensordot(self.directions, x, x.ndim) * (factors - 1)
        return x + jnp.tensordot(along, self.directions, 1)
