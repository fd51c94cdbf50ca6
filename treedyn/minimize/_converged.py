"""A condition to stop a minimization."""

import dataclasses

import jax
from jaxtyping import Bool

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State


@dataclasses.dataclass(frozen=True)
class Converged:
    """The condition that no element of the force exceeds `force`."""

    force: float

    def __call__(self, state: State) -> Bool[jax.Array, ""]:
        """Return whether a state meets it."""
        return tree.max_abs(state.force) < self.force


def converged(*, force: float) -> Converged:
    """Build a condition for `run(..., until=...)`: the largest element of the force is below a bound.

    Args:
        force: the bound, positive; energy per unit of the position.

    Example:
        >>> import jax, treedyn as td
        >>> dynamics = td.fire(td.from_energy(lambda x: (x - 3.0) ** 2), dt=0.1)
        >>> out = td.run(dynamics, dynamics.init(jax.random.key(0), 0.0), steps=1000, until=td.converged(force=1e-3))
        >>> out.finished
        True
    """
    return Converged(force=float(check.number("force", force, positive=True)))
