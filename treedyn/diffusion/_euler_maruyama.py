r"""The reverse process in its own time, by the Euler-Maruyama method."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import space as space_of
from treedyn import tree
from treedyn._state import State
from treedyn.diffusion._denoiser import over, ratio, sum_of
from treedyn.diffusion._levels import Levels
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, noise_of, parts
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class EulerMaruyama(Sampler):
    r"""$dx = [\dot\alpha D + \dot\sigma E + \tfrac12 \eta^2 g^2 E/\sigma]\,dt + \eta g\,dW$, backwards in time.

    Attributes:
        eta: share of noise: 0 for the probability flow, 1 for the reverse process.
    """

    eta: Real[ArrayLike, ""]

    def draw(self, state: State) -> PyTree:
        return random.normal(random.of_step(state), state.moving)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        here, there = self.level(state.step), self.level(state.step + 1)
        part = state.moving
        xi = space_of.project(self.space, part, noise)
        processes = tree.prefix_map(
            lambda levels, _: levels.process, self.levels, part, name="levels", is_leaf=lambda x: isinstance(x, Levels)
        )

        def way(here: Level, there: Level, xi: jax.Array, *rest: Any) -> jax.Array:
            found, denoised, process = rest
            span = there.time - here.time
            alpha, sigma, square = process.rates(here)
            pull = sigma + self.eta**2 * square * ratio(0.5, here.sigma)
            kick = self.eta * jnp.sqrt(square) * jnp.sqrt(-span)
            return sum_of(xi, (span * alpha, denoised), (span * pull, found), (kick, xi))

        ways = over(way, [here, there], xi, noise_of(here, state), state.aux, processes)
        return self.arrive(self.place(state, tree.add(part, ways), ways), env)


def euler_maruyama(
    denoiser: Any, levels: PyTree, *, eta: Real[ArrayLike, ""] = 1.0, space: PyTree = EUCLIDEAN
) -> EulerMaruyama:
    r"""Sample the reverse process by the Euler-Maruyama method in its own time; one evaluation a step.

    Of a straight line, $g^2 = 2\sigma$; the noise of its exact reverse process is infinite at the start. `denoiser`,
    `levels` and `space` are those of `euler`.

    Args:
        eta: share of noise: 0 for the probability flow, 1 for the reverse process.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.euler_maruyama(diffusion.gaussian(), diffusion.variance_preserving(1000))

    Reference:
        Song et al., ICLR (2021), arXiv:2011.13456; straight lines: Ma et al., ECCV (2024), arXiv:2401.08740.
    """
    return EulerMaruyama(**parts(denoiser, levels, space), eta=check.number("eta", eta, nonnegative=True))
