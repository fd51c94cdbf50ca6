"""Quasi-Newton steps with a limited memory."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import static
from treedyn.minimize._direction import Context, Direction, first_length
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.minimize._search import StrongWolfe
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


class LBFGS(Direction):
    """The force times an estimate of the inverse Hessian from the last steps.

    The memory has the last displacements, `steps`, in a ring, every leaf `[history, ...]`; likewise the `changes` of
    the gradient; `inverse`, 1/(step . change) of each, zero in empty places; the number of steps stored so far,
    `count`; the `force` at the last position, and the last displacement, `taken`.

    Attributes:
        history: number of steps in the memory.
    """

    name: ClassVar[str] = "lbfgs"
    history: int = static(default=10)

    def __post_init__(self) -> None:
        """Check the history."""
        check.integer("history", self.history, 1)

    def init(self, part: PyTree) -> dict[str, Any]:
        """Return an empty memory."""
        empty = jax.tree.map(lambda x: jnp.zeros((self.history, *x.shape), x.dtype), part)
        return {
            "steps": empty,
            "changes": empty,
            "inverse": jnp.zeros(self.history, tree.dtype(part)),
            "count": jnp.int32(0),
            "force": tree.zeros_like(part),
            "taken": tree.zeros_like(part),
        }

    def propose(self, force: PyTree, memory: dict[str, Any], context: Context) -> tuple[PyTree, dict[str, Any]]:
        """Return the displacement and the memory."""
        memory, scale = self._learned(force, memory)
        direction = self._newton(force, memory, scale)
        along = tree.vdot(direction, force)
        return tree.where(along > 0, direction, tree.scale(scale, force)), memory

    def _learned(self, force: PyTree, memory: dict[str, Any]) -> tuple[dict[str, Any], jax.Array]:
        """Return the memory with the last step, and the scale of the inverse Hessian."""
        change = tree.subtract(memory["force"], force)
        curvature, square = tree.vdot(memory["taken"], change), tree.vdot(change, change)
        eps = jnp.finfo(curvature.dtype).eps
        # a step along which the energy does not curve upwards is not stored
        useful = curvature > eps * jnp.sqrt(square) * tree.norm(memory["taken"])
        place = memory["count"] % self.history

        def stored(ring: PyTree, vector: PyTree) -> PyTree:
            return jax.tree.map(lambda r, v: r.at[place].set(jnp.where(useful, v, r[place])), ring, vector)

        inverse = jnp.where(useful, 1 / jnp.where(useful, curvature, 1), memory["inverse"][place])
        memory = {
            **memory,
            "steps": stored(memory["steps"], memory["taken"]),
            "changes": stored(memory["changes"], change),
            "inverse": memory["inverse"].at[place].set(inverse),
            "count": memory["count"] + useful.astype(jnp.int32),
            "force": force,
        }
        last = (memory["count"] - 1) % self.history
        step, kept = (_row(ring, last) for ring in (memory["steps"], memory["changes"]))
        square = tree.vdot(kept, kept)
        scale = tree.vdot(step, kept) / jnp.where(square > 0, square, 1)
        return memory, jnp.where(memory["count"] > 0, scale, first_length(force))

    def _newton(self, force: PyTree, memory: dict[str, Any], scale: jax.Array) -> PyTree:
        """Return the inverse Hessian times the force, by the two loops of Nocedal."""

        def back(k: int, carry: tuple[PyTree, jax.Array]) -> tuple[PyTree, jax.Array]:
            q, weights = carry
            place = (memory["count"] - 1 - k) % self.history
            weight = memory["inverse"][place] * tree.vdot(_row(memory["steps"], place), q)
            return tree.axpy(-weight, _row(memory["changes"], place), q), weights.at[place].set(weight)

        def forth(k: int, q: PyTree) -> PyTree:
            place = (memory["count"] - self.history + k) % self.history
            weight = memory["inverse"][place] * tree.vdot(_row(memory["changes"], place), q)
            return tree.axpy(weights[place] - weight, _row(memory["steps"], place), q)

        q, weights = jax.lax.fori_loop(0, self.history, back, (force, jnp.zeros_like(memory["inverse"])))
        return jax.lax.fori_loop(0, self.history, forth, tree.scale(scale, q))

    def carry(self, memory: dict[str, Any], taken: PyTree, transport: Callable[[PyTree], PyTree]) -> dict[str, Any]:
        """Return the memory with its vectors at the new position."""
        steps, changes = jax.vmap(transport)(memory["steps"]), jax.vmap(transport)(memory["changes"])
        return {**memory, "steps": steps, "changes": changes, "force": transport(memory["force"]), "taken": taken}


def _row(ring: PyTree, place: jax.Array) -> PyTree:
    return jax.tree.map(lambda r: r[place], ring)


def lbfgs(
    target: Callable[..., Any], *, history: int = 10, max_step: float = float("inf"), space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Minimize with L-BFGS and a line search by the strong Wolfe conditions.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        history: number of steps in the memory.
        max_step: largest change of any element in one step, in units of the position; a fraction of the size of atoms.
        space: a space, or a prefix tree of spaces; the memory is carried along a manifold.

    Returns:
        A dynamics with `init` and `step`. A step is one line search; `state.info` has its number of evaluations.

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
