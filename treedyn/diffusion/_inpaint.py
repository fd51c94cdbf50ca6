r"""Inpainting: known parts of the data are kept at their noise, and the rest is drawn to fit."""

from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn._state import State
from treedyn._struct import static
from treedyn.diffusion._denoiser import over, sum_of
from treedyn.diffusion._exponential import only_euclidean, relative
from treedyn.diffusion._process import Level
from treedyn.diffusion._sampler import Sampler
from treedyn.tree import PyTree


class Inpainted(Sampler):
    """A sampler that is told a part of the data; every step is taken several times, with noise back up in between.

    Attributes:
        inner: the sampler.
        known: the data, a tree like the position; only the known part counts.
        mask: where they are known, a prefix tree of booleans.
        repeats: how many times a step is taken.
    """

    inner: Sampler
    known: PyTree
    mask: PyTree
    repeats: int = static()

    def remember(self, state: State) -> dict[str, Any]:
        return self.inner.remember(state)

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return for every repetition the noise of the sampler, of the known part, and of the way back up."""

        def one(j: int) -> tuple[PyTree, PyTree, PyTree]:
            key = random.at_path(state.key, f"repeat {j}")
            own = state.replace(key=key)
            fresh = (random.normal(random.of_step(own, place), state.moving) for place in (1, 2))
            return self.inner.replace(target=self.target).draw(own), *fresh

        return tuple(one(j) for j in range(self.repeats))

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the state at the next level."""
        inner = self.inner.replace(target=self.target)
        here, there = self.level(state.step), self.level(state.step + 1)
        part = state.moving
        data = tree.moving(tree.box(self.known))
        mask = tree.broadcast(self.mask, part, "mask")

        def told(level: Level, x: jax.Array, known: jax.Array, xi: jax.Array, mask: jax.Array) -> jax.Array:
            return jnp.where(mask != 0, sum_of(x, (level.alpha, known.astype(x.dtype)), (level.sigma, xi)), x)

        def back(here: Level, there: Level, x: jax.Array, xi: jax.Array) -> jax.Array:
            fresh = here.sigma * jnp.sqrt(1 - relative(there, here) ** 2)
            return sum_of(x, (here.alpha / there.alpha, x), (fresh, xi))

        new = state
        for j, (own, known, up) in enumerate(noise):
            moved = inner.apply(new, env, own)
            # the evaluation there is not used, because a part of the position changes
            position = over(told, [there], moved.moving, data, known, mask)
            if j == self.repeats - 1:
                return self.arrive(new.replace(moving=position, memory=moved.memory), env)
            new = self.evaluate(new.replace(moving=over(back, [here, there], position, up)), env)
        raise AssertionError("a step is taken at least once")

    def check_leaves(self, part: PyTree) -> None:
        super().check_leaves(part)
        only_euclidean(self, "a posterior, diffusion.measured")


def inpainted(sampler: Sampler, known: PyTree, mask: PyTree, *, repeats: int = 10) -> Inpainted:
    r"""Sample data of which a part is known: RePaint.

    After a step the known part is replaced by the data with the noise of the level. Then the state goes back up, and
    the step is taken again, so that the rest has time to fit.

    Args:
        sampler: a sampler of single steps, such as `diffusion.ddpm(denoiser, levels)`.
        known: the data, a tree like the position; the unknown part may be anything finite.
        mask: where they are known: booleans, a prefix tree.
        repeats: how many times a step is taken; 1 only replaces the known part.

    Returns:
        A dynamics of as many steps as the sampler.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> data = diffusion.mixture([0.5, 0.5], mean=[[-1.0, -1.0], [1.0, 1.0]], std=[0.1, 0.1])
        >>> ddpm = diffusion.ddpm(data, diffusion.edm(20, sigma_max=10.0))
        >>> sampler = diffusion.inpainted(ddpm, jnp.array([1.0, 0.0]), jnp.array([True, False]))
        >>> state = sampler.init(jax.random.key(0), sampler.start(jax.random.key(1), jnp.zeros(2)))
        >>> print(td.trajectory(sampler, state, steps=sampler.steps).state.position.round(0))
        [1. 1.]

    Reference:
        Lugmayr et al., CVPR (2022), arXiv:2201.09865.
    """
    check.instance("sampler", sampler, Sampler, "a sampler such as diffusion.ddpm(denoiser, levels)")
    shared = {"target": sampler.target, "levels": sampler.levels, "space": sampler.space}
    return Inpainted(
        **shared,
        inner=sampler.replace(target=None),
        known=known,
        mask=mask,
        repeats=check.integer("repeats", repeats, 1),
    )
