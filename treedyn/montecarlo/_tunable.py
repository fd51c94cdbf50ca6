"""The contracts of the dynamics that `warm_up` can tune."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Self

import jax

from treedyn._state import State
from treedyn.dynamics._compose import Splitting
from treedyn.dynamics._dynamics import Dynamics, seen
from treedyn.tree import PyTree


class Tunable(Dynamics):
    """A dynamics with a length of its steps, and an acceptance in `state.info.acceptance` that falls with it."""

    @property
    @abstractmethod
    def pace(self) -> PyTree:
        """The length of a step, such as dt: a number or a prefix tree."""

    @abstractmethod
    def with_pace(self, pace: PyTree) -> Self:
        """Return this dynamics with another length of its steps."""


class Integrated(Tunable):
    """A tunable dynamics whose steps are those of a splitting; the masses can be tuned, too.

    Attributes:
        splitting: the dynamics of one step.
    """

    splitting: Splitting

    @property
    @abstractmethod
    def kT(self) -> PyTree:
        """The temperature."""

    @property
    def pace(self) -> PyTree:
        """The time step."""
        return self.splitting.dt

    def with_pace(self, pace: PyTree) -> Self:
        """Return this dynamics with another time step."""
        return self.replace(splitting=self.splitting.replace(dt=pace))

    def with_mass(self, mass: PyTree) -> Self:
        """Return this dynamics with other masses."""
        return self.replace(splitting=self.splitting.replace(mass=mass))

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position."""
        return self.splitting.evaluate(state, env)

    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the position, boxed, and time after another such step; after a jump, those of the new state."""
        return self.splitting.ahead(new if self.jumps else old, new)

    def reverse(self, state: State) -> State:
        """Return `state` with its momenta reversed."""
        return self.splitting.reverse(state)

    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the value of a user's function."""
        return seen(function, state, env, *rest)
