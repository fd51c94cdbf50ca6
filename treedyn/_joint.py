"""Functions that see all members of an ensemble at once."""

from collections.abc import Callable
from typing import Any

from treedyn._target import observing


class Joint:
    """A function that is asked once for all members."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__ = function

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*arguments)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joint) and self.__wrapped__ == other.__wrapped__

    def __hash__(self) -> int:
        return hash((Joint, self.__wrapped__))


def jointly(function: Callable[..., Any]) -> Joint:
    """Mark a function of a state that is to see all members of an ensemble at once.

    What is recorded, reduced or asked by `until` is otherwise a function of one system, and is asked for each member.

    Args:
        function: `function(state)` or `function(state, env)`; every leaf of the state has the members in front.

    Returns:
        The function, marked.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0), members=4)
        >>> state = chains.init(jax.random.key(0), jnp.zeros(3))
        >>> spread = td.jointly(lambda state: jnp.std(state.position, axis=0))
        >>> td.run(chains, state, steps=20, every=10, record=spread).records.shape
        (2, 3)
    """
    return Joint(observing("function", function))


def is_joint(function: Any) -> bool:
    """Tell whether a function sees all members at once."""
    while function is not None:
        if isinstance(function, Joint):
            return True
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)  # that of a partial
    return False


__all__ = ["jointly"]
