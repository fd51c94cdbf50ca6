"""The random walk of Metropolis."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

import jax

from treedyn import noise, schedule, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn._target import observing
from treedyn.dynamics._dynamics import Targeted
from treedyn.montecarlo._metropolis import check_energy, check_still, metropolis, one_temperature, untried
from treedyn.montecarlo._tunable import Tunable
from treedyn.space import EUCLIDEAN, as_space
from treedyn.tree import PyTree


class RandomWalk(Targeted, Tunable):
    """A dynamics that proposes a normal displacement of all leaves, and accepts or rejects it.

    Attributes:
        length: standard deviation of the displacement: a number, schedule or prefix tree.
        kT: temperature.
    """

    jumps: ClassVar[bool] = True
    length: PyTree
    kT: PyTree

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the initial state; the environment may not depend on time."""
        check_still(env)
        state = self.begin(key, position, env, time=None)
        check_energy(state)
        return state.replace(info=untried(tree.dtype(state.moving)))

    @property
    def pace(self) -> PyTree:
        """The length of a displacement."""
        return self.length

    def with_pace(self, pace: PyTree) -> Self:
        """Return this dynamics with displacements of another length."""
        return self.replace(length=pace)

    def draw(self, state: State) -> tuple[PyTree, jax.Array]:
        """Return the displacement in units of `length`, and a uniform number."""
        key = noise.of_step(state)
        chance = jax.random.uniform(noise.at_path(key, "accept"), (), tree.dtype(state.moving))
        return noise.normal(key, state.moving), chance

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, jax.Array]) -> State:
        """Return the displaced state where it is accepted, and the same state where it is not."""
        normal, chance = noise
        part = state.moving
        length = schedule.of_leaves(self.length, state.step, part, "length")
        way = tree.scale(length, space_of.project(self.space, part, normal))
        new = self.explore(state.replace(moving=space_of.shift(self.space, part, way)), env)
        assert new.energy is not None and state.energy is not None  # `init` refuses forces
        error = (new.energy - state.energy) / schedule.at(self.kT, state.step)
        return metropolis(state, new, error, chance, 1)


def random_walk(
    target: Callable[..., Any], length: PyTree, kT: PyTree = 1.0, *, space: PyTree = EUCLIDEAN
) -> RandomWalk:
    """Sample exp(-U/kT) by a random walk: propose a normal displacement, accept it with min(1, exp(-dU/kT)).

    No force is used, but the target is differentiated all the same. In many dimensions `td.hmc` and `td.mala` go
    further for the same number of evaluations.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        length: standard deviation of a displacement, positive: a number, schedule or prefix tree.
        kT: temperature in units of energy, positive: one number or schedule for all leaves.
        space: a space, or a prefix tree of spaces; on a manifold the displacement is tangent.

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> walk = td.random_walk(lambda x: jnp.sum(x**2) / 2, length=1.5)
        >>> out = td.run(walk, walk.init(jax.random.key(0), jnp.zeros(1)), steps=1000, record=lambda s: s.info.accepted)
        >>> bool(0.4 < out.records.mean() < 0.7)
        True

    Reference:
        Metropolis et al., J. Chem. Phys. 21, 1087 (1953), doi:10.1063/1.1699114.
    """
    return RandomWalk(
        target=observing("target", target, "position"),
        space=as_space(space),
        length=schedule.numbers("length", length, positive=True, finite=True),
        kT=one_temperature(kT),
    )
