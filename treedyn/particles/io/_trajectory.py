"""Frames of particles: recorded from a state, and read from a file."""

from abc import abstractmethod

import jax
import numpy as np

from treedyn import _check as check
from treedyn._state import State
from treedyn.particles.io._content import make_space
from treedyn.particles.space._space import ParticleSpace
from treedyn.store._files import decoding
from treedyn.store._frames import Frames


class Trajectory(Frames):
    """Frames of particles: dicts of arrays by name.

    A frame has `position` `[N, d]`, `periodic` (which axes are, `[d]`) and, in a box, `cell` (a lattice vector in each
    row, `[d, d]`). `species` (names, `[N]`), `mass` `[N]` and other arrays are there if the file has them. In XYZ, an
    entry of the comment that has the name of one of these is `frame_` with that name.

    Attributes:
        path: the file.
        steps: the step of every frame.
    """

    def space(self, index: int = -1) -> ParticleSpace:
        """Return the box of a frame, by default of the last one."""
        frame = self[index]
        return make_space(frame.get("cell"), frame["periodic"])


class Separate(Trajectory):
    """Frames that are complete in themselves, and are read one by one."""

    @abstractmethod
    def _frame(self, number: int) -> dict[str, np.ndarray]:
        """Return the arrays of one frame."""

    def _read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        each = []
        for number in range(start, max(stop, start + 1)):
            with decoding(f"frame {number}"):
                each.append(self._frame(number))
        if any(one.keys() != each[0].keys() for one in each):
            raise ValueError(f"frames {start} to {stop - 1} hold different arrays. Read them one by one.")
        return {name: np.stack([one[name] for one in each])[: stop - start] for name in each[0]}


def frame(state: State) -> dict[str, jax.Array]:
    """Return position, velocity, force and energy by name: a function for `run(..., record=...)`.

    Args:
        state: a state whose position is that of the particles, `[N, d]`. If the particles are a part of a larger tree,
            pass a function of your own that returns such a dict.

    Returns:
        `position`, `force` and, if the state has them, `velocity` and `energy`.

    Raises:
        ValueError: the position is not `[N, d]`.
    """
    position = check.instance("state", state, State, "what dynamics.init(key, position, env) returns").position
    if not hasattr(position, "shape") or len(position.shape) != 2:
        raise ValueError(
            "state: expected a position that is one array [N, d]. Record a part of a tree with a function of your own, "
            'such as lambda state: {"position": state.position["atoms"]}.'
        )
    out = {"position": position, "force": state.force}
    if state.momentum is not None:
        out["velocity"] = state.velocity
    if state.energy is not None:
        out["energy"] = state.energy
    return out
