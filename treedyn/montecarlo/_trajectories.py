"""What methods share that follow a splitting and draw new momenta before every step."""

import functools
from abc import abstractmethod
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from treedyn import metric, tree
from treedyn._state import State
from treedyn.dynamics._compose import Splitting
from treedyn.montecarlo._metropolis import check_energy, check_still
from treedyn.montecarlo._tunable import Integrated
from treedyn.operators._refresh import Refresh
from treedyn.tree import PyTree


class Trajectories(Integrated):
    """A dynamics whose steps are trajectories of a splitting, each with refreshed momenta.

    Attributes:
        refresh: redraws the momenta before every trajectory.
    """

    jumps: ClassVar[bool] = True
    refresh: Refresh

    @abstractmethod
    def untried(self, kind: DTypeLike) -> PyTree:
        """Return the report of a state that has taken no step, with numbers of this dtype."""

    @property
    def kT(self) -> PyTree:
        """The temperature."""
        return self.refresh.kT

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None, *, momentum: PyTree = None) -> State:
        """Return the initial state.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target; it may not depend on time.
            momentum: initial momenta; by default they are drawn.

        Raises:
            ValueError: an argument does not fit, the target is a force, or the environment changes with time.
        """
        check_still(env)
        kT = None if momentum is not None else self.kT
        state = self.splitting.init(key, position, env, momentum=momentum, kT=kT).replace(clock=None)
        check_energy(state)
        return state.replace(info=self.untried(tree.dtype(state.momentum)))

    def begin(self, state: State, fresh: PyTree) -> State:
        """Return the start of a trajectory: new momenta for the masses of this step, no accounts, and no status."""
        start, _ = self.refresh.apply(self.splitting.weighed(state), 0.0, fresh, None)
        return self.splitting.restarted(start).replace(status=jnp.zeros_like(state.status))


def follow(
    splitting: Splitting, state: State, env: PyTree, noise: tuple[PyTree, ...]
) -> tuple[State, list[tuple[State, State]]]:
    """Return the state one step later, and the states before and after every bath.

    The status covers the energies and no other number: momenta that are not finite have an energy that is not.
    """
    return splitting.follow(state, env, noise, functools.partial(splitting.explore, every=False))


def gain(before: State, after: State) -> jax.Array:
    """Return the change of the kinetic energy, summed from the changes of the elements."""
    old, new = (metric.twice_kinetic(x.metric, x.moving, x.momentum) for x in (before, after))
    return tree.total(jax.tree.map(lambda a, b: (a - b) / 2, new, old))


def created(splitting: Splitting, before: State, after: State, heat: jax.Array) -> jax.Array:
    """Return the energy that a trajectory created: the change of the total energy without the heat of the baths."""
    accounted = splitting.accounted(after, flows=True) - splitting.accounted(before, flows=True)
    gained = gain(before, after) - heat + accounted
    assert after.energy is not None and before.energy is not None  # `init` refuses forces
    return (after.energy - before.energy).astype(gained.dtype) + gained
