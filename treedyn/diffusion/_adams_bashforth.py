r"""Adams-Bashforth methods for the probability flow, on levels of any spacing.

$y' = y + \sum_j w_j q_j$ with the slopes q of the present and earlier levels, and $w_j$ the integral of the polynomial
that is 1 at one of them and 0 at the others.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import space as space_of
from treedyn import tree
from treedyn._state import State
from treedyn._struct import static
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._process import Level
from treedyn.diffusion._runge_kutta import slope
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree

# Gauss-Legendre nodes on [0, 1]: exact for the polynomials of every order that is allowed
_MOST = 6
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(_MOST // 2)
_NODES, _WEIGHTS = (1 + _NODES) / 2, _WEIGHTS / 2


class AdamsBashforth(Sampler):
    """A linear multistep method with a memory of slopes.

    Attributes:
        order: the order, and the number of slopes.
    """

    needs_signal: ClassVar[bool] = True
    order: int = static()

    def remember(self, state: State) -> dict[str, Any]:
        return {"slopes": (tree.zeros_like(state.force),) * (self.order - 1)}

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        del noise
        k = state.step
        here, there = self.level(k), self.level(k + 1)
        past = [self.level(jnp.maximum(k - j, 0)) for j in range(self.order)]
        slopes = (slope(here, state), *state.memory["slopes"])

        def mean(there: Level, *rest: Any) -> jax.Array:
            levels, slopes = rest[: self.order], rest[self.order :]
            numbers = lagrange(there.noise, [level.noise for level in levels], k)
            return sum_of(slopes[0], *zip(numbers, slopes, strict=True))

        part = state.moving
        moved = self.drift(state, here, there, over(mean, [there, *past], *slopes))
        way = space_of.displacement(self.space, moved.moving, part)
        kept = tuple(space_of.transport(self.space, part, way, q) for q in slopes[: self.order - 1])
        return self.arrive(moved.replace(memory={"slopes": kept}), env)


def lagrange(end: jax.Array, nodes: list[jax.Array], k: jax.Array) -> list[jax.Array]:
    """Return the means, from the first node to `end`, of the polynomials that are 1 at one node and 0 at the others.

    At step k there are k + 1 nodes; the others do not count.
    """
    points = nodes[0] + (end - nodes[0]) * jnp.asarray(_NODES, nodes[0].dtype)

    def one(j: int) -> jax.Array:
        value = jnp.ones_like(points)
        for i, node in enumerate(nodes):
            if i == j:
                continue
            used = (i <= k) & (j <= k)
            value = value * jnp.where(used, (points - node) / jnp.where(used, nodes[j] - node, 1), 1)
        return jnp.where(j <= k, jnp.sum(jnp.asarray(_WEIGHTS, value.dtype) * value), 0)

    return [one(j) for j in range(len(nodes))]


def adams_bashforth(denoiser: Any, levels: PyTree, order: int = 4, *, space: PyTree = EUCLIDEAN) -> AdamsBashforth:
    """Sample by an Adams-Bashforth method for the probability flow: a linear multistep method, "LMS".

    One evaluation a step. The first steps are of orders 1, 2, ... `denoiser`, `levels` and `space` are those of
    `euler`.

    Args:
        order: the order, from 1 to 6.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.adams_bashforth(diffusion.gaussian(), diffusion.edm(40), order=4)

    Reference:
        Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, Springer (1993),
        doi:10.1007/978-3-540-78862-1.
    """
    return AdamsBashforth(**parts(denoiser, levels, space), order=check.integer("order", order, 1, _MOST + 1))
