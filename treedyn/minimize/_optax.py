"""The bridge to optax, both ways."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn._struct import function
from treedyn.minimize._direction import Context, Direction, check_direction
from treedyn.minimize._minimizer import Minimizer, minimizer
from treedyn.space import EUCLIDEAN, Euclidean, as_space, of_leaves
from treedyn.tree import PyTree

if TYPE_CHECKING:
    import optax


class Optax(Direction):
    """The update of an optax transformation.

    Its parameters are the position of Euclidean leaves, and the sum of all displacements of others: wrapping a particle
    into its box must not look like a jump. The memory has the `state` of the transformation and those sums, `way`: a
    tree with `None` for Euclidean leaves, or `None` if all are Euclidean. Optax relies on the standard promotion of
    dtypes, so its code runs under it.
    """

    name: ClassVar[str] = "optax"
    jumps: ClassVar[bool] = True
    carries: ClassVar[bool] = False
    init_function: Callable[..., Any] = function()
    update_function: Callable[..., Any] = function()
    space: PyTree

    def init(self, part: PyTree) -> dict[str, Any]:
        """Return the initial state of the transformation."""
        spaces = of_leaves(self.space, part)
        way = jax.tree.map(lambda x, s: None if isinstance(s, Euclidean) else jnp.zeros_like(x), part, spaces)
        way = way if jax.tree.leaves(way) else None
        with jax.numpy_dtype_promotion("standard"):
            state = self.init_function(_params(part, way))
        return {"state": jax.tree.map(tree.strong, state), "way": way}

    def propose(self, force: PyTree, memory: dict[str, Any], context: Context) -> tuple[PyTree, dict[str, Any]]:
        """Return the update and the memory; value, gradient and value function are passed for line searches."""
        gradient = jax.tree.map(jnp.negative, force)
        params = _params(context.part, memory["way"])

        def value_fn(there: PyTree) -> jax.Array:
            assert context.energy_at is not None
            return context.energy_at(jax.tree.map(lambda a, b, f: tree.cast(a - b, f), there, params, force))

        known = {"value": context.energy, "grad": gradient, "value_fn": value_fn}
        with jax.numpy_dtype_promotion("standard"):
            try:
                extra = {} if context.energy is None else known
                updates, state = self.update_function(gradient, memory["state"], params, **extra)
            except TypeError as error:
                if context.energy is None and any(name in str(error) for name in known):
                    raise ValueError(
                        "target: this transformation compares energies, but the target is a force. Use td.from_energy."
                    ) from error
                raise
        return jax.tree.map(tree.cast, updates, force), {**memory, "state": jax.tree.map(tree.strong, state)}

    def carry(self, memory: dict[str, Any], taken: PyTree, transport: Callable[[PyTree], PyTree]) -> dict[str, Any]:
        """Return the memory with the displacement added to `way`."""
        if memory["way"] is None:
            return memory
        way = jax.tree.map(lambda w, d: None if w is None else w + d, memory["way"], taken, is_leaf=_is_none)
        return {**memory, "way": way}


def _params(part: PyTree, way: PyTree) -> PyTree:
    return part if way is None else jax.tree.map(lambda w, x: x if w is None else w, way, part, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


def from_optax(
    target: Callable[..., Any], transformation: "optax.GradientTransformation", *, space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Use any optax transformation as a minimizer, `optax.lbfgs` and its line search included.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        transformation: an optax transformation, e.g. `optax.adam(1e-3)`.
        space: a flat space, or a prefix tree of flat spaces: optax does not carry vectors along a manifold.

    Returns:
        A dynamics with `init` and `step`.

    Raises:
        ValueError: `transformation` is not an optax transformation.

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
            f"transformation: expected an optax transformation, got {transformation!r}. Pass e.g. optax.adam(1e-3)."
        )
    full = optax.with_extra_args_support(transformation)
    direction = Optax(init_function=full.init, update_function=full.update, space=as_space(space))
    return minimizer(target, direction, space=space)


def as_optax(direction: Direction) -> "optax.GradientTransformation":
    """Use a direction of this library as an optax transformation.

    Args:
        direction: a direction that needs only forces, e.g. `treedyn.minimize.Fire(dt=0.1)`.

    Returns:
        An optax transformation.

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

    def init(params: PyTree) -> dict[str, Any]:
        return {"memory": direction.init(params), "step": jnp.int32(0)}

    def update(updates: PyTree, state: dict[str, Any], params: PyTree = None) -> tuple[PyTree, dict[str, Any]]:
        force = jax.tree.map(jnp.negative, updates)
        way, memory = direction.propose(force, state["memory"], Context(part=params, step=state["step"]))
        memory = direction.carry(memory, way, lambda vector: vector)
        return way, {"memory": memory, "step": state["step"] + 1}

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
