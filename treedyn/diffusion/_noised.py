"""Noise on data, in any space."""

import jax
import jax.numpy as jnp

from treedyn import noise as random
from treedyn import space as space_of
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._process import Level
from treedyn.space import EUCLIDEAN, Euclidean, Manifold, Space
from treedyn.tree import PyTree

# steps of the random walk that stands for diffusion on a manifold
_WALK = 64


def noised(key: jax.Array, part: PyTree, level: PyTree, space: PyTree = EUCLIDEAN) -> PyTree:
    r"""Return data with noise, $\alpha x_0 + \sigma \varepsilon$.

    In a flat space that is not Euclidean the data move by $\sigma \varepsilon$, so the noise is wrapped. On a manifold
    they walk, in steps whose variances add up to $\sigma^2$.

    Args:
        key: random key.
        part: the moving part of a position.
        level: a level, or a prefix tree of levels.
        space: a space, or a prefix tree of spaces.
    """
    spaces = space_of.of_leaves(space, part)
    xi = random.normal(key, part)

    def one(level: Level, x: jax.Array, xi: jax.Array, space: Space) -> jax.Array:
        if isinstance(space, Euclidean):
            return sum_of(x, (level.alpha, x), (level.sigma, xi))
        if isinstance(space, Manifold):
            return x
        return space.shift(x, sum_of(x, (level.sigma, xi)))

    moved = over(one, [level], part, xi, spaces)
    if not any(isinstance(own, Manifold) for own in jax.tree.leaves(spaces, is_leaf=_is_space)):
        return moved

    def step(carry: PyTree, k: jax.Array) -> tuple[PyTree, None]:
        xi = random.normal(random.at_step(key, k, 1), carry)

        def walked(level: Level, x: jax.Array, xi: jax.Array, space: Space) -> jax.Array:
            if not isinstance(space, Manifold):
                return x
            return space.shift(x, space.project(x, sum_of(x, (level.sigma / _WALK**0.5, xi))))

        return over(walked, [level], carry, xi, spaces), None

    return jax.lax.scan(step, moved, jnp.arange(_WALK, dtype=jnp.int32))[0]


def _is_space(x: object) -> bool:
    return isinstance(x, Space)
