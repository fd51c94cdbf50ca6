r"""Twisted sequential Monte Carlo: exact posterior sampling by a population of particles.

Every particle takes an ancestral step with the guided denoiser, and its weight is corrected for the guidance:

$$ w' = w\, \frac{p(x'|x)\, \tilde p(y|x')}{q(x'|x)\, \tilde p(y|x)}, $$

where $\tilde p(y|x)$ is the density of the measured value given the denoised data. It is exact without noise, so the
weighted population is right for any number of levels, as far as the unguided steps are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._each import Each
from treedyn.diffusion._exponential import only_euclidean, relative
from treedyn.diffusion._posterior import Measured
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.tree import PyTree


class Population(Struct):
    """The weights of a population.

    Attributes:
        log_weight: logarithms of the weights, normalized, `[particles]`.
        log_evidence: estimate of the logarithm of the evidence, the density of the measured value.
        effective: effective number of particles, before a resampling.
    """

    log_weight: Float[Array, "particles"]
    log_evidence: Float[Array, ""]
    effective: Float[Array, ""]


class Twisted(Sampler):
    """A population of particles along the first axis of every leaf; noise belongs to the slot of a particle.

    Attributes:
        measured: the denoiser of measured data, without its denoiser.
        particles: number of particles.
        threshold: fraction of the particles below which the effective number leads to a resampling.
    """

    measured: Measured
    threshold: Real[ArrayLike, ""]
    particles: int = static()

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the state before the first step; see `Sampler.init`. Weights are in `state.info`."""
        state = super().init(key, position, env)
        twist = self._compare(state, env)[2]
        kind = twist.dtype
        log_weight, evidence = _normalized(twist - jnp.log(jnp.asarray(self.particles, kind)))
        return state.replace(
            info=Population(log_weight=log_weight, log_evidence=evidence, effective=_effective(log_weight)),
            memory={"twist": twist},
        )

    def draw(self, state: State) -> tuple[PyTree, jax.Array]:
        """Return the noise of every particle, a function of its slot, and a number for the resampling."""
        key = random.of_step(state)
        slots = jnp.arange(self.particles, dtype=jnp.int32)
        one = jax.tree.map(lambda x: x[0], state.moving)
        each = jax.vmap(lambda slot: random.normal(random.at_step(key, slot), one))(slots)
        kind = state.info.log_weight.dtype
        return each, jax.random.normal(random.at_path(key, "resample"), (), kind)

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, jax.Array]) -> State:
        """Return the population at the next level."""
        xi, chance = noise
        here, there = self.level(state.step), self.level(state.step + 1)
        old = state.info
        # resample first, so that the last weights are those of the sample
        low = old.effective < self.threshold * self.particles
        ancestors = jnp.where(low, _systematic(old.log_weight, chance), jnp.arange(self.particles, dtype=jnp.int32))
        level_weight = jnp.full_like(old.log_weight, -jnp.log(jnp.asarray(self.particles, old.log_weight.dtype)))
        log_weight = jnp.where(low, level_weight, old.log_weight)
        part, twist = jax.tree.map(lambda x: x[ancestors], (state.moving, state.memory["twist"]))
        state = state.replace(moving=part)

        guided, plain, _ = self._compare(state, env)

        def mean(here: Level, there: Level, d: jax.Array, e: jax.Array) -> jax.Array:
            return sum_of(d, (there.alpha, d), (there.sigma * relative(there, here), e))

        def spread(here: Level, there: Level) -> jax.Array:
            return there.sigma * jnp.sqrt(1 - relative(there, here) ** 2)

        def moved(here: Level, there: Level, led: jax.Array, free: jax.Array, xi: jax.Array) -> jax.Array:
            # a last step to no noise is that of the data alone, and the exact twist corrects it
            start = jnp.where(there.sigma == 0, free, led)
            return start + sum_of(xi, (spread(here, there), xi))

        def gain(here: Level, there: Level, led: jax.Array, free: jax.Array, xi: jax.Array) -> jax.Array:
            """Return log p - log q of every particle."""
            size = spread(here, there)
            away = tree.cast(jnp.where(size == 0, 0, 1 / jnp.where(size == 0, 1, size)), xi) * (led - free)
            change = -(away**2) / 2 - away * xi
            return jnp.sum(change, axis=tuple(range(1, change.ndim)))

        levels = [here, there]
        led, free = (over(mean, levels, one.denoised, one.noise) for one in (guided, plain))
        new = self.arrive(state.replace(moving=over(moved, levels, led, free, xi)), env)
        gains = sum(jax.tree.leaves(over(gain, levels, led, free, xi)), start=jnp.zeros_like(log_weight))
        after = self._compare(new, env)[2]
        log_weight, evidence = _normalized(log_weight + gains.astype(log_weight.dtype) + after - twist)
        info = Population(
            log_weight=log_weight, log_evidence=old.log_evidence + evidence, effective=_effective(log_weight)
        )
        return new.replace(info=info, memory={"twist": after})

    def _compare(self, state: State, env: PyTree) -> tuple[Any, Any, jax.Array]:
        """Return guided and plain predictions and the twist of every particle, at the level of the state."""
        level, inner = self.level(state.step), self.measured.replace(denoiser=self.target.denoiser)  # type: ignore[attr-defined]

        def one(part: PyTree) -> tuple[Any, Any, jax.Array]:
            return inner.compare(tree.unbox(tree.merge(part, state.boxed)), level, env)

        return jax.vmap(one)(state.moving)

    def check_leaves(self, part: PyTree) -> None:
        super().check_leaves(part)
        only_euclidean(self, "diffusion.measured with diffusion.heun")
        for path, leaf in zip(tree.paths(part), jax.tree.leaves(part), strict=True):
            if leaf.shape[:1] != (self.particles,):
                raise ValueError(
                    f"position{path}: expected {self.particles} particles along the first axis, got {leaf.shape}. "
                    "Start with sampler.start(key, like) of that shape."
                )


