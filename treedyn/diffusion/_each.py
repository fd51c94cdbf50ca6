"""Batches: one position with many independent points along its first axes."""

import jax

from treedyn import _check as check
from treedyn import tree
from treedyn.diffusion._denoiser import Denoiser, Prediction
from treedyn.tree import PyTree


class Each(Denoiser):
    """A denoiser of points, for positions whose leaves have the points along their first axis.

    Attributes:
        denoiser: the denoiser of one point.
    """

    denoiser: Denoiser

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        boxed = tree.box(position)

        def one(part: PyTree) -> Prediction:
            return self.denoiser.predict(tree.unbox(tree.merge(part, boxed)), level, env)

        found = jax.vmap(one)(tree.moving(boxed))
        return found.replace(energy=None if found.energy is None else found.energy.sum())


def each(denoiser: Denoiser) -> Each:
    """Make a denoiser of one point one of a batch, with the points along the first axis of every leaf.

    All points go through the levels together, which is faster than an ensemble, where every member has a step of its
    own. Their noise depends on the size of the batch; that of an ensemble does not.

    Args:
        denoiser: the denoiser of one point.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> pair = diffusion.mixture([0.5, 0.5], mean=[[-1.0, -1.0], [1.0, 1.0]], std=[0.1, 0.1])
        >>> sampler = diffusion.dpmpp_2m(diffusion.each(pair), diffusion.edm(20))
        >>> points = sampler.at(diffusion.VarianceExploding().at(0.0))(jnp.ones((1000, 2)))
        >>> points.force.shape
        (1000, 2)
    """
    return Each(denoiser=check.instance("denoiser", denoiser, Denoiser, "a denoiser"))
