"""What pulls on the position: an energy, a force, a log density or a score.

Every dynamics asks a `Target` one thing: `target(position, env) -> Evaluation(energy, force, aux)`. Users pass a plain
function of `position`, or of `(position, env)`; the four factories say what it returns. A bare function is resolved by
the shape of its result, at trace time: a scalar is an energy, a tree like the position is a force.
"""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import environment, tree
from treedyn import space as space_of
from treedyn._status import Status, word
from treedyn._struct import Struct, function, static
from treedyn.tree import PyTree


class Evaluation(Struct):
    """Hold what a target says about one position.

    Attributes:
        energy: scalar, or `None` where the target knows forces only.
        force: minus the gradient of the energy, in the structure of the moving part of the position.
        aux: whatever else the user's function returned (`has_aux=True`), or `None`.
        status: the status word of this evaluation.
    """

    energy: jax.Array | None
    force: PyTree
    aux: PyTree = None
    status: jax.Array | int = 0


class Target(Struct):
    """Wrap a user's function; subclasses say what it returns.

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
        """Evaluate at a (boxed) position."""

    def _value(self, position: PyTree, env: PyTree) -> tuple[Any, PyTree]:
        out = call(self.function, tree.unbox(position), env)
        if not self.has_aux:
            return out, None
        if not (isinstance(out, tuple) and len(out) == 2):
            raise ValueError(
                f"target: {_name(self.function)}, with has_aux=True, must return a pair (value, aux); got {out!r}"
            )
        # Python numbers are results here, not structure: one that changes must not retrace
        return out[0], tree.box(jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, bool | int) else x, out[1]))


class EnergyTarget(Target):
    """Take the function's value as an energy; the force is minus its gradient."""

    conservative: ClassVar[bool] = True
    sign: float = static(default=1.0)

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        """Return energy, force and aux at `position`."""

        def energy(part: PyTree) -> tuple[jax.Array, PyTree]:
            value, aux = self._value(tree.merge(part, position), env)
            if not _is_energy(value):
                raise ValueError(
                    f"target: {_name(self.function)} must return one real number, got {_shape(value)}: an "
                    "energy or log density is a scalar. Sum over particles or data; pass forces through td.from_force."
                )
            return tree.strong(self.sign * value), aux

        (value, aux), gradient = jax.value_and_grad(energy, has_aux=True)(tree.moving(position))
        return Evaluation(energy=value, force=jax.tree.map(jnp.negative, gradient), aux=aux)


class ForceTarget(Target):
    """Take the function's value as a force; the energy is not known."""

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        """Return force and aux at `position`."""
        value, aux = self._value(position, env)
        value = tree.box(value, f"target: what {_name(self.function)} returned")
        if not _fits(value, position):
            raise ValueError(
                f"target: {_name(self.function)} must return a tree like the position, one force for every leaf: "
                f"expected\n"
                f"    {_shape(tree.unbox(position))}\ngot\n    {_shape(value)}"
            )
        force = jax.tree.map(tree.cast, tree.moving(value), tree.moving(position))
        return Evaluation(energy=None, force=force, aux=aux)


