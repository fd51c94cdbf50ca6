r"""UniPC: a multistep predictor, corrected with the evaluation that the next step needs anyway."""

from typing import Any

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._state import State
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._exponential import Stretch, middle, only_euclidean, relative, stretch
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.tree import PyTree


class UniPC(Sampler):
    r"""UniPC of order 2 with $B(h) = e^{-h} - 1$.

    The corrector does not evaluate the denoiser again, so the memory, `state.aux` and `state.force` are those of the
    *predicted* positions.
    """

    def remember(self, state: State) -> dict[str, Any]:
        return {"denoised": (state.aux, tree.zeros_like(state.aux))}

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        del noise
        k, (now, last) = state.step, state.memory["denoised"]
        levels = [self.level(k + 1), self.level(k), self.level(jnp.maximum(k - 1, 0))]
        possible, part = jnp.minimum(k + 1, 2), state.moving

        def predicted(there: Level, here: Level, before: Level, x: jax.Array, *denoised: jax.Array) -> jax.Array:
            return _step(there, here, x, middle(stretch(possible, there, here, before)), denoised)

        def corrected(there: Level, here: Level, before: Level, x: jax.Array, *denoised: jax.Array) -> jax.Array:
            return _step(there, here, x, corrector(stretch(possible, there, here, before)), denoised)

        state = self.arrive(state.replace(moving=over(predicted, levels, part, now, last)), env)
        better = over(corrected, levels, part, now, last, state.aux)
        better = over(_where_finite, levels[:2], better, state.moving)
        return state.replace(moving=better, memory={"denoised": (state.aux, now)})

    def check_leaves(self, part: PyTree) -> None:
        super().check_leaves(part)
        only_euclidean(self, "diffusion.heun or diffusion.adams_bashforth")


def corrector(step: Stretch) -> list[jax.Array]:
    """Return the weights of the present, the last and the next denoised data."""
    ratio, whole = step.before[0] / step.h, step.whole
    mean = 1 - whole / step.h
    one, two = mean / whole, 2 * (0.5 - mean / step.h) / whole
    full = step.order > 1
    old = jnp.where(full, (one - two) / (1 + ratio), 0)
    new = whole * jnp.where(full, one - old, 0.5)
    # differences to the present count over their distances in units of the step
    old = -whole * old / ratio
    return [whole - old - new, old, new]


def _step(there: Level, here: Level, x: jax.Array, weights: list[jax.Array], denoised: tuple[Any, ...]) -> jax.Array:
    terms = [(there.alpha * w, d) for w, d in zip(weights, denoised, strict=True)]
    return sum_of(x, (there.sigma / here.sigma, x), *terms)


def _where_finite(there: Level, here: Level, corrected: jax.Array, predicted: jax.Array) -> jax.Array:
    """Return the predicted position after a step to no noise, or from no signal, whose length is infinite."""
    return jnp.where(relative(there, here) == 0, predicted, corrected)


def unipc(denoiser: Any, levels: PyTree) -> UniPC:
    """Sample by UniPC of order 2 (bh2); one evaluation a step.

    `denoiser` and `levels` are those of `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.unipc(diffusion.gaussian(), diffusion.edm(20))

    Reference:
        Zhao et al., NeurIPS (2023), arXiv:2302.04867.
    """
    return UniPC(**parts(denoiser, levels))
