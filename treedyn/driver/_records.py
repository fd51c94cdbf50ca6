"""Records of a chunk: a buffer on the device that the host empties after the chunk."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._state import State
from treedyn.driver._check import check_record
from treedyn.dynamics._dynamics import Dynamics
from treedyn.tree import PyTree

_MOST_RECORDS = 4096  # in a chunk


class Named:
    """A user's function, equal to every other wrapper of the same function, so that compiled code is reused."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.__wrapped__ = function  # inspect.signature follows it

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.function(*arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)


class Recorder:
    """The records that a function makes in a chunk.

    Attributes:
        record: the function.
        every: steps between two records.
        buffer: the records, boxed and stacked, with one place more than `capacity`.
        capacity: the largest number of records in a chunk.
    """

    def __init__(self, name: str, record: Callable[..., Any], every: int) -> None:
        self.name, self.record, self.every = name, Named(record), every

    def begin(self, dynamics: Dynamics, state: State, env: PyTree, room: int) -> None:
        """Make a buffer of at most `room` bytes.

        Raises:
            ValueError: a record has no arrays, or has random keys.
        """
        self.shapes = self._shapes(dynamics, state, env)
        check_record(self.name, self.shapes)
        leaves = jax.tree.leaves(self.shapes)
        if any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves):
            raise ValueError(
                f"{self.name}: expected arrays of numbers, got random keys. Leave keys out of records; for a state, "
                "record state.replace(key=None)."
            )
        size = sum(x.size * x.dtype.itemsize for x in leaves)
        self.capacity = int(np.clip(room // max(size, 1), 1, _MOST_RECORDS))
        # one place more, for the record of an incomplete block
        self.buffer = jax.tree.map(lambda x: jnp.zeros((self.capacity + 1, *x.shape), x.dtype), self.shapes)

    def check(self, dynamics: Dynamics, state: State, env: PyTree) -> None:
        """Raise a `ValueError` if records no longer have the shapes of the buffer."""
        if self._shapes(dynamics, state, env) != self.shapes:
            raise ValueError(
                f"{self.name}: the shape of its result changed when a neighbor list grew. Record arrays of fixed shape."
            )

    def take(self, before: int, after: int) -> tuple[np.ndarray, PyTree]:
        """Return the steps and the boxed records between two step counts of the run."""
        first, last = before // self.every, after // self.every
        records = jax.tree.map(lambda b: np.asarray(b)[: last - first].copy(), self.buffer)
        return self.every * np.arange(first + 1, last + 1, dtype=np.int64), records

    def _shapes(self, dynamics: Dynamics, state: State, env: PyTree) -> PyTree:
        return jax.eval_shape(lambda s, e: tree.box(dynamics.observe(self.record, s, e)), state, env)
