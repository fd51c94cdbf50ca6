"""Couplings: which noise goes with which data in a batch."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._extras import require
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Coupling(Struct):
    """A rule that pairs the data of a batch with its noise."""

    @abstractmethod
    def pair(self, data: PyTree, noise: PyTree) -> tuple[PyTree, PyTree]:
        """Return data and noise of a batch, with point k of one belonging to point k of the other."""


class Independent(Coupling):
    """Noise that does not depend on the data."""

    def pair(self, data: PyTree, noise: PyTree) -> tuple[PyTree, PyTree]:
        return data, noise


class OptimalTransport(Coupling):
    """The permutation of the noise with the least sum of squared distances to the data.

    The data keep their places, so what is given of a point stays with it.
    """

    def pair(self, data: PyTree, noise: PyTree) -> tuple[PyTree, PyTree]:
        part = tree.moving(tree.box(data))
        kind = tree.dtype(part)

        def cost(x: jax.Array, e: jax.Array) -> jax.Array:
            x, e = (y.reshape(y.shape[0], -1).astype(kind) for y in (x, e))
            return jnp.sum(x**2, axis=1)[:, None] + jnp.sum(e**2, axis=1)[None, :] - 2 * x @ e.T

        costs = sum(jax.tree.leaves(jax.tree.map(cost, part, noise)))
        count = jax.tree.leaves(noise)[0].shape[0]
        # the gradient of a loss is not that of the pairing
        shape = jax.ShapeDtypeStruct((count,), jnp.int32)
        order = jax.pure_callback(_assigned, shape, jax.lax.stop_gradient(costs), vmap_method="sequential")
        return data, jax.tree.map(lambda e: e[order], noise)


def _assigned(costs: jax.Array) -> np.ndarray:
    optimize = require("scipy.optimize", "diffusion")
    return optimize.linear_sum_assignment(np.asarray(costs))[1].astype(np.int32)


independent = Independent()
"""Noise that does not depend on the data, the default."""

optimal_transport = OptimalTransport()
"""The noise of a batch with the shortest way to its data; needs SciPy: `pip install "treedyn[diffusion]"`."""
