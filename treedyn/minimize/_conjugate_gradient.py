"""Nonlinear conjugate gradients."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import Struct
from treedyn.minimize._direction import Context, Direction, first_length
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.minimize._search import StrongWolfe
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class Conjugate(Struct):
    """What conjugate gradients remember.

    Attributes:
        force: the force at the last position; zero at first.
        direction: the last direction.
        gain: part of the last direction that was taken, times the force along it: what the energy went down by, to
            first order.
    """

    force: PyTree
    direction: PyTree
    gain: jax.Array


class ConjugateGradient(Direction):
    r"""Follow the force, made conjugate to the last direction: $d = F + \beta d_-$.

    $\beta = \max(0, F \cdot (F - F_-)/F_-^2)$ (Polak, Ribière, with restarts). The first displacement to try is the one
    that would lower the energy by as much as the last one did.
    """

    name: ClassVar[str] = "conjugate_gradient"

    def init(self, part: PyTree) -> Conjugate:
        """Return no direction."""
        zero = jnp.zeros((), tree.dtype(part))
        return Conjugate(force=tree.zeros_like(part), direction=tree.zeros_like(part), gain=zero)

    def propose(self, force: PyTree, memory: Conjugate, context: Context) -> tuple[PyTree, Conjugate]:
        """Return the displacement and the memory."""
        before = tree.vdot(memory.force, memory.force)
        beta = tree.vdot(force, tree.subtract(force, memory.force)) / jnp.where(before > 0, before, 1)
        # squares of large forces overflow: restart along the force
        usable = (before > 0) & jnp.isfinite(beta)
        direction = tree.axpy(jnp.where(usable, jnp.maximum(beta, 0), 0), memory.direction, force)
        along = tree.vdot(direction, force)
        # numbers that are rounded, or a search that stopped early, may leave a direction that leads uphill
        downhill = along > 0
        direction = tree.where(downhill, direction, force)
        along = jnp.where(downhill, along, tree.vdot(force, force))
        first = first_length(direction)
        length = jnp.where(memory.gain > 0, memory.gain / jnp.where(along > 0, along, 1), first)
        memory = memory.replace(force=force, direction=direction, gain=along)
        return tree.scale(length, direction), memory

    def carry(self, memory: Conjugate, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> Conjugate:
        """Return the memory with its vectors carried along."""
        size = tree.norm(memory.direction)
        return memory.replace(
            force=transport(memory.force),
            direction=transport(memory.direction),
            gain=memory.gain * tree.norm(taken) / jnp.where(size > 0, size, 1),
        )


def conjugate_gradient(
    target: Callable[..., Any], *, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize by nonlinear conjugate gradients (Polak-Ribière), with a line search by the strong conditions of Wolfe.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        max_step: largest change of any element in one step, in units of the position; for atoms, a part of their size.
        space: a space, or a prefix tree of spaces; on a manifold directions are carried along.

    Returns:
        A dynamics with `init` and `step`; a step is one line search, `state.info` says how many evaluations it took.
        A derivative of the minimum by what the target depends on is not that of these steps: once they have converged
        it grows with every further one. Differentiate the condition that the force is zero.

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


__all__ = ["ConjugateGradient", "conjugate_gradient"]
