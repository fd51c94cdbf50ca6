"""The contract of every dynamics, and how a position becomes a state."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np

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
    """What moves a state step by step: integrators, thermostats, samplers, minimizers and ensembles alike.

    A dynamics is a struct. Its numbers are leaves, so changing one does not retrace, `vmap` over kT is a temperature
    ladder and `grad` goes through dt.

    A step is `apply(state, env, draw(state))`. Given its noise it is a deterministic function, so every dynamics can be
    certified, metropolized and replayed, whatever it is made of.

    Attributes:
        jumps: whether a step may lead anywhere, so that the position after the next one cannot be extrapolated. Such a
            dynamics calls `environment.refresh` before it evaluates a position that it jumped to, or `explore`.
        converges: whether it is to reach a fixed point: a run of it says so where its `until` was not met.

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
        """Return the state in which to start."""

    @abstractmethod
    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step: a function of `state.stream` and `state.step` alone."""

    @abstractmethod
    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state one step later, given its noise; `step` counts it.

        Args:
            state: where to start.
            env: environment at the end of the step.
            noise: what `draw` returned.
        """

    @abstractmethod
    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position, and the status of this evaluation added."""

    @abstractmethod
    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return where one more step like that from `old` to `new` would lead: the position, boxed, and the time."""

    @abstractmethod
    def reverse(self, state: State) -> State:
        """Return `state` with time reversed: a reversible dynamics then goes back the way it came."""

    @abstractmethod
    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return what a user's function of one system says of a state: arrays.

        Args:
            function: `function(state)`, `function(state, env)`, or one that takes `rest` after both.
            state: the state.
            env: its environment; the function sees `Timed` parts as they are at the time of the state.
            *rest: further trees, batched like the state.
        """

    @final
    def step(self, state: State, env: PyTree = None) -> State:
        """Return the state one step later.

        Args:
            state: where to start.
            env: environment at the end of the step.

        Raises:
            ValueError: `apply` did not return a state like the one it was given.
        """
        new = self.apply(state, env, self.draw(state))
        if not isinstance(new, State) or (fields := state.unlike(new)):
            found = f"a {type(new).__name__}" if not isinstance(new, State) else f"another {', '.join(fields)}"
            raise ValueError(
                f"{type(self).__name__}.apply: expected a state with the trees, shapes and dtypes of the one it was "
                f"given, got {found}; let init set every field as apply does"
            )
        return new.replace(step=state.step + 1)

    def __init_subclass__(cls) -> None:
        if "step" in vars(cls):
            raise TypeError(
                f"{cls.__name__}.step: a step is apply(state, env, draw(state)); define draw and apply instead"
            )
        super().__init_subclass__()

    def __iter__(self) -> Iterator[Callable[..., State]]:
        """Unpack as `init, step = dynamics`."""
        return iter((self.init, self.step))


class Targeted(Dynamics):
    """A dynamics of one system, which moves in a space under a target.

    Attributes:
        target: a `Target`, or a bare function that is resolved when it is traced; it may have parameters of its own.
        space: how every leaf moves.
    """

    target: Callable[..., Any] = function()
    space: PyTree

    @final
    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position, and the status of this evaluation added."""
        now = tree.unbox(environment.at(env, state.time))
        result = target_of.evaluate(self.target, state.boxed, now, self.space)
        return state.replace(
            force=result.force, energy=result.energy, aux=result.aux, status=state.status | result.status
        )

    @final
    def explore(self, state: State, env: PyTree) -> State:
        """Return the same for a position that may be far from the one that `env` was made for.

        A list that does not hold there is rebuilt for this one evaluation.
        """

        def near(state: State, env: PyTree) -> State:
            return self.evaluate(state, tree.unbox(env))

        def far(state: State, env: PyTree) -> State:
            return self.evaluate(state, environment.rebuild(tree.unbox(env), state.position, state.time))

        if not environment.refreshable(env):
            return self.evaluate(state, env)
        holds = for_all(environment.valid(env, state.position, state.time))
        return jax.lax.cond(holds, near, far, state, tree.traceable(env))

    @final
    def begin(self, key: jax.Array, position: PyTree, env: PyTree, time: Any = 0.0) -> State:
        """Check what a user passed to `init`, and return a state with position, force and energy.

        Args:
            key: random key.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            time: the time of the position; `None` where there is none.
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
        blank = State(
            boxed=boxed,
            force=None,
            energy=None,
            aux=None,
            key=key,
            step=jnp.int32(0),
            clock=None if time is None else Compensated.of(_time(time, tree.dtype(part))),
            status=word(Status.NONFINITE, ~inside),  # where numbers are not known yet, this is all that can be said
            memory={},
        )
        return self.evaluate(blank, env)

    @final
    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return where one more step like that from `old` to `new` would lead: the position, boxed, and the time."""
        if self.jumps:
            return new.boxed, new.time
        way = space_of.displacement(self.space, new.moving, old.moving)
        way = space_of.transport(self.space, old.moving, way, way)
        time = None if new.time is None or old.time is None else new.time + (new.time - old.time)
        return tree.merge(space_of.shift(self.space, new.moving, way), new.boxed), time

    @final
    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return what a user's function says of a state."""
        return seen(function, state, env, *rest)

    def reverse(self, state: State) -> State:
        """Return `state` with its momenta reversed."""
        return state.replace(momentum=jax.tree.map(jnp.negative, state.momentum))


