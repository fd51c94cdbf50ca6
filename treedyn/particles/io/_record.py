"""What to record for a trajectory."""

import jax

from treedyn import _check as check
from treedyn._state import State


def frame(state: State) -> dict[str, jax.Array]:
    """Record position, velocity, force and energy: a function for `run(..., record=...)`.

    Args:
        state: a state whose position is that of the particles, `[N, d]`. Where the particles are a part of a larger
            tree, write a function of your own that returns such a dict.

    Returns:
        `position`, `force` and, where the state has them, `velocity` and `energy`.

    Raises:
        ValueError: the position is not `[N, d]`.
    """
    position = check.instance("state", state, State, "what dynamics.init(key, position, env) returns").position
    if not hasattr(position, "shape") or len(position.shape) != 2:
        raise ValueError(
            "state: the position of the particles is expected to be one array [N, d]; record a part of a tree with a "
            'function of your own, lambda state: {"position": state.position["atoms"]}'
        )
    out = {"position": position, "force": state.force}
    if state.momentum is not None:
        out["velocity"] = state.velocity
    if state.energy is not None:
        out["energy"] = state.energy
    return out
