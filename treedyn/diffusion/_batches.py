"""Batches of data with fresh noise in every step of a training."""

from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn._state import State
from treedyn._struct import static
from treedyn.dynamics._dynamics import check_key
from treedyn.environment import Advancing
from treedyn.tree import PyTree


class Batches(Advancing):
    """A random batch of data in every step; its noise is a function of the key and of the step.

    Attributes:
        data: the data; the first axis of every leaf is that of the points.
        given: what the denoiser is told of every point, such as a class; a tree in the same form, or `None`.
        key: random key.
        step: number of the batch.
        size: number of points in a batch.
    """

    data: PyTree
    given: PyTree
    key: jax.Array
    step: Int[Array, ""]
    size: int = static()

    def advance(self, state: State) -> Self:
        """Return the batch of the next step."""
        return self.replace(step=state.step + 1)

    def batch(self) -> tuple[PyTree, jax.Array, PyTree]:
        """Return the points of the batch, the key of its noise, and what is given of its points."""
        key = random.at_step(self.key, self.step)
        count = jnp.shape(jax.tree.leaves(self.data)[0])[0]
        places = jax.random.randint(random.at_path(key, "batch"), (self.size,), 0, count)
        data, given = jax.tree.map(lambda x: jnp.asarray(x)[places], (self.data, self.given))
        return data, key, given


def batches(data: PyTree, size: int, key: jax.Array, *, given: PyTree = None) -> Batches:
    """Make random batches of data, as the environment of a training.

    Args:
        data: floating-point data; the first axis of every leaf is that of the points.
        size: number of points in a batch.
        key: random key of batches, levels and noise.
        given: what the denoiser is told of every point, such as its class: a tree with the same first axis.

    Raises:
        ValueError: the leaves have different first axes, or there are integers among the data.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> env = diffusion.batches(jnp.zeros((100, 2)), 16, jax.random.key(0))
        >>> env.batch()[0].shape
        (16, 2)
    """
    check_key(key)
    lengths = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves((data, given))}
    if len(lengths) != 1 or lengths <= {(), (0,)}:
        raise ValueError(f"data: expected one first axis for all leaves, that of the points, got {sorted(lengths)}.")
    for path, leaf in zip(tree.paths(data), jax.tree.leaves(data), strict=True):
        if not tree.is_moving(leaf):
            raise ValueError(
                f"data{path}: expected floating-point numbers, got {check.brief(leaf)}. Scale integer images to about "
                "unit variance: data / 127.5 - 1."
            )
    return Batches(data=data, given=given, key=key, step=jnp.int32(0), size=check.integer("size", size, 1))
