r"""Runge-Kutta methods for the probability flow.

In units of the scale of a level, $y = x/\alpha$ and $u = \sigma/\alpha$, the probability flow is $dy/du = E$: the noise
in x. Along a straight line, $y = x/(\alpha + \sigma)$ and $u = \sigma/(\alpha + \sigma)$, it is $dy/du = E - D$. Every
stage goes from the start of the step to its node, along an average of the slopes before.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import space as space_of
from treedyn._state import State
from treedyn._struct import static
from treedyn.diffusion._denoiser import over
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, noise_of, parts
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree

# (fraction of the step at which a stage ends, weights of the slopes on the way to it); the last row is the step
Rows = tuple[tuple[float, tuple[float, ...]], ...]
EULER: Rows = ((1.0, (1.0,)),)
HEUN: Rows = ((1.0, (1.0,)), (1.0, (1 / 2, 1 / 2)))
MIDPOINT: Rows = ((1 / 2, (1.0,)), (1.0, (0.0, 1.0)))
RK4: Rows = (
    (1 / 2, (1.0,)),
    (1 / 2, (0.0, 1.0)),
    (1.0, (0.0, 0.0, 1.0)),
    (1.0, (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
)


class RungeKutta(Sampler):
    """The probability flow, solved by a Runge-Kutta method.

    Attributes:
        rows: the method, one row a stage.
        geometric: whether nodes are equally spaced in the logarithm of the noise-to-signal ratio.
    """

    needs_signal: ClassVar[bool] = True
    rows: Rows = static()
    geometric: bool = static(default=False)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        del noise
        here = self.level(state.step)
        slopes = [slope(here, state)]
        *stages, last = self.rows
        for fraction, weights in stages:
            node = self.between(state.step, fraction, geometric=self.geometric)
            stage = self.drift(state, here, node, average(node, slopes, weights))
            stage = self.evaluate_target(stage, env, self.at(node))
            slopes.append(self._back(state, stage, slope(node, stage)))
            state = state.replace(status=stage.status)
        there = self.level(state.step + 1)
        return self.arrive(self.drift(state, here, there, average(there, slopes, last[1])), env)

    def _back(self, state: State, stage: State, slope: PyTree) -> PyTree:
        """Return a slope at a stage, carried to the start of the step where the space is curved."""
        way = space_of.displacement(self.space, state.moving, stage.moving)
        return space_of.transport(self.space, stage.moving, way, slope)


def slope(level: PyTree, state: State) -> PyTree:
    """Return the slope of the flow at an evaluated state: E, or E - D on a straight line."""

    def one(level: Level, noise: jax.Array, denoised: jax.Array) -> jax.Array:
        return noise - denoised if level.straight else noise

    return over(one, [level], noise_of(level, state), state.aux)


def average(there: PyTree, slopes: list[PyTree], weights: tuple[float, ...]) -> PyTree:
    """Return the mean slope on the way to a level; without noise there, that of the start counts alone.

    Without noise the data are not denoised further, so the slope there says nothing of the way.
    """

    def one(level: Level, *slopes: jax.Array) -> jax.Array:
        first = jnp.where(level.sigma == 0, 1.0, 0.0) * (0.0 if level.straight else 1.0)
        total = None
        for k, (weight, q) in enumerate(zip(weights, slopes, strict=True)):
            term = (weight + first * (float(k == 0) - weight)).astype(q.dtype) * q
            total = term if total is None else total + term
        assert total is not None
        return total

    return over(one, [there], *slopes)


def heun(denoiser: Any, levels: PyTree, *, space: PyTree = EUCLIDEAN) -> RungeKutta:
    """Sample by the Heun method for the probability flow, order 2; two evaluations a step.

    A last step to no noise is one of Euler, except on a straight line. `denoiser`, `levels` and `space` are those of
    `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> diffusion.heun(diffusion.gaussian(), diffusion.edm(18)).steps
        18

    Reference:
        Karras et al., NeurIPS (2022), arXiv:2206.00364.
    """
    return RungeKutta(**parts(denoiser, levels, space), rows=HEUN)


def midpoint(denoiser: Any, levels: PyTree, *, log: bool = True, space: PyTree = EUCLIDEAN) -> RungeKutta:
    """Sample by the midpoint method for the probability flow, order 2; two evaluations a step.

    A last step to no noise is one of Euler, except on a straight line. `denoiser`, `levels` and `space` are those of
    `euler`.

    Args:
        log: put the middle half way in the logarithm of the noise-to-signal ratio, which a start without signal does
            not have. This is DPM-Solver-2.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.midpoint(diffusion.gaussian(), diffusion.rectified_flow(10), log=False)

    Reference:
        Lu et al., NeurIPS (2022), arXiv:2206.00927.
    """
    return RungeKutta(**parts(denoiser, levels, space), rows=MIDPOINT, geometric=check.flag("log", log))


def rk4(denoiser: Any, levels: PyTree, *, space: PyTree = EUCLIDEAN) -> RungeKutta:
    """Sample by the classical Runge-Kutta method for the probability flow, order 4; four evaluations a step.

    A last step to no noise is one of Euler, except on a straight line. `denoiser`, `levels` and `space` are those of
    `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.rk4(diffusion.gaussian(), diffusion.rectified_flow(10))
    """
    return RungeKutta(**parts(denoiser, levels, space), rows=RK4)
