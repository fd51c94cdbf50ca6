"""The contract of every dynamics, and how a position becomes a state."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import environment, tree
from treedyn import space as space_of
from treedyn._compensated import Compensated
from treedyn._member import marked
from treedyn._state import State
from treedyn._status import Status, word
from treedyn._struct import Struct, function
from treedyn.environment._parts import for_all
from treedyn.tree import PyTree


class Dynamics(Struct):
    """A rule that moves a state step by step: integrators, thermostats, samplers, minimizers and ensembles alike.

    A dynamics is a struct. Its numbers are leaves: changing one does not retrace, `vmap` over kT is a temperature
    ladder, and `grad` goes through dt.

    A step is `apply(state, env, draw(state))`. Given its noise it is a deterministic function, so every dynamics can be
    certified, metropolized and replayed.

    Attributes:
        jumps: whether a step may lead to any position, so that the next position cannot be extrapolated. Such a
            dynamics evaluates new positions with `explore`, or after `environment.refresh`.
        converges: whether it approaches a fixed point; a run then reports that `until` was not met.

    Example:
        >>> import jax, treedyn as td
        >>> init, step = td.nve(td.from_energy(lambda x: x**2 / 2), dt=0.1)
        >>> state = step(init(jax.random.key(0), 1.0))
        >>> round(float(state.position), 3)
        0.995
    """

    jumps: ClassVar[bool] = False
    converges: ClassVar[bool] = False

    @abstractmethod
    def init(self, key: jax.Array, position: PyTree, env: PyTree = None) -> State:
        """Return the initial state."""

    @abstractmethod
    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step: a function of `state.stream` and `state.step` alone."""

    @abstractmethod
    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state one step later, given its noise; `step` counts it.

        Args:
            state: state at the beginning of the step.
            env: environment at the end of the step.
            noise: the noise that `draw` returned.
        """

    @abstractmethod
    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position; adds the status of this evaluation."""

    @abstractmethod
    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the position, boxed, and time after another step like that from `old` to `new`."""

    @abstractmethod
    def reverse(self, state: State) -> State:
        """Return `state` with time reversed: a reversible dynamics then retraces its path."""

    @abstractmethod
    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the value of a user's function of one system: arrays.

        Args:
            function: `function(state)`, `function(state, env)`, or `function(state, env, *rest)`.
            state: the state.
            env: its environment; the function sees `Timed` parts at the time of the state.
            *rest: further trees, batched like the state.
        """

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return a status word for the step from `old` to `new`: what can only be seen by comparing the two.

        `run` asks for it after every step. By default it is 0.
        """
        del old
        return jnp.zeros_like(new.status)

    @final
    def step(self, state: State, env: PyTree = None) -> State:
        """Return the state one step later.

        Args:
            state: state at the beginning of the step.
            env: environment at the end of the step.

        Raises:
            ValueError: `apply` returned a state with other trees, shapes or dtypes.
        """
        new = self.apply(state, env, self.draw(state))
        if not isinstance(new, State) or state.unlike(new):
            other = f"another {', '.join(state.unlike(new))}" if isinstance(new, State) else f"a {type(new).__name__}"
            raise ValueError(
                f"{type(self).__name__}.apply: expected a state with the trees, shapes and dtypes of its argument, got "
                f"{other}; let init set every field as apply does."
            )
        return new.replace(step=state.step + 1)

    def __init_subclass__(cls) -> None:
        if "step" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.step: a step is apply(state, env, draw(state)). Define draw and apply instead."
            )
        super().__init_subclass__()

    def __iter__(self) -> Iterator[Callable[..., State]]:
        """Unpack as `init, step = dynamics`."""
        return iter((self.init, self.step))


class Targeted(Dynamics):
    """A dynamics of one system that moves in a space under a target.

    Attributes:
        target: a `Target`, or a bare function that is resolved when it is traced; its parameters are leaves.
        space: a space, or a prefix tree of spaces.
    """

    target: Callable[..., Any] = function()
    space: PyTree

    def target_at(self, state: State) -> Callable[..., Any]:
        """Return the target of a state: by default `target`, whatever the step."""
        del state
        return self.target

    @final
    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position; adds the status of this evaluation."""
        return self.evaluate_target(state, env, self.target_at(state))

    @final
    def evaluate_target(self, state: State, env: PyTree, target: Callable[..., Any], *, every: bool = True) -> State:
        """Return `state` with force, energy and aux of another target at its position; adds its status.

        With `every=False` the status covers the energy and no other number.
        """
        now = tree.unbox(environment.at(env, state.time))
        result = target_of.evaluate(target, state.boxed, now, self.space, every=every)
        return state.replace(
            force=result.force, energy=result.energy, aux=result.aux, status=state.status | result.status
        )

    @final
    def explore(self, state: State, env: PyTree, *, every: bool = True) -> State:
        """Return the same as `evaluate`, with a neighbor list that is rebuilt if it is not valid at the position.

        With `every=False` the status covers the energy and no other number, for proposals that are rejected anyway if
        another one is not finite.
        """
        if not environment.refreshable(env):
            return self.evaluate_target(state, env, self.target_at(state), every=every)

        def near(state: State, env: PyTree) -> State:
            return self.evaluate_target(state, tree.unbox(env), self.target_at(state), every=every)

        def far(state: State, env: PyTree) -> State:
            return near(state, environment.rebuild(tree.unbox(env), state.position, state.time))

        holds = for_all(environment.valid(env, state.position, state.time))
        return jax.lax.cond(holds, near, far, state, tree.traceable(env))

    @final
    def begin(self, key: jax.Array, position: PyTree, env: PyTree, time: Real[ArrayLike, ""] | None = 0.0) -> State:
        """Return a state with position, force and energy from the arguments of `init`; `time` may be `None`.

        Raises:
            ValueError: an argument does not fit.
        """
        boxed = tree.box(position, "position")
        check_position(boxed)
        check_key(key)
        environment.check(env)
        for name, value in (("position", position), ("env", env)):
            check_alone(name, value)
        part = tree.moving(boxed)
        inside = space_of.contains(self.space, part)
        space_of.check_flat(self.space, part)
        check_wrapped(self.target, self.space)
        clock = None
        if time is not None:
            clock = Compensated.of(jnp.asarray(check.number("time", time)).astype(tree.dtype(part)))
        status = word(Status.NONFINITE, ~inside)  # known numbers have raised before
        blank: dict[str, Any] = {"force": None, "energy": None, "aux": None, "memory": {}}
        state = State(boxed=boxed, key=key, step=jnp.int32(0), clock=clock, status=status, **blank)
        return self.evaluate(state, env)

    @final
    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the position, boxed, and time after another step like that from `old` to `new`."""
        if self.jumps:
            return new.boxed, new.time
        way = space_of.displacement(self.space, new.moving, old.moving)
        way = space_of.transport(self.space, old.moving, way, way)
        time = None if new.time is None or old.time is None else new.time + (new.time - old.time)
        return tree.merge(space_of.shift(self.space, new.moving, way), new.boxed), time

    @final
    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the value of a user's function."""
        return seen(function, state, env, *rest)

    def reverse(self, state: State) -> State:
        """Return `state` with its momenta reversed."""
        return state.replace(momentum=jax.tree.map(jnp.negative, state.momentum))


