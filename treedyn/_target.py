"""Targets: energies, forces, log densities and scores.

Every dynamics calls `target(position, env) -> Evaluation(energy, force, aux)`. Users pass a plain function of
`position` or of `(position, env)`, wrapped by one of four factories. The kind of an unwrapped function follows at trace
time from the shape of its result: a scalar is an energy, a tree like the position is a force.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import environment, tree
from treedyn import space as space_of
from treedyn._status import Status, word
from treedyn._struct import Struct, function, static
from treedyn.tree import PyTree


class Evaluation(Struct):
    """The result of a target at one position.

    Attributes:
        energy: the energy, a scalar; `None` where the target is a force.
        force: minus the gradient of the energy, a tree like the moving part of the position.
        aux: the auxiliary result of the function (`has_aux=True`), or `None`.
        status: the status word of this evaluation.
    """

    energy: Float[Array, ""] | None
    force: PyTree
    aux: PyTree = None
    status: jax.Array | int = 0


class Target(Struct):
    """A function of the position that a dynamics can evaluate; subclasses define what the function returns.

    Attributes:
        function: a function of `position` or of `(position, env)`.
        has_aux: whether it returns a pair `(value, aux)`.
        conservative: whether `force` is minus a gradient with respect to the stored coordinates of the position.
    """

    conservative: ClassVar[bool] = False
    function: Callable[..., Any] = function()
    has_aux: bool = static(default=False)

    @abstractmethod
    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        """Return energy, force and aux at a (boxed) position."""

    @final
    def _value(self, position: PyTree, env: PyTree) -> tuple[Any, PyTree]:
        out = call(self.function, tree.unbox(position), env)
        if not self.has_aux:
            return out, None
        if not (isinstance(out, tuple) and len(out) == 2):
            raise ValueError(
                f"target: {_name(self.function)} with has_aux=True must return a pair (value, aux), got {out!r}"
            )
        # Python numbers are results here, so they become arrays: a new value must not retrace
        return out[0], tree.box(jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, bool | int) else x, out[1]))


class EnergyTarget(Target):
    """A target whose function returns an energy; the force is minus its gradient."""

    conservative: ClassVar[bool] = True
    sign: float = static(default=1.0)

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:

        def energy(part: PyTree) -> tuple[jax.Array, PyTree]:
            value, aux = self._value(tree.merge(part, position), env)
            if not _is_energy(value):
                raise ValueError(
                    f"target: {_name(self.function)} must return one real number, got {_shape(value)}. An energy or "
                    "log density is a scalar: sum over particles or data. For a force, use td.from_force."
                )
            return tree.strong(self.sign * value), aux

        (value, aux), gradient = jax.value_and_grad(energy, has_aux=True)(tree.moving(position))
        return Evaluation(energy=value, force=jax.tree.map(jnp.negative, gradient), aux=aux)


class ForceTarget(Target):
    """A target whose function returns a force; the energy is unknown."""

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        value, aux = self._value(position, env)
        value = tree.box(value, f"target: the result of {_name(self.function)}")
        if not _fits(value, position):
            raise ValueError(
                f"target: {_name(self.function)} must return a tree like the position, one force for every leaf: "
                f"expected\n    {_shape(tree.unbox(position))}\ngot\n    {_shape(value)}"
            )
        force = jax.tree.map(tree.cast, tree.moving(value), tree.moving(position))
        return Evaluation(energy=None, force=force, aux=aux)


def from_energy(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Build a target from an energy U (a loss, a negative log density); the force is -dU/dx.

    Args:
        function: `function(position)` or `function(position, env)`, returns a scalar.
        has_aux: whether it returns `(energy, aux)`; `aux` is stored in `state.aux`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> spring = td.from_energy(lambda x: 0.5 * jnp.sum(x**2))
        >>> print(spring(jnp.array([1.0, 2.0])).force)
        [-1. -2.]
    """
    return EnergyTarget(**_checked(function, has_aux))


