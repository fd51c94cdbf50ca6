r"""Annealed Langevin dynamics and predictor-corrector methods, with any dynamics of the library.

At a level, a denoiser is a target like any other: its force is the score. A *corrector* is any dynamics of that target
at kT = 1. It moves the state within the level, and a predictor then takes it to the next one.

The natural length of a level is its noise. With the mass $1/\sigma^2$ a corrector moves that far in a unit of time, so
one time step serves all levels. From level to level the momenta grow with the square root of the mass.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Int

from treedyn import _check as check
from treedyn import noise as random
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.diffusion._denoiser import Noised, over, sum_of
from treedyn.diffusion._process import Level, is_level
from treedyn.diffusion._sampler import Sampler, parts
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.schedule import Schedule
from treedyn.tree import PyTree
from treedyn.tree._structure import map_nodes, nodes

_OWN = ("momentum", "metric", "dof", "memory", "clock", "info")


class Unit(Struct):
    r"""The mass $1/\sigma^2$ of a leaf, as a function of the step; the sampler sets the level."""

    level: PyTree
    leaf: int = static()

    def __call__(self, step: Int[ArrayLike, ""]) -> jax.Array:
        """Return the mass."""
        del step
        own: Level = jax.tree.leaves(self.level, is_leaf=is_level)[self.leaf]
        return 1 / own.sigma**2


def unit_mass(level: PyTree) -> PyTree:
    r"""Return the mass $1/\sigma^2$, with which a corrector has the noise of its level as its unit of length.

    At kT = 1 a momentum then moves the position by about $\sigma$ in a unit of time. So one `dt` and one `gamma` serve
    all levels.

    Args:
        level: the first level, `levels.at(0)`, or a tree of levels; the sampler replaces it by that of its step.

    Returns:
        A schedule for `mass=`, or a tree of schedules.

    Raises:
        ValueError: `level` is something else.

    Example:
        >>> from treedyn import diffusion
        >>> round(float(diffusion.unit_mass(diffusion.edm(4).at(0)).at(0)) * 80**2, 6)
        1.0
    """
    levels, structure = jax.tree.flatten(level, is_leaf=is_level)
    for one in levels:
        check.instance("level", one, Level, "a Level such as levels.at(0), or a tree of levels")
    masses = [Schedule(function=Unit(level=level, leaf=k), sign="positive") for k in range(len(levels))]
    return jax.tree.unflatten(structure, masses)


class _Blank(Struct):
    """The place of the denoiser in a corrector or predictor, which the sampler fills."""


class Corrected(Sampler):
    """Corrections within a level, then a step to the next one.

    Attributes:
        corrector: the dynamics within a level.
        predictor: the sampler that goes to the next level; `None` to stay where the state is.
        corrections: steps of the corrector within a level.
    """

    corrector: Dynamics
    predictor: Sampler | None
    corrections: int = static()

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the state before the first step; see `Sampler.init`."""
        state = super().init(key, position, env)
        return state.replace(info=state.memory["corrector"]["info"])

    def remember(self, state: State) -> dict[str, Any]:
        first = self._corrector(state).init(_key(state.key), state.position)
        memory = {} if self.predictor is None else self._predictor().remember(state)
        return {**memory, "corrector": {name: getattr(first, name) for name in _OWN}}

    def draw(self, state: State) -> PyTree:
        """Return the noise of the predictor, and that of all corrections, stacked."""
        corrector = self._corrector(state)
        first = state.step * self.corrections

        def one(j: jax.Array) -> PyTree:
            return corrector.draw(self._inner(state).replace(step=first + j))

        ahead = None if self.predictor is None else self._predictor().draw(self._outer(state))
        return ahead, jax.vmap(one)(jnp.arange(self.corrections, dtype=state.step.dtype))

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state at the next level."""
        ahead, within = noise
        corrector, first = self._corrector(state), state.step * self.corrections

        def one(inner: State, noise: PyTree) -> tuple[State, None]:
            return corrector.apply(inner, env, noise).replace(step=inner.step + 1), None

        inner, _ = jax.lax.scan(
            one, self._heavier(self._inner(state).replace(step=first)), within, length=self.corrections
        )
        own = {name: getattr(inner, name) for name in _OWN}
        shared = {name: getattr(inner, name) for name in ("boxed", "force", "energy", "aux", "status")}
        outer = self._outer(state).replace(**shared)
        new = self.arrive(outer, env) if self.predictor is None else self._predictor().apply(outer, env, ahead)
        return new.replace(memory={**new.memory, "corrector": own}, info=inner.info)

    def _corrector(self, state: State) -> Dynamics:
        """Return the corrector at the level of a state."""
        level = self.level(state.step)
        at = map_nodes(lambda one: one.replace(level=level), Unit, self.corrector)
        return map_nodes(lambda _: self.at(level), _Blank, at)

    def _predictor(self) -> Sampler:
        assert self.predictor is not None
        return self.predictor.replace(target=self.target, levels=self.levels, space=self.space)

    def _inner(self, state: State) -> State:
        """Return the state as the corrector knows it."""
        return state.replace(key=_key(state.key), **state.memory["corrector"])

    def _heavier(self, state: State) -> State:
        """Return the state of the corrector with the momenta of the masses of its level."""
        if state.momentum is None or not nodes(Unit, self.corrector):
            return state
        k = state.step // self.corrections
        before, now = self.level(jnp.maximum(k - 1, 0)), self.level(k)

        def one(before: Level, now: Level, p: jax.Array) -> jax.Array:
            return sum_of(p, (before.sigma / now.sigma, p))

        return state.replace(momentum=over(one, [before, now], state.momentum))

    def _outer(self, state: State) -> State:
        """Return the state as the predictor knows it."""
        return state.replace(memory={name: x for name, x in state.memory.items() if name != "corrector"})


def _key(key: jax.Array) -> jax.Array:
    return random.at_path(key, "corrector")


def annealed(
    corrector: Dynamics, denoiser: Any, levels: PyTree, corrections: int = 10, *, predictor: Sampler | None = None
) -> Corrected:
    r"""Sample by any dynamics on a ladder of levels: annealed Langevin dynamics, or the corrector of a predictor.

    A step takes the state through `corrections` steps of the corrector at its level, and then to the next level. The
    last level has no corrections, so it usually is without noise.

    Args:
        corrector: a dynamics of `denoiser.at(levels.at(0))` at kT = 1 with `mass=unit_mass(levels.at(0))`: Langevin and
            Brownian dynamics, thermostats, or HMC if the denoiser knows its energy.
        denoiser: the denoiser.
        levels: noise levels, or a prefix tree of levels.
        corrections: steps of the corrector at every level.
        predictor: a sampler of the same denoiser and levels, such as `diffusion.euler(denoiser, levels)`; by default
            the state stays where it is. A multistep predictor extrapolates from data before the corrections, so it is
            less accurate than one of a single step.

    Returns:
        A dynamics of `levels.steps` steps. `state.info` is that of the last correction.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> data, levels = diffusion.gaussian(std=0.5), diffusion.variance_exploding(10, sigma_min=0.01, sigma_max=1.0)
        >>> first = levels.at(0)
        >>> bath = td.langevin(data.at(first), dt=0.5, kT=1.0, gamma=1.0, mass=diffusion.unit_mass(first))
        >>> sampler = diffusion.annealed(bath, data, levels, corrections=20)
        >>> state = sampler.init(jax.random.key(0), sampler.start(jax.random.key(1), jnp.zeros(10_000)))
        >>> print(td.trajectory(sampler, state, steps=sampler.steps).state.position.std().round(1))
        0.5

    Reference:
        Song, Ermon, NeurIPS (2019), arXiv:1907.05600; predictor-corrector: Song et al., ICLR (2021), arXiv:2011.13456.
    """
    check.instance("corrector", corrector, Dynamics, "a dynamics such as td.langevin(denoiser.at(first), ...)")
    if isinstance(corrector, Ensemble) or not nodes(Noised, corrector):
        raise ValueError(
            "corrector: expected a dynamics of one system whose target is denoiser.at(levels.at(0)), got a "
            f"{type(corrector).__name__} of another target. Make it with that target."
        )
    if predictor is not None:
        check.instance("predictor", predictor, Sampler, "a sampler such as diffusion.euler(denoiser, levels)")
        predictor = predictor.replace(target=_Blank(), levels=None, space=None)
    space = getattr(getattr(corrector, "splitting", corrector), "space", None)
    return Corrected(
        **parts(denoiser, levels, *(() if space is None else (space,))),
        corrector=map_nodes(lambda _: _Blank(), Noised, corrector),
        predictor=predictor,
        corrections=check.integer("corrections", corrections, 1),
    )