def seen(function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
    """Return `function(state)`, `function(state, env)` or `function(state, env, *rest)`; env is that of its time."""
    now = tree.unbox(environment.at(env, state.time))
    return function(state, now, *rest) if rest else target_of.call(function, state, now)


def check_position(boxed: PyTree) -> None:
    """Refuse a position with complex or non-finite leaves, or without a floating-point leaf."""
    leaves = jax.tree_util.tree_leaves_with_path(boxed)
    for path, leaf in leaves:
        where = f"position{jax.tree_util.keystr(path)}"
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError(f"{where}: expected real numbers, got {leaf.dtype}. Store real and imaginary part apart.")
        if not tree.is_moving(leaf) or (known := tree.known(leaf)) is None:
            continue
        # NumPy, because jnp would trace even known numbers inside of jit
        bad = int(np.sum(~np.isfinite(known.astype(float))))
        if bad:
            raise ValueError(
                f"{where}: expected finite numbers, got {bad} NaN or infinite elements out of {leaf.size}. Check where "
                "the position was made."
            )
    if not any(tree.is_moving(leaf) for _, leaf in leaves):
        raise ValueError(
            f"position: expected at least one floating-point leaf, got {tree.describe(tree.unbox(boxed))} with leaves "
            f"{[str(leaf.dtype) for _, leaf in leaves]}. Integers and functions only ride along: use e.g. 1.0, not 1."
        )


def check_wrapped(target: Callable[..., Any], space: PyTree) -> None:
    """Warn if the energy is that of a box which the dynamics does not know."""
    box = getattr(getattr(target, "function", target), "space", None)
    # open space has no numbers
    if isinstance(space, space_of.Euclidean) and isinstance(box, space_of.Space) and jax.tree.leaves(box):
        check.warn(
            f"space: the energy has the space {type(box).__name__}, but the dynamics has none, so positions leave the "
            "box. Pass space=... to the dynamics, or an open space such as tp.free() for unwrapped paths."
        )


def check_state(state: Any, names: tuple[str, ...]) -> None:
    """Refuse an object that is not a state of one system, or whose memory lacks an entry for one of `names`."""
    if isinstance(state, State) and jnp.ndim(state.step):
        raise ValueError(
            f"state: expected that of one system, got those of {jnp.shape(state.step)[0]}. Use "
            "td.ensemble(dynamics, members) or jax.vmap to step many."
        )
    missing = list(names) if not isinstance(state, State) else [name for name in names if name not in state.memory]
    if missing or not isinstance(state, State):
        raise ValueError(
            f"state: expected a state that the init of this dynamics returned, got a {type(state).__name__} without "
            f"memory of {', '.join(missing)}. To continue from another dynamics, call "
            "dynamics.init(key, state.position, env), with momentum=state.momentum if both have momenta."
        )


def check_alone(name: str, value: PyTree) -> None:
    """Refuse values that are marked for the members of an ensemble."""
    if marked(value):
        raise ValueError(
            f"{name}: a part of it differs from member to member, but this dynamics is of one system. Use "
            "td.ensemble(dynamics, members)."
        )


def check_key(key: Any) -> None:
    """Refuse anything but one random key."""
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    legacy = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.ndim == 1
    if not ((typed and key.ndim == 0) or legacy):
        raise ValueError(f"key: expected one random key, got {key!r}. Pass e.g. jax.random.key(0).")