def from_log_density(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Build a target from a log density log p, normalized or not; the energy is -log p, at kT = 1.

    Args:
        function: `function(position)` or `function(position, env)`, returns a scalar.
        has_aux: whether it returns `(log_density, aux)`; `aux` is stored in `state.aux`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> normal = td.from_log_density(lambda x: -0.5 * jnp.sum(x**2))
        >>> float(normal(jnp.array([3.0, 4.0])).energy)
        12.5
    """
    return EnergyTarget(**_checked(function, has_aux), sign=-1.0)


def from_force(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Build a target from a force, which need not be a gradient; no energy is reported.

    Args:
        function: `function(position)` or `function(position, env)`, returns a tree like the position.
        has_aux: whether it returns `(force, aux)`; `aux` is stored in `state.aux`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> pull = td.from_force(lambda x: -x)
        >>> print(pull(jnp.array([3.0])).force, pull(jnp.array([3.0])).energy)
        [-3.] None
    """
    return ForceTarget(**_checked(function, has_aux))


def from_score(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Build a target from a score, the gradient of a log density; it is the force at kT = 1.

    Args:
        function: `function(position)` or `function(position, env)`, returns a tree like the position.
        has_aux: whether it returns `(score, aux)`; `aux` is stored in `state.aux`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> normal = td.from_score(lambda x: -x)
        >>> print(normal(jnp.array([3.0])).force)
        [-3.]
    """
    return from_force(function, has_aux=has_aux)


def _checked(function: object, has_aux: object) -> dict[str, Any]:
    return {"function": observing("function", function, "position"), "has_aux": check.flag("has_aux", has_aux)}


def call(function: Callable[..., Any], position: PyTree, env: PyTree) -> Any:
    """Return `function(position, env)`, or `function(position)` where the function does not take `env`.

    A second parameter receives `env` if it is required or named `env`; with a default and another name it does not.
    """
    return function(position, tree.unbox(env)) if _takes_env(function) else function(position)


def observing(name: str, function: object, what: str = "state") -> Callable[..., Any]:
    """Check that `call` can call `function` as a function of `what` or of `(what, env)`, and return it."""
    count = 2 if callable(function) and _takes_env(function) else 1
    return check.function(name, function, f"{what} or ({what}, env)", count)


def _takes_env(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.KEYWORD_ONLY and p.name == "env" for p in parameters):
        raise ValueError(f"{_name(function)}: env is passed by position. Write (position, env) without the *.")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        return any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return positional[1].default is inspect.Parameter.empty or positional[1].name == "env"


def resolve(target: Target | Callable[..., Any], position: PyTree, env: PyTree) -> Target:
    """Return a target as it is; wrap a function by the shape of its result: a scalar energy, or a force.

    Raises:
        ValueError: the result is neither, or could be both.
    """
    if isinstance(target, Target):
        return target
    observing("target", target, "position")

    def returned(part: PyTree, env: PyTree) -> PyTree:
        value = call(target, tree.unbox(tree.merge(part, position)), env)
        return tree.box(value, f"target: the result of {_name(target)}")

    out = jax.eval_shape(returned, tree.moving(position), tree.traceable(env))
    scalar = jax.tree.structure(out) == jax.tree.structure(0) and jax.tree.leaves(out)[0].shape == ()
    force = _fits(out, position)
    if scalar and not force:
        return from_energy(target)
    if force and not scalar:
        return from_force(target)
    problem = (
        "returns a scalar for a scalar position, which could be an energy or a force"
        if scalar
        else f"returns neither a scalar (an energy) nor a tree like the position (a force): expected a scalar or\n"
        f"    {_shape(tree.unbox(position))}\ngot\n    {_shape(out)}\n"
    )
    raise ValueError(
        f"target: {_name(target)} {problem}. Wrap it in td.from_energy(f), td.from_force(f), td.from_log_density(f) or "
        "td.from_score(f), with has_aux=True if it returns a pair (value, aux)."
    )


def evaluate(
    target: Target | Callable[..., Any], position: PyTree, env: PyTree, space: PyTree, *, every: bool = True
) -> Evaluation:
    """Evaluate a target at a boxed position, and check the environment and the numbers.

    All forces of all dynamics are computed here. So the status word covers every force: whether the environment was
    valid at this position, and whether all numbers are finite. Forces are with respect to displacements in `space`.
    With `every=False` the energy is the only number that is looked at.
    """
    target = resolve(target, position, env)
    part = tree.moving(position)
    result = target(position, environment.trusted(env))
    turn = space_of.pull_back if target.conservative else space_of.project
    force = turn(space, part, result.force)
    good = tree.finite(result.energy)
    if every:
        # zero times NaN or infinity is NaN; a sum takes one reduction for both
        good = good & tree.finite(jax.tree.map(lambda x, f: 0 * x + 0 * f, part, force))
    status = environment.status(env) | result.status | word(Status.NONFINITE, ~good)
    if environment.refreshable(env):
        status = status | word(Status.STALE, ~environment.valid(env, tree.unbox(position)))
    return result.replace(force=force, status=status)


def _fits(value: PyTree, position: PyTree) -> bool:
    """Tell whether the moving parts of two boxed trees have the same structure and shapes."""
    value, part = tree.moving(value), tree.moving(position)
    return jax.tree.structure(value) == jax.tree.structure(part) and all(
        f.shape == x.shape for f, x in zip(jax.tree.leaves(value), jax.tree.leaves(part), strict=True)
    )


def _is_energy(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return isinstance(value, float) if dtype is None else jnp.shape(value) == () and jnp.issubdtype(dtype, jnp.floating)


def _name(function: object) -> str:
    return f"the function {getattr(function, '__name__', type(function).__name__)!r}"


def _shape(value: PyTree) -> str:
    def one(leaf: Any) -> str:
        return f"{leaf.dtype}{list(jnp.shape(leaf))}" if hasattr(leaf, "dtype") else repr(leaf)

    return str(jax.tree.map(one, value, is_leaf=lambda x: isinstance(x, tree.Static)))
