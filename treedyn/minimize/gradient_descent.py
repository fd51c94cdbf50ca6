"""Steepest descent with a step limit."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import schedule, tree
from treedyn.minimize.minimizer import Context, Minimizer, Rule, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class GradientDescent(Rule):
    """Follow the force, dx = rate F, but no element further than `max_step`.

    Attributes:
        rate: length of a step per force: a number, schedule or prefix tree.
        max_step: largest change of any element in one step; the whole step is scaled down, so its direction stays.
    """

    name: ClassVar[str] = "gradient_descent"
    rate: PyTree
    max_step: jax.Array | float

    def init(self, part: PyTree) -> None:
        """Return nothing: there is nothing to remember."""
        return

    def update(self, force: PyTree, memory: Any, context: Context) -> tuple[PyTree, Any]:
        """Return the displacement."""
        rate = schedule.of_leaves(self.rate, context.step, force, "rate")
        return limit(tree.scale(rate, force), self.max_step), memory


def limit(way: PyTree, max_step: jax.Array | float) -> PyTree:
    """Scale a displacement down so that no element of it exceeds `max_step`."""
    longest = tree.max_abs(way)
    bound = tree.cast(max_step, longest)
    # the shorter of the two over the longest, because an infinite bound over it would have a gradient of NaN
    return tree.scale(jnp.where(longest > bound, bound, longest) / jnp.where(longest > 0, longest, 1), way)


def gradient_descent(
    target: Callable[..., Any], rate: PyTree, *, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize by steepest descent, dx = rate F.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        rate: length of a step per force, positive: a number, schedule or prefix tree.
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
    rule = GradientDescent(
        rate=schedule.numbers(rate, "rate", positive=True),
        max_step=schedule.number(max_step, "max_step", positive=True),
    )
    return minimizer(target, rule, space=space)
