"""Quasi-Newton steps with a limited memory."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, static
from treedyn.minimize._direction import Context, Direction, first_length
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.minimize._search import StrongWolfe
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class History(Struct):
    """What L-BFGS remembers: the last steps, and how the force changed in them.

    Attributes:
        steps: displacements, every leaf `[history, ...]`, in a ring.
        changes: what the gradient changed by, likewise.
        inverse: 1/(step . change) of each; zero in places that are empty.
        count: how many were stored so far.
        force: the force at the last position.
        taken: the last displacement; zero at first.
    """

    steps: PyTree
    changes: PyTree
    inverse: jax.Array
    count: jax.Array
    force: PyTree
    taken: PyTree


class LBFGS(Direction):
    """Multiply the force by an estimate of the inverse of the Hessian, made of the last steps.

    Attributes:
        history: how many steps are remembered.
    """

    name: ClassVar[str] = "lbfgs"
    history: int = static(default=10)

    def __post_init__(self) -> None:
        """Check the number."""
        check.integer("history", self.history, 1)

    def init(self, part: PyTree) -> History:
        """Return an empty history."""
        empty = jax.tree.map(lambda x: jnp.zeros((self.history, *x.shape), x.dtype), part)
        return History(
            steps=empty,
            changes=empty,
            inverse=jnp.zeros(self.history, tree.dtype(part)),
            count=jnp.int32(0),
            force=tree.zeros_like(part),
            taken=tree.zeros_like(part),
        )

    def propose(self, force: PyTree, memory: History, context: Context) -> tuple[PyTree, History]:
        """Return the displacement and the memory."""
        memory, scale = self._learned(force, memory)
        direction = self._newton(force, memory, scale)
        along = tree.vdot(direction, force)
        return tree.where(along > 0, direction, tree.scale(scale, force)), memory

    def _learned(self, force: PyTree, memory: History) -> tuple[History, jax.Array]:
        """Return the history with the last step in it, and the scale of the inverse Hessian."""
        change = tree.subtract(memory.force, force)
        curvature, square = tree.vdot(memory.taken, change), tree.vdot(change, change)
        eps = jnp.finfo(curvature.dtype).eps
        # what does not curve upwards would spoil the estimate
        useful = curvature > eps * jnp.sqrt(square) * tree.norm(memory.taken)
        place = memory.count % self.history

        def stored(ring: PyTree, vector: PyTree) -> PyTree:
            return jax.tree.map(lambda r, v: r.at[place].set(jnp.where(useful, v, r[place])), ring, vector)

        inverse = jnp.where(useful, 1 / jnp.where(useful, curvature, 1), memory.inverse[place])
        memory = memory.replace(
            steps=stored(memory.steps, memory.taken),
            changes=stored(memory.changes, change),
            inverse=memory.inverse.at[place].set(inverse),
            count=memory.count + useful.astype(jnp.int32),
            force=force,
        )
        last = (memory.count - 1) % self.history
        step, kept = (_row(ring, last) for ring in (memory.steps, memory.changes))
        first = first_length(force)
        kept_square = tree.vdot(kept, kept)
        scale = tree.vdot(step, kept) / jnp.where(kept_square > 0, kept_square, 1)
        return memory, jnp.where(memory.count > 0, scale, first)

    def _newton(self, force: PyTree, memory: History, scale: jax.Array) -> PyTree:
        """Return the inverse Hessian times the force, by the two loops of Nocedal; empty places change nothing."""

        def back(k: int, carry: tuple[PyTree, jax.Array]) -> tuple[PyTree, jax.Array]:
            q, weights = carry
            place = (memory.count - 1 - k) % self.history
            weight = memory.inverse[place] * tree.vdot(_row(memory.steps, place), q)
            return tree.axpy(-weight, _row(memory.changes, place), q), weights.at[place].set(weight)

        def forth(k: int, q: PyTree) -> PyTree:
            place = (memory.count - self.history + k) % self.history
            weight = memory.inverse[place] * tree.vdot(_row(memory.changes, place), q)
            return tree.axpy(weights[place] - weight, _row(memory.steps, place), q)

        q, weights = jax.lax.fori_loop(0, self.history, back, (force, jnp.zeros_like(memory.inverse)))
        return jax.lax.fori_loop(0, self.history, forth, tree.scale(scale, q))

    def carry(self, memory: History, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> History:
        """Return the history with all its vectors carried along."""
        return memory.replace(
            steps=jax.vmap(transport)(memory.steps),
            changes=jax.vmap(transport)(memory.changes),
            force=transport(memory.force),
            taken=taken,
        )


def _row(ring: PyTree, place: jax.Array) -> PyTree:
    return jax.tree.map(lambda r: r[place], ring)


def lbfgs(
    target: Callable[..., Any],
    *,
    history: int = 10,
    max_step: float = float("inf"),
    space: PyTree = EUCLIDEAN,
) -> Minimizer:
    """Minimize with L-BFGS and a line search by the strong conditions of Wolfe.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        history: how many steps are remembered.
        max_step: largest change of any element in one step, in units of the position; for atoms, a part of their size.
        space: a space, or a prefix tree of spaces; on a manifold the history is carried along.

    Returns:
        A dynamics with `init` and `step`; a step is one line search, `state.info` says how many evaluations it took.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: (1 - x["a"]) ** 2 + 100 * (x["b"] - x["a"] ** 2) ** 2
        >>> dynamics = td.lbfgs(energy)
        >>> state = dynamics.init(jax.random.key(0), {"a": -1.2, "b": 1.0})
        >>> out = td.run(dynamics, state, steps=200, until=td.converged(force=1e-3))
        >>> print(out.finished, out.state.position["a"].round(2))
        True 1.0

    Reference:
        Liu, Nocedal, Math. Program. 45, 503 (1989), doi:10.1007/BF01589116.
    """
    return minimizer(target, LBFGS(history=history), StrongWolfe(max_step=max_step), space=space)


__all__ = ["LBFGS", "lbfgs"]
