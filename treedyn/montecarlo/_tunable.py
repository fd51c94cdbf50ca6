"""The contract of a dynamics that `warm_up` can tune."""

from abc import abstractmethod
from typing import Self

from treedyn.dynamics._dynamics import Dynamics
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