def _normalized(log_weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    total = jax.nn.logsumexp(log_weight)
    return log_weight - total, total


def _effective(log_weight: jax.Array) -> jax.Array:
    return jnp.exp(-jax.nn.logsumexp(2 * log_weight))


def _systematic(log_weight: jax.Array, chance: jax.Array) -> jax.Array:
    """Return ancestors whose numbers are those that the weights give, up to one; `chance` is standard normal."""
    count = log_weight.shape[0]
    places = (jax.scipy.stats.norm.cdf(chance) + jnp.arange(count, dtype=log_weight.dtype)) / count
    sums = jnp.cumsum(jnp.exp(log_weight))
    return jnp.minimum(jnp.searchsorted(sums / sums[-1], places), count - 1).astype(jnp.int32)


def twisted(data: Measured, levels: PyTree, particles: int, *, threshold: Real[ArrayLike, ""] = 0.5) -> Twisted:
    r"""Sample a posterior by twisted sequential Monte Carlo: guidance, corrected by weights.

    The position has the particles along the first axis of every leaf. `state.info` has their weights and an estimate of
    the evidence.

    Args:
        data: the denoiser of measured data, `diffusion.measured(...)`.
        levels: noise levels, or a prefix tree of levels.
        particles: number of particles.
        threshold: fraction of the particles below which the effective number leads to a resampling.

    Returns:
        A dynamics of `levels.steps` steps.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> data = diffusion.measured(diffusion.gaussian(std=0.5), lambda x: x, value=jnp.asarray(1.0), error=0.3)
        >>> sampler = diffusion.twisted(data, diffusion.edm(40), particles=1000)
        >>> start = sampler.start(jax.random.key(0), jnp.zeros(1000))
        >>> state = td.trajectory(sampler, sampler.init(jax.random.key(1), start), steps=40).state
        >>> print(f"{jnp.sum(jnp.exp(state.info.log_weight) * state.position):.1f}")
        0.7

    Reference:
        Wu et al., NeurIPS (2023), arXiv:2306.17775.
    """
    check.instance("data", data, Measured, "measured data, diffusion.measured(...)")
    return Twisted(
        **parts(Each(denoiser=data.denoiser), levels),
        measured=data.replace(denoiser=None),
        particles=check.integer("particles", particles, 2),
        threshold=check.number("threshold", threshold, nonnegative=True),
    )
