r"""The stochastic sampler of EDM: up to more noise than the level has, and down by a step of Heun."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import space as space_of
from treedyn._state import State
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._levels import Levels, of_each
from treedyn.diffusion._process import Level
from treedyn.diffusion._runge_kutta import average, slope
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Churned(Sampler):
    """Noise up, then a step of Heun down.

    Positions are evaluated with more noise than their level has, so `state.aux` and `state.force` are those of the last
    such evaluation.

    Attributes:
        churn: how much noise is added in all steps, as a factor of the noise.
        least: smallest noise-to-signal ratio at which noise is added.
        most: largest noise-to-signal ratio at which noise is added.
        inflate: factor of the noise that is added.
    """

    needs_signal: ClassVar[bool] = True
    churn: Real[ArrayLike, ""]
    least: Real[ArrayLike, ""]
    most: Real[ArrayLike, ""]
    inflate: Real[ArrayLike, ""]

    def draw(self, state: State) -> PyTree:
        return random.normal(random.of_step(state), state.moving)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        level, there = self.level(state.step), self.level(state.step + 1)
        here = of_each(lambda levels: self._raised(levels, levels.at(state.step)), self.levels)
        xi = space_of.project(self.space, state.moving, noise)

        def kick(level: Level, here: Level) -> tuple[jax.Array, jax.Array]:
            factor = here.alpha / level.alpha
            square = here.sigma**2 - (factor * level.sigma) ** 2
            more = square > 0
            size = jnp.where(more, jnp.sqrt(jnp.where(more, square, 1)), 0)
            return factor, jnp.asarray(self.inflate * size)

        def new(level: Level, here: Level, x: jax.Array, xi: jax.Array) -> jax.Array:
            factor, size = kick(level, here)
            return sum_of(x, (factor, x), (size, xi))

        def way(level: Level, here: Level, xi: jax.Array) -> jax.Array:
            return sum_of(xi, (kick(level, here)[1], xi))

        levels = [level, here]
        state = self.place(state, over(new, levels, state.moving, xi), over(way, levels, xi))
        state = self.evaluate_target(state, env, self.at(here))
        first = slope(here, state)
        stage = self.evaluate_target(self.drift(state, here, there, first), env, self.at(there))
        back = space_of.displacement(self.space, state.moving, stage.moving)
        second = space_of.transport(self.space, stage.moving, back, slope(there, stage))
        end = self.drift(state, here, there, average(there, [first, second], (0.5, 0.5)))
        return self.counted(end.replace(status=stage.status))

    def _raised(self, levels: Levels, level: Level) -> Level:
        inside = (level.ratio >= self.least) & (level.ratio <= self.most)
        factor = 1 + jnp.where(inside, jnp.minimum(self.churn / levels.steps, 2**0.5 - 1), 0)
        raised = levels.process.of_ratio(factor * level.ratio)
        return jax.tree.map(lambda up, at: jnp.where(factor > 1, up, at), raised, level)


def churned(
    denoiser: Any,
    levels: PyTree,
    churn: Real[ArrayLike, ""] = 40.0,
    *,
    least: Real[ArrayLike, ""] = 0.05,
    most: Real[ArrayLike, ""] = 50.0,
    inflate: Real[ArrayLike, ""] = 1.003,
    space: PyTree = EUCLIDEAN,
) -> Churned:
    r"""Sample by the stochastic sampler of EDM; two evaluations a step.

    Noise grows by the factor $1 + \min(churn/n, \sqrt2 - 1)$ before a step of Heun. `denoiser`, `levels` and `space`
    are those of `euler`.

    Args:
        churn: how much noise is added; 0 is `heun`.
        least: smallest noise-to-signal ratio at which noise is added.
        most: largest noise-to-signal ratio at which noise is added.
        inflate: factor of the noise that is added, to make up for lost detail.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.churned(diffusion.gaussian(), diffusion.edm(40))

    Reference:
        Karras et al., NeurIPS (2022), arXiv:2206.00364.
    """
    numbers = {"churn": churn, "least": least, "most": most, "inflate": inflate}
    given = {name: check.number(name, value, nonnegative=True, finite=False) for name, value in numbers.items()}
    return Churned(**parts(denoiser, levels, space), **given)
