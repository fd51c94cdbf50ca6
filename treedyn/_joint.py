"""Functions of all members of an ensemble at once."""

import dataclasses
from collections.abc import Callable
from typing import Any

from treedyn._target import observing


@dataclasses.dataclass(frozen=True)
class Joint:
    """A function that is called once with all members, not once for each."""

    __wrapped__: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*arguments)


def jointly(function: Callable[..., Any]) -> Joint:
    """Mark a function of the state that is called with all members of an ensemble at once.

    Without this mark, a function that is recorded, reduced or passed as `until` is called for each member.

    Args:
        function: `function(state)` or `function(state, env)`; the first axis of every leaf is the members.

    Returns:
        The marked function.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0), members=4)
        >>> state = chains.init(jax.random.key(0), jnp.zeros(3))
        >>> spread = td.jointly(lambda state: jnp.std(state.position, axis=0))
        >>> td.run(chains, state, steps=20, every=10, record=spread).records.shape
        (2, 3)
    """
    return Joint(observing("function", function))


def is_joint(function: object) -> bool:
    """Tell whether a function, or the function that it wraps, is marked by `jointly`."""
    while function is not None and not isinstance(function, Joint):
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)  # `func` of a partial
    return function is not None
