"""Steepest descent."""

import math
from collections.abc import Callable
from typing import Any, ClassVar

from treedyn import schedule, tree
from treedyn.minimize._direction import Context, Direction
from treedyn.minimize._length import Limited, Whole
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Steepest(Direction):
    """The direction of the force, dx = rate F.

    Attributes:
        rate: step per force, positive: a number, schedule or prefix tree.
    """

    name: ClassVar[str] = "steepest"
    rate: PyTree

    def __post_init__(self) -> None:
        """Check the rate."""
        object.__setattr__(self, "rate", schedule.numbers("rate", self.rate, positive=True))

    def init(self, part: PyTree) -> None:
        """Return the initial memory: none."""

    def propose(self, force: PyTree, memory: None, context: Context) -> tuple[PyTree, None]:
        """Return the displacement."""
        return tree.scale(schedule.of_leaves(self.rate, context.step, force, "rate"), force), memory


def gradient_descent(
    target: Callable[..., Any], rate: PyTree, *, max_step: float = math.inf, space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize by steepest descent, dx = rate F.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        rate: step per force, positive: a number, schedule or prefix tree.
        max_step: largest change of any element in one step, in units of the position.
        space: a space, or a prefix tree of spaces.

    Returns:
        A dynamics with `init` and `step`.

    Example:
        >>> import jax, treedyn as td
        >>> dynamics = td.gradient_descent(td.from_energy(lambda x: x**2), rate=0.25)
        >>> float(dynamics.step(dynamics.init(jax.random.key(0), 1.0)).position)
        0.5
    """
    free = isinstance(max_step, float) and math.isinf(max_step) and max_step > 0
    return minimizer(target, Steepest(rate=rate), Whole() if free else Limited(max_step=max_step), space=space)