def from_energy(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Take a function as an energy U, also called a loss or a negative log density: the force is -dU/dx.

    Args:
        function: `function(position)` or `function(position, env)`, returns a scalar.
        has_aux: whether it returns `(energy, aux)`; `aux` is kept in `state.aux`.

    Returns:
        A `Target`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> spring = td.from_energy(lambda x: 0.5 * jnp.sum(x**2))
        >>> print(spring(jnp.array([1.0, 2.0])).force)
        [-1. -2.]
    """
    return EnergyTarget(function=observing("function", function, "position"), has_aux=check.flag("has_aux", has_aux))


def from_log_density(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Take a function as a log density log p, with or without its constant: the energy is -log p, at kT = 1.

    Args:
        function: `function(position)` or `function(position, env)`, returns a scalar.
        has_aux: whether it returns `(log_density, aux)`; `aux` is kept in `state.aux`.

    Returns:
        A `Target`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> normal = td.from_log_density(lambda x: -0.5 * jnp.sum(x**2))
        >>> float(normal(jnp.array([3.0, 4.0])).energy)
        12.5
    """
    return EnergyTarget(
        function=observing("function", function, "position"), has_aux=check.flag("has_aux", has_aux), sign=-1.0
    )


def from_force(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Take a function as a force; it need not be the gradient of anything, and no energy is reported.

    Args:
        function: `function(position)` or `function(position, env)`, returns a tree like the position.
        has_aux: whether it returns `(force, aux)`; `aux` is kept in `state.aux`.

    Returns:
        A `Target`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> pull = td.from_force(lambda x: -x)
        >>> print(pull(jnp.array([3.0])).force, pull(jnp.array([3.0])).energy)
        [-3.] None
    """
    return ForceTarget(function=observing("function", function, "position"), has_aux=check.flag("has_aux", has_aux))


def from_score(function: Callable[..., Any], *, has_aux: bool = False) -> Target:
    """Take a function as a score, the gradient of a log density: the force at kT = 1.

    Args:
        function: `function(position)` or `function(position, env)`, returns a tree like the position.
        has_aux: whether it returns `(score, aux)`; `aux` is kept in `state.aux`.

    Returns:
        A `Target`.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> normal = td.from_score(lambda x: -x)
        >>> print(normal(jnp.array([3.0])).force)
        [-3.]
    """
    return ForceTarget(function=observing("function", function, "position"), has_aux=check.flag("has_aux", has_aux))


def call(function: Callable[..., Any], position: PyTree, env: PyTree) -> Any:
    """Call `function(position, env)`, or `function(position)` where that is all it takes.

    `env` is passed to a second parameter that is required or is called `env`, with functions as they are. A second
    parameter with a default and another name is the user's own.
    """
    return function(position, tree.unbox(env)) if _takes_env(function) else function(position)


def observing(name: str, function: Any, what: str = "state") -> Callable[..., Any]:
    """Return a function that `call` can call.

    Args:
        name: what the argument is called by the user; for the error message.
        function: what was given.
        what: what it is a function of.

    Raises:
        ValueError: it is no function of `what` or of `(what, env)`.
    """
    count = 2 if callable(function) and _takes_env(function) else 1
    return check.function(name, function, f"{what} or ({what}, env)", count)


def _takes_env(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.KEYWORD_ONLY and p.name == "env" for p in parameters):
        raise ValueError(f"{_name(function)}: env is passed by position; write (position, env), without the *")
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < 2:
        return any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return positional[1].default is inspect.Parameter.empty or positional[1].name == "env"


def resolve(target: Any, position: PyTree, env: PyTree) -> Target:
    """Return the `Target` that a user meant by `target`.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy (a scalar) or a
            force (a tree like the position). Which of the two is seen from the shape of its result.
        position: a boxed position.
        env: the environment.

    Raises:
        ValueError: the result is neither, or both.
    """
    if isinstance(target, Target):
        return target
    observing("target", target, "position")

    def returned(part: PyTree, env: PyTree) -> PyTree:
        value = call(target, tree.unbox(tree.merge(part, position)), env)
        return tree.box(value, f"target: what {_name(target)} returned")

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
        f"target: {_name(target)} {problem}. Say which it is: td.from_energy(f), td.from_force(f), "
        "td.from_log_density(f) or td.from_score(f); with has_aux=True where it returns a pair (value, aux)."
    )


def evaluate(target: Any, position: PyTree, env: PyTree, space: PyTree) -> Evaluation:
    """Evaluate a target, and check the environment that it used.

    This is the one place where a dynamics computes forces, so validity is a property of every force that was ever
    used: the status word says whether the environment held at this very position and whether all is finite.

    Args:
        target: a `Target` or a bare function.
        position: a boxed position.
        env: the environment.
        space: how the leaves move; forces are taken with respect to displacements in it.

    Returns:
        The evaluation, its `status` set.
    """
    target = resolve(target, position, env)
    part = tree.moving(position)
    result = target(position, env)
    turn = space_of.pull_back if target.conservative else space_of.project
    force = turn(space, part, result.force)
    good = tree.finite((part, force, result.energy))
    status = environment.status(env) | result.status | word(Status.NONFINITE, ~good)
    if environment.refreshable(env):
        status = status | word(Status.STALE, ~environment.valid(env, tree.unbox(position)))
    return result.replace(force=force, status=status)


def _fits(value: PyTree, position: PyTree) -> bool:
    """Tell whether the moving part of the boxed tree `value` has the structure and shapes of that of `position`."""
    value, part = tree.moving(value), tree.moving(position)
    return jax.tree.structure(value) == jax.tree.structure(part) and all(
        f.shape == x.shape for f, x in zip(jax.tree.leaves(value), jax.tree.leaves(part), strict=True)
    )


def _is_energy(value: Any) -> bool:
    if hasattr(value, "dtype"):
        return jnp.shape(value) == () and jnp.issubdtype(value.dtype, jnp.floating)
    return isinstance(value, float)


def _name(function: Any) -> str:
    return f"the function {getattr(function, '__name__', type(function).__name__)!r}"


def _shape(value: Any) -> str:
    def one(leaf: Any) -> str:
        return (
            f"{getattr(leaf, 'dtype', type(leaf).__name__)}{list(jnp.shape(leaf))}"
            if tree.is_array(leaf) or hasattr(leaf, "dtype")
            else repr(leaf)
        )

    return str(jax.tree.map(one, value, is_leaf=lambda x: isinstance(x, tree.Static)))
