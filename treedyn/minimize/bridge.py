"""The bridge to optax, both ways."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn.minimize.minimizer import Context, Minimizer, Rule, check_rule, minimizer
from treedyn.space import EUCLIDEAN
from treedyn.struct import Struct, function
from treedyn.tree import PyTree

if TYPE_CHECKING:
    import optax


class OptaxRule(Rule):
    """Use the two functions of an optax transformation as a rule.

    Optax relies on JAX's standard promotion of dtypes, so that is what its code runs under, whatever the user chose.
    """

    name: ClassVar[str] = "optax"
    init_function: Callable[..., Any] = function()
    update_function: Callable[..., Any] = function()

    def init(self, part: PyTree) -> Any:
        """Return the optimizer's state."""
        with jax.numpy_dtype_promotion("standard"):
            return jax.tree.map(tree.strong, self.init_function(part))

    def update(self, force: PyTree, memory: Any, context: Context) -> tuple[PyTree, Any]:
        """Return the optimizer's update and state. Value, gradient and value function are there for line searches."""
        gradient = jax.tree.map(jnp.negative, force)
        known = {"value": context.energy, "grad": gradient, "value_fn": context.energy_at}
        with jax.numpy_dtype_promotion("standard"):
            try:
                extra = {} if context.energy is None else known
                updates, memory = self.update_function(gradient, memory, context.part, **extra)
            except TypeError as error:
                if context.energy is None and any(name in str(error) for name in known):
                    raise ValueError(
                        "target: this transformation compares energies, but the target is a force; use td.from_energy"
                    ) from error
                raise
        return jax.tree.map(tree.cast, updates, force), jax.tree.map(tree.strong, memory)


class OptaxMemory(Struct):
    """Hold the memory of a rule that serves as an optax transformation, and its step counter."""

    memory: Any
    step: jax.Array


def from_optax(
    target: Callable[..., Any], transformation: "optax.GradientTransformation", *, space: PyTree = EUCLIDEAN
) -> Minimizer:
    """Use any optax transformation as a minimizer, `optax.lbfgs` and its line search included.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        transformation: an optax transformation, e.g. `optax.adam(1e-3)`.
        space: a space, or a prefix tree of spaces.

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
    return minimizer(target, OptaxRule(init_function=full.init, update_function=full.update), space=space)


def as_optax(rule: Rule) -> "optax.GradientTransformation":
    """Use a rule of this library as an optax transformation.

    Args:
        rule: a rule that needs no more than forces, e.g. `fire_rule(dt=0.1)`.

    Returns:
        An optax transformation; `update(gradient, state, params)` takes gradients, as all of them do.

    Example:
        >>> import jax.numpy as jnp, optax, treedyn as td
        >>> transformation = td.as_optax(td.fire_rule(dt=0.1))
        >>> params = {"w": jnp.ones(2)}
        >>> state = transformation.init(params)
        >>> updates, state = transformation.update({"w": 2 * params["w"]}, state, params)
        >>> print(updates["w"])
        [-0.02 -0.02]
    """
    import optax

    check_rule(rule)

    def init(params: PyTree) -> OptaxMemory:
        return OptaxMemory(memory=rule.init(params), step=jnp.int32(0))

    def update(updates: PyTree, state: OptaxMemory, params: PyTree = None) -> tuple[PyTree, OptaxMemory]:
        force = jax.tree.map(jnp.negative, updates)
        way, memory = rule.update(force, state.memory, Context(part=params, step=state.step))
        return way, OptaxMemory(memory=memory, step=state.step + 1)

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]
