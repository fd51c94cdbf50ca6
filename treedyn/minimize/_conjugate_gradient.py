"""Nonlinear conjugate gradients."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax.numpy as jnp

from treedyn import tree
from treedyn.minimize._direction import Context, Direction, first_length
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.minimize._search import StrongWolfe
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class ConjugateGradient(Direction):
    r"""The force, made conjugate to the last direction: $d = F + \beta d_-$.

    $\beta = \max(0, F \cdot (F - F_-)/F_-^2)$ (Polak, Ribière, with restarts). The first trial of a line search would
    lower the energy by as much as the last step, to first order.

    The memory has the last `force` and `direction`, and the `gain`: the part of that direction that was taken, times
    the force along it.
    """

    name: ClassVar[str] = "conjugate_gradient"

    def init(self, part: PyTree) -> dict[str, Any]:
        """Return an empty memory."""
        zero = tree.zeros_like(part)
        return {"force": zero, "direction": zero, "gain": jnp.zeros((), tree.dtype(part))}

    def propose(self, force: PyTree, memory: dict[str, Any], context: Context) -> tuple[PyTree, dict[str, Any]]:
        """Return the displacement and the memory."""
        before = tree.vdot(memory["force"], memory["force"])
        beta = tree.vdot(force, tree.subtract(force, memory["force"])) / jnp.where(before > 0, before, 1)
        # restart along the force if squares of large forces overflow
        usable = (before > 0) & jnp.isfinite(beta)
        direction = tree.axpy(jnp.where(usable, jnp.maximum(beta, 0), 0), memory["direction"], force)
        along = tree.vdot(direction, force)
        # rounding, or a search that stopped early, can make the direction point uphill
        downhill = along > 0
        direction = tree.where(downhill, direction, force)
        along = jnp.where(downhill, along, tree.vdot(force, force))
        first = first_length(direction)
        length = jnp.where(memory["gain"] > 0, memory["gain"] / jnp.where(along > 0, along, 1), first)
        return tree.scale(length, direction), {"force": force, "direction": direction, "gain": along}

    def carry(self, memory: dict[str, Any], taken: PyTree, transport: Callable[[PyTree], PyTree]) -> dict[str, Any]:
        """Return the memory with its vectors at the new position."""
        size = tree.norm(memory["direction"])
        gain = memory["gain"] * tree.norm(taken) / jnp.where(size > 0, size, 1)
        return {"force": transport(memory["force"]), "direction": transport(memory["direction"]), "gain": gain}


def conjugate_gradient(
    target: Callable[..., Any], *, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize by nonlinear conjugate gradients (Polak-Ribière), with a line search by the strong Wolfe conditions.

    To differentiate a minimum with respect to parameters of the target, differentiate the condition of zero force. The
    derivative of converged steps grows with every further step.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        max_step: largest change of any element in one step, in units of the position; a fraction of the size of atoms.
        space: a space, or a prefix tree of spaces; directions are carried along a manifold.

    Returns:
        A dynamics with `init` and `step`. A step is one line search; `state.info` has its number of evaluations.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: (1 - x["a"]) ** 2 + 100 * (x["b"] - x["a"] ** 2) ** 2
        >>> dynamics = td.conjugate_gradient(energy)
        >>> state = dynamics.init(jax.random.key(0), {"a": -1.2, "b": 1.0})
        >>> out = td.run(dynamics, state, steps=500, until=td.converged(force=1e-3))
        >>> print(out.finished, out.state.position["a"].round(2))
        True 1.0

    Reference:
        Nocedal, Wright, Numerical Optimization, Springer (2006), doi:10.1007/978-0-387-40065-5.
    """
    return minimizer(target, ConjugateGradient(), StrongWolfe(max_step=max_step, curvature=0.4), space=space)
