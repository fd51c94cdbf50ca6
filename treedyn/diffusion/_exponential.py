r"""Exponential integrators: DPM-Solver++ and its stochastic form.

With $r = \frac{\sigma'/\alpha'}{\sigma/\alpha}$ and denoised data that are a polynomial in $-\log(\sigma/\alpha)$, the
flow has the solution

$$ x' = \frac{\sigma'}{\sigma} r^\eta x + \alpha' \sum_j w_j D_j + \sigma' \sqrt{1 - r^{2\eta}}\, \xi,
   \qquad \sum_j w_j = 1 - r^{1 + \eta}, $$

where $\eta$ is 0 for the probability flow and 1 for the reverse process. The methods differ in the weights $w_j$ of the
present and earlier denoised data. At $r = 0$, the last step, only the present ones count.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn._state import State
from treedyn._struct import static
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.space import Euclidean
from treedyn.tree import PyTree


class Stretch(NamedTuple):
    """What the weights of a step depend on.

    Attributes:
        r: the noise-to-signal ratio at its end over that at its start.
        h: minus the logarithm of r; 1 if r is 0.
        before: the same of the steps before, from the last one.
        order: the order that is possible: 1 at the first step, and at a last one to no noise.
        eta: the share of noise.
    """

    r: jax.Array
    h: jax.Array
    before: list[jax.Array]
    order: jax.Array
    eta: Real[ArrayLike, ""]

    @property
    def whole(self) -> jax.Array:
        """Return the sum of the weights."""
        return 1 - self.r ** (1 + self.eta)


Weights = Callable[[Stretch], list[jax.Array]]


def first(step: Stretch) -> list[jax.Array]:
    """Return the weight of constant denoised data."""
    return [step.whole]


def middle(step: Stretch) -> list[jax.Array]:
    """Return weights that extrapolate to the middle of the step."""
    change = jnp.where(step.order > 1, step.h / (2 * step.before[0]), 0)
    return [step.whole * (1 + change), -step.whole * change]


def _second(step: Stretch) -> tuple[jax.Array, list[jax.Array]]:
    """Return the first moment of the kernel, and the weights of a line through the last two."""
    span = (1 + step.eta) * step.h
    phi = 1 + jnp.expm1(-span) / span
    change = phi * step.h / step.before[0]
    return phi, [step.whole + change, -change]


def _third(step: Stretch, factor: float) -> list[jax.Array]:
    phi, line = _second(step)
    span = (1 + step.eta) * step.h
    a, b = (before / step.h for before in step.before)
    # divided differences of the last three: weights of the present, the last, and the one before
    nothing = jnp.zeros_like(a)  # not 0 a, which is NaN after a start without signal
    one, two = (1 / a, -1 / a, nothing), (nothing, 1 / b, -1 / b)
    curve = [(x - y) / (a + b) for x, y in zip(one, two, strict=True)]
    slope = [x + a * c for x, c in zip(one, curve, strict=True)]
    rest = factor * (phi / span - 0.5)
    full = [phi * s - rest * c for s, c in zip(slope, curve, strict=True)]
    full[0] = full[0] + step.whole
    low = [step.whole, nothing, nothing]
    return [
        jnp.where(step.order > 2, x, jnp.where(step.order > 1, y, z))
        for x, y, z in zip(full, [*line, nothing], low, strict=True)
    ]


def parabola(step: Stretch) -> list[jax.Array]:
    """Return the weights of the parabola through the last three: order 3."""
    return _third(step, 2.0)


def parabola_as_shipped(step: Stretch) -> list[jax.Array]:
    """Return the weights of other programs, with half of the second derivative: order 2."""
    return _third(step, 1.0)


class Exponential(Sampler):
    """An exponential integrator with a memory of denoised data.

    Attributes:
        eta: 0 for the probability flow, 1 for the reverse process.
        weights: the weights of the present and earlier denoised data.
        order: how many of them there are.
        noisy: whether noise is drawn.
    """

    eta: Real[ArrayLike, ""]
    weights: Weights = static()
    order: int = static()
    noisy: bool = static(default=False)

    def remember(self, state: State) -> dict[str, Any]:
        return {"denoised": (tree.zeros_like(state.aux),) * (self.order - 1)}

    def draw(self, state: State) -> PyTree:
        return random.normal(random.of_step(state), state.moving) if self.noisy else None

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        k, earlier = state.step, state.memory["denoised"]
        past = [self.level(jnp.maximum(k - j, 0)) for j in range(self.order)]
        there = self.level(k + 1)
        possible = jnp.minimum(k + 1, self.order)

        def one(there: Level, here: Level, *rest: Any) -> jax.Array:
            before, (x, xi, *denoised) = rest[: self.order - 1], rest[self.order - 1 :]
            step = stretch(possible, there, here, *before, eta=self.eta)
            terms = zip(self.weights(step), denoised, strict=True)
            terms = [(there.alpha * w, d) for w, d in terms]
            carry = there.sigma / here.sigma * step.r**self.eta
            kick = [(there.sigma * jnp.sqrt(1 - step.r ** (2 * self.eta)), xi)] if self.noisy else []
            return sum_of(x, (carry, x), *terms, *kick)

        part = state.moving
        noise = noise if self.noisy else part
        new = over(one, [there, *past], part, noise, state.aux, *earlier)
        memory = {"denoised": (state.aux, *earlier)[: self.order - 1]}
        return self.arrive(state.replace(moving=new, memory=memory), env)

    def check_leaves(self, part: PyTree) -> None:
        super().check_leaves(part)
        only_euclidean(self, "diffusion.heun or diffusion.adams_bashforth")


def only_euclidean(sampler: Sampler, instead: str) -> None:
    """Refuse spaces in which denoised data cannot be added up."""
    if not all(isinstance(own, Euclidean) for own in jax.tree.leaves(sampler.space, is_leaf=_is_space)):
        raise ValueError(
            f"space: a {type(sampler).__name__} adds up denoised data, which only a Euclidean space allows. Use "
            f"{instead}."
        )


def _is_space(x: object) -> bool:
    return hasattr(x, "shift")


def stretch(possible: jax.Array, there: Level, here: Level, *before: Level, eta: Real[ArrayLike, ""] = 0.0) -> Stretch:
    """Return what the weights of a step depend on, from its levels and those before."""
    r = relative(there, here)
    last = r == 0
    levels = [here, *before]
    spans = []
    for late, early in zip(levels, before, strict=False):
        q = relative(late, early)
        # at the first step there is none before; from a start without signal it is infinite
        spans.append(-jnp.log(jnp.where(q < 1, q, 0.5)))
    order = jnp.where(last, 1, possible)
    return Stretch(r=r, h=-jnp.log(jnp.where(last, jnp.exp(-1.0), r)), before=spans, order=order, eta=eta)


def relative(late: Level, early: Level) -> jax.Array:
    """Return the ratio of two noise-to-signal ratios, 0 if the first one is infinite."""
    return late.sigma * early.alpha / (late.alpha * early.sigma)


class SingleStep(Sampler):
    """An exponential integrator that evaluates the denoiser in the middle of a step."""

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        del noise
        here, half = self.level(state.step), self.between(state.step, 0.5, geometric=True)
        there = self.level(state.step + 1)
        stage = self.evaluate_target(_carried(state, here, half, state.aux), env, self.at(half))

        def last(there: Level, middle: jax.Array, first: jax.Array) -> jax.Array:
            # without noise the middle is the end, where a denoiser has nothing to do
            return jnp.where(there.sigma == 0, first, middle)

        denoised = over(last, [there], stage.aux, state.aux)
        return self.arrive(_carried(state.replace(status=stage.status), here, there, denoised), env)

    def check_leaves(self, part: PyTree) -> None:
        super().check_leaves(part)
        only_euclidean(self, "diffusion.midpoint")


def _carried(state: State, here: PyTree, there: PyTree, denoised: PyTree) -> State:
    """Return a state carried from level to level with constant denoised data."""

    def one(here: Level, there: Level, x: jax.Array, denoised: jax.Array) -> jax.Array:
        rest = there.alpha * (1 - relative(there, here))
        return sum_of(x, (there.sigma / here.sigma, x), (rest, denoised))

    return state.replace(moving=over(one, [here, there], state.moving, denoised))


def dpmpp_2s(denoiser: Any, levels: PyTree) -> SingleStep:
    """Sample by DPM-Solver++(2S), order 2; two evaluations a step.

    `denoiser` and `levels` are those of `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.dpmpp_2s(diffusion.gaussian(), diffusion.edm(10))

    Reference:
        Lu et al., Mach. Intell. Res. 22, 730 (2025), arXiv:2211.01095.
    """
    return SingleStep(**parts(denoiser, levels))


def dpmpp_2m(denoiser: Any, levels: PyTree) -> Exponential:
    """Sample by DPM-Solver++(2M), order 2; one evaluation a step.

    `denoiser` and `levels` are those of `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.dpmpp_2m(diffusion.gaussian(), diffusion.edm(20))

    Reference:
        Lu et al., Mach. Intell. Res. 22, 730 (2025), arXiv:2211.01095.
    """
    return Exponential(**parts(denoiser, levels), eta=0.0, weights=middle, order=2)


def dpmpp_3m_corrected(denoiser: Any, levels: PyTree) -> Exponential:
    """Sample by DPM-Solver++(3M) with the whole second derivative, order 3; one evaluation a step.

    `denoiser` and `levels` are those of `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.dpmpp_3m_corrected(diffusion.gaussian(), diffusion.edm(20))
    """
    return Exponential(**parts(denoiser, levels), eta=0.0, weights=parabola, order=3)


def dpmpp_3m_as_shipped(denoiser: Any, levels: PyTree) -> Exponential:
    """Sample by DPM-Solver++(3M) as other programs have it: with half of the second derivative, and order 2.

    The method is here to reproduce their pictures; with few levels it may even be closer. `denoiser` and `levels` are
    those of `euler`.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.dpmpp_3m_as_shipped(diffusion.gaussian(), diffusion.edm(20))
    """
    return Exponential(**parts(denoiser, levels), eta=0.0, weights=parabola_as_shipped, order=3)


def dpmpp_2m_sde(denoiser: Any, levels: PyTree, *, eta: Real[ArrayLike, ""] = 1.0) -> Exponential:
    """Sample by DPM-Solver++(2M) for the reverse process; one evaluation a step.

    `denoiser` and `levels` are those of `euler`.

    Args:
        eta: share of noise: 0 for the probability flow, 1 for the reverse process.

    Example:
        >>> from treedyn import diffusion
        >>> sampler = diffusion.dpmpp_2m_sde(diffusion.gaussian(), diffusion.edm(20))

    Reference:
        Lu et al., Mach. Intell. Res. 22, 730 (2025), arXiv:2211.01095.
    """
    share = check.number("eta", eta, nonnegative=True)
    return Exponential(**parts(denoiser, levels), eta=share, weights=middle, order=2, noisy=True)
