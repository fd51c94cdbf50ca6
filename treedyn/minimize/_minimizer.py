"""Minimizers: a direction and a length, applied by one dynamics in any space."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Float

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import environment, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn.dynamics._dynamics import Targeted, check_state
from treedyn.minimize._direction import Context, Direction, check_direction
from treedyn.minimize._length import Descent, Length, Line, Whole
from treedyn.space import EUCLIDEAN, Manifold, as_space, is_space
from treedyn.tree import PyTree


class Minimizer(Targeted):
    """A dynamics that moves downhill.

    It works with displacements from the position: a direction sees forces with respect to them, a line search the
    energy E(shift(x, d)). So its path does not depend on the coordinates in which positions are stored.

    Attributes:
        direction: which way to go.
        length: how far to go.
    """

    converges: ClassVar[bool] = True
    direction: Direction
    length: Length

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        """Return whether a step may lead to any position, as a search does."""
        return self.length.searches or self.direction.jumps

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None, *, time: float = 0.0) -> State:
        """Return the initial state.

        Args:
            key: random key; unused, but part of every state.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            time: constant time at which `Timed` parts of the environment are evaluated.

        Raises:
            ValueError: an argument does not fit.
        """
        state = self.begin(key, position, env, time)
        curved = [s for s in jax.tree.leaves(self.space, is_leaf=is_space) if isinstance(s, Manifold)]
        if curved and not self.direction.carries:
            raise ValueError(
                f"space: {type(self.direction).__name__} remembers vectors that it cannot carry along a "
                f"{type(curved[0]).__name__}. Use td.lbfgs, td.conjugate_gradient, td.fire or td.gradient_descent."
            )
        one = jnp.ones((), tree.dtype(state.moving))
        info = Descent(evaluations=jnp.int32(1), length=one, found=jnp.asarray(True))
        return state.replace(memory={self.direction.name: self.direction.init(state.moving)}, info=info)

    def draw(self, state: State) -> None:
        """Return the noise of the next step: none."""
        check_state(state, (self.direction.name,))

    def apply(self, state: State, env: PyTree, noise: None) -> State:
        """Return the state one step later."""
        part, name = state.moving, self.direction.name
        context = Context(
            part=part,
            step=state.step,
            energy=state.energy,
            energy_at=None if state.energy is None else lambda way: self._energy(state, env, way),
        )
        way, memory = self.direction.propose(state.force, state.memory[name], context)
        new, info = self.length.take(self._line(state, env, way))
        taken = tree.scale(info.length, way)

        def transport(vector: PyTree) -> PyTree:
            return space_of.transport(self.space, part, taken, vector)

        memory = self.direction.carry(memory, transport(taken), transport)
        if self.length.searches:
            # a failed search resets the memory
            memory = tree.where(info.length > 0, memory, self.direction.init(part))
        return new.replace(memory={name: memory}, info=info)

    def reverse(self, state: State) -> State:
        """Raise an error: minimization is irreversible.

        Raises:
            ValueError: always.
        """
        raise ValueError("dynamics: a minimizer cannot be reversed. Use one with momenta, like td.nve(...).")

    def _line(self, state: State, env: PyTree, way: PyTree) -> Line:
        part = state.moving

        def at(length: jax.Array) -> State:
            moved = space_of.shift(self.space, part, tree.scale(length, way))
            new = state.replace(boxed=tree.merge(moved, state.boxed))
            return self.explore(new, env) if self.jumps else self.evaluate(new, env)

        def slope(there: State, length: jax.Array) -> jax.Array:
            along = space_of.transport(self.space, part, tree.scale(length, way), way)
            return -tree.vdot(there.force, along)

        return Line(start=state, way=way, at=at, slope=slope)

    def _energy(self, state: State, env: PyTree, way: PyTree) -> Float[jax.Array, ""]:
        """Return the energy at a displacement; differentiable, with a valid neighbor list."""
        now = tree.unbox(environment.at(env, state.time))
        target = target_of.resolve(self.target, state.boxed, now)
        moved = tree.merge(space_of.shift(self.space, state.moving, way), state.boxed)
        # the list is rebuilt if it is not valid there, without derivatives
        near = environment.refresh(now, state.replace(boxed=jax.lax.stop_gradient(moved)))
        energy = target(moved, near).energy
        assert energy is not None  # the state has one
        return energy


def minimizer(
    target: Callable[..., Any], direction: Direction, length: Length | None = None, *, space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Build a minimizer from a direction and a length.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        direction: `Steepest`, `Fire`, `ConjugateGradient` or `LBFGS` of `treedyn.minimize`, or your own.
        length: `Whole` (the default), `Limited`, `Armijo` or `StrongWolfe`, or your own.
        space: a space, or a prefix tree of spaces.

    Returns:
        A dynamics with `init` and `step`.

    Raises:
        ValueError: `direction` or `length` is something else.

    Example:
        >>> import jax, treedyn as td
        >>> from treedyn import minimize
        >>> descent = td.minimizer(
        ...     td.from_energy(lambda x: (x - 3.0) ** 2), minimize.Steepest(rate=1.0), minimize.Armijo()
        ... )
        >>> out = td.run(descent, descent.init(jax.random.key(0), 0.0), steps=100, until=td.converged(force=1e-3))
        >>> out.finished, round(float(out.state.position), 3)
        (True, 3.0)
    """
    function = target_of.observing("target", target, "position")
    length = Whole() if length is None else length
    check.instance("length", length, Length, "one of treedyn.minimize, like StrongWolfe()")
    return Minimizer(target=function, direction=check_direction(direction), length=length, space=as_space(space))
