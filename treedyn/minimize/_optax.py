"""The bridge to optax, both ways."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import Struct, function
from treedyn.minimize._direction import Context, Direction, check_direction
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.space import EUCLIDEAN, Euclidean, as_space, of_leaves
from treedyn.tree import PyTree

if TYPE_CHECKING:
    import optax


class OptaxMemory(Struct):
    """What an optax transformation remembers, and the way that it has come.

    Attributes:
        state: the optimizer's state.
        way: the sum of all displacements, for leaves that are not Euclidean, `None` for those that are; `None` where
            all are.
    """

    state: Any
    way: PyTree


class Optax(Direction):
    """Use the two functions of an optax transformation as a direction.

    Its parameters are the position where that is Euclidean, and elsewhere the sum of all displacements: wrapping a
    particle into its box must not look like a jump.

    Optax relies on JAX's standard promotion of dtypes, so that is what its code runs under, whatever the user chose.
    """

    name: ClassVar[str] = "optax"
    jumps: ClassVar[bool] = True
    carries: ClassVar[bool] = False
    init_function: Callable[..., Any] = function()
    update_function: Callable[..., Any] = function()
    space: PyTree

    def init(self, part: PyTree) -> OptaxMemory:
        """Return the optimizer's state."""
        spaces = of_leaves(self.space, part)
        way = jax.tree.map(lambda x, s: None if isinstance(s, Euclidean) else jnp.zeros_like(x), part, spaces)
        way = way if jax.tree.leaves(way) else None
        with jax.numpy_dtype_promotion("standard"):
            state = self.init_function(_params(part, way))
        return OptaxMemory(state=jax.tree.map(tree.strong, state), way=way)

    def propose(self, force: PyTree, memory: OptaxMemory, context: Context) -> tuple[PyTree, OptaxMemory]:
        """Return the optimizer's update and state. Value, gradient and value function are there for line searches."""
        gradient = jax.tree.map(jnp.negative, force)
        params = _params(context.part, memory.way)

        def value_fn(there: PyTree) -> jax.Array:
            assert context.energy_at is not None
            return context.energy_at(jax.tree.map(lambda a, b, f: tree.cast(a - b, f), there, params, force))

        known = {"value": context.energy, "grad": gradient, "value_fn": value_fn}
        with jax.numpy_dtype_promotion("standard"):
            try:
                extra = {} if context.energy is None else known
                updates, state = self.update_function(gradient, memory.state, params, **extra)
            except TypeError as error:
                if context.energy is None and any(name in str(error) for name in known):
                    raise ValueError(
                        "target: this transformation compares energies, but the target is a force; use td.from_energy"
                    ) from error
                raise
        return jax.tree.map(tree.cast, updates, force), memory.replace(state=jax.tree.map(tree.strong, state))

    def carry(self, memory: OptaxMemory, taken: PyTree, transport: Callable[[PyTree], PyTree]) -> OptaxMemory:
        """Return the memory with the displacement added to the way."""
        if memory.way is None:
            return memory
        way = jax.tree.map(lambda w, d: None if w is None else w + d, memory.way, taken, is_leaf=_is_none)
        return memory.replace(way=way)


def _params(part: PyTree, way: PyTree) -> PyTree:
    return part if way is None else jax.tree.map(lambda w, x: x if w is None else w, way, part, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


class TransformationState(Struct):
    """What a direction remembers that serves as an optax transformation, and its step counter."""

    memory: Any
    step: jax.Array


def from_optax(
    target: Callable[..., Any], transformation: "optax.GradientTransformation", *, space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Use any optax transformation as a minimizer, `optax.lbfgs` and its line search included.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        transformation: an optax transformation, e.g. `optax.adam(1e-3)`.
        space: a space, or a prefix tree of spaces; flat ones, since optax does not carry what it remembers along.

    Returns:
        A dynamics with `init` and `step`.

    Raises:
        ValueError: `transformation` is no optax transformation.

    Example:
        >>> import jax, optax, treedyn as td
        >>> dynamics = td.from_optax(td.from_energy(lambda x: (x - 3.0) ** 2), optax.lbfgs())
        >>> state = td.trajectory(dynamics, dynamics.init(jax.random.key(0), 0.0), steps=5).state
        >>> round(float(state.position), 3)
        3.0
    """
    import optax

    if not isinstance(transformation, optax.GradientTransformation):
        raise ValueError(
            f"transformation: expected an optax transformation like optax.adam(1e-3), got {transformation!r}"
        )
    full = optax.with_extra_args_support(transformation)
    direction = Optax(init_function=full.init, update_function=full.update, space=as_space(space))
    return minimizer(target, direction, space=space)


def as_optax(direction: Direction) -> "optax.GradientTransformation":
    """Use a direction of this library as an optax transformation.

    Args:
        direction: one that needs no more than forces, e.g. `treedyn.minimize.Fire(dt=0.1)`.

    Returns:
        An optax transformation; `update(gradient, state, params)` takes gradients, as all of them do.

    Example:
        >>> import jax.numpy as jnp, optax, treedyn as td
        >>> transformation = td.as_optax(td.minimize.Fire(dt=0.1))
        >>> params = {"w": jnp.ones(2)}
        >>> state = transformation.init(params)
        >>> updates, state = transformation.update({"w": 2 * params["w"]}, state, params)
        >>> print(updates["w"])
        [-0.02 -0.02]
    """
    import optax

    check_direction(direction)

    def init(params: PyTree) -> TransformationState:
        return TransformationState(memory=direction.init(params), step=jnp.int32(0))

    def update(
        updates: PyTree, state: TransformationState, params: PyTree = None
    ) -> tuple[PyTree, TransformationState]:
        force = jax.tree.map(jnp.negative, updates)
        way, memory = direction.propose(force, state.memory, Context(part=params, step=state.step))
        memory = direction.carry(memory, way, lambda vector: vector)
        return way, TransformationState(memory=memory, step=state.step + 1)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