def seen(function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
    """Return `function(state)`, `function(state, env)` or `function(state, env, *rest)`; env is that of its time."""
    now = tree.unbox(environment.at(env, state.time))
    return function(state, now, *rest) if rest else target_of.call(function, state, now)


def _time(time: Any, kind: Any) -> jax.Array:
    return jnp.asarray(check.number("time", time)).astype(kind)


def check_position(boxed: PyTree) -> None:
    """Refuse positions that no dynamics can move.

    Raises:
        ValueError: there is no floating-point leaf, one is complex, or one is not finite.
    """
    leaves = jax.tree_util.tree_leaves_with_path(boxed)
    for path, leaf in leaves:
        where = f"position{jax.tree_util.keystr(path)}"
        if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
            raise ValueError(f"{where} is complex: store real and imaginary part as two real leaves")
        if not tree.is_moving(leaf) or (known := tree.known(leaf)) is None:
            continue
        # NumPy, because jnp would trace even what is known when a user calls `init` inside jit
        bad = int(np.sum(~np.isfinite(known.astype(float))))
        if bad:
            raise ValueError(f"{where} has {bad} NaN or infinite elements out of {leaf.size}: check where it was made")
    if not any(tree.is_moving(leaf) for _, leaf in leaves):
        raise ValueError(
            f"position has no floating-point leaf that could move, got {tree.describe(tree.unbox(boxed))} with leaves "
            f"{[str(leaf.dtype) for _, leaf in leaves]}: integers and functions only ride along; use e.g. 1.0, not 1"
        )


def check_state(state: Any, names: tuple[str, ...]) -> None:
    """Refuse what the `init` of another dynamics made: it lacks what this one has to remember.

    Raises:
        ValueError: `state` is no state, or its memory has no entry for one of `names`.
    """
    if isinstance(state, State) and jnp.ndim(state.step):
        raise ValueError(
            f"state: expected that of one system, got those of {jnp.shape(state.step)[0]}; "
            "td.ensemble(dynamics, members) steps many, or jax.vmap does"
        )
    missing = list(names) if not isinstance(state, State) else [name for name in names if name not in state.memory]
    if missing or not isinstance(state, State):
        raise ValueError(
            f"state: expected what the init of this very dynamics returns, got a {type(state).__name__} that does not "
            f"remember {', '.join(missing)}. To go on from another dynamics, call "
            "dynamics.init(key, state.position, env), with momentum=state.momentum where both have one."
        )


def check_alone(name: str, value: PyTree) -> None:
    """Refuse what is marked for the members of an ensemble.

    Raises:
        ValueError: something is.
    """
    if marked(value):
        raise ValueError(
            f"{name}: a part of it differs from member to member, and this dynamics is of one system; "
            "td.ensemble(dynamics, members) is one of many"
        )


def check_key(key: Any) -> None:
    """Refuse anything but one random key.

    Raises:
        ValueError: `key` is no key, or an array of keys.
    """
    typed = hasattr(key, "dtype") and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    legacy = hasattr(key, "dtype") and key.dtype == jnp.uint32 and key.ndim == 1
    if not ((typed and key.ndim == 0) or legacy):
        raise ValueError(f"key: expected one random key, e.g. jax.random.key(0), got {key!r}")
