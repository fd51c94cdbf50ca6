"""Ensembles: many members as one dynamics, in which any number may differ between members."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int32

from treedyn import _check as check
from treedyn import environment, schedule, tree
from treedyn import space as space_of
from treedyn._joint import is_joint
from treedyn._member import each, is_per_member, marked, member, over_members, stack, take, unmarked
from treedyn._state import State
from treedyn.dynamics._dynamics import Dynamics, Targeted, check_key, check_position, seen
from treedyn.environment._parts import Refreshable
from treedyn.tree import PyTree


class Ensemble(Dynamics):
    """A dynamics that steps many independent members at once.

    All leaves of its states have the members as their first axis. A member has its own step counter, time, status word
    and noise. Noise belongs to the slot: a state that is copied into a slot continues with the noise of that slot.

    Attributes:
        inner: the dynamics of one member; values that differ between members are marked.
        slots: number of every member, `int32[members]`.
    """

    inner: Dynamics
    slots: Int32[jax.Array, "members"]

    @property
    def members(self) -> int:
        """Return the number of members."""
        return self.slots.shape[0]

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        """Return whether a step may lead to any position."""
        return self.inner.jumps

    @property
    def converges(self) -> bool:  # type: ignore[override]
        """Return whether the members approach a fixed point."""
        return self.inner.converges

    def init(
        self,
        key: jax.Array,
        position: PyTree,
        env: PyTree = None,
        *,
        momentum: PyTree = None,
        kT: PyTree = None,
        time: PyTree = None,
    ) -> State:
        """Return the initial states. Arguments are shared, except for parts marked with `td.per_member`.

        Args:
            key: one random key for all; every member has its own noise.
            position: initial position.
            env: environment of the target.
            momentum: initial momenta, if the dynamics has momenta.
            kT: temperature at which to draw momenta.
            time: initial time.

        Raises:
            ValueError: an argument does not fit.
        """
        check_key(key)
        start = {name: x for name, x in (("momentum", momentum), ("kT", kT), ("time", time)) if x is not None}
        for name, value in (("position", position), *start.items()):
            self._check_count(name, value)
        self._check_start(start)
        self.check_env(env)
        self._check_position(position)

        def one(shared: PyTree, slot: jax.Array) -> State:
            inner, position, env, start = tree.unbox(shared)
            return inner.init(jax.random.fold_in(key, slot), position, env, **start).replace(slot=slot)

        return over_members(one, tree.traceable((self.inner, position, env, start)), self.slots)

    def adopt(self, state: State) -> State:
        """Return states of this ensemble, with the noise of their slots, from one state for all or a batch of states.

        Raises:
            ValueError: `state` is not a state, or a batch for another number of members.
        """
        check.instance("state", state, State, "a state of one member, or a batch of them")
        if jnp.shape(state.step) not in ((), self.slots.shape):
            raise ValueError(
                f"state: expected that of one member, or those of {self.members}, got those of "
                f"{jnp.shape(state.step)[0]}. Pick one per member."
            )
        if not state.step.ndim:
            state = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.members, *x.shape)), state.replace(slot=None))
        return state.replace(slot=self.slots)

    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step of all members."""
        return self._each(lambda inner, env, own: tree.traceable(inner.draw(own)), state)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the states one step later, given their noise."""
        return self._each(lambda inner, env, own, noise: inner.apply(own, env, tree.unbox(noise)), state, env, noise)

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return the states with force, energy and aux of their positions."""
        return self._each(lambda inner, env, own: inner.evaluate(own, env), state, env)

    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the positions, boxed, and times of all members after another such step."""
        return self._each(lambda inner, env, old, new: inner.ahead(old, new), old, None, new)

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return a status word for the last step of every member."""
        return self._each(lambda inner, env, old, new: inner.inspect(old, new), old, None, new)

    def reverse(self, state: State) -> State:
        """Return the states with time reversed."""
        return self._each(lambda inner, env, own: inner.reverse(own), state)

    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the values of a user's function for every member; a `jointly` function sees all members at once."""
        if is_joint(function):
            return seen(function, state, env, *rest)

        def one(inner: Dynamics, env: PyTree, own: State, *rest: PyTree) -> PyTree:
            return tree.box(seen(function, own, env, *rest))

        return tree.unbox(self._each(one, state, env, *rest))

    def conserved(self, state: State) -> Float[jax.Array, "members"]:
        """Return the quantity that the exact dynamics conserves, `[members]`; in a run, use `td.jointly` of this.

        Raises:
            ValueError: the dynamics conserves nothing.
        """
        if not hasattr(self.inner, "conserved"):
            raise ValueError(f"conserved: a {type(self.inner).__name__} conserves nothing.")
        return self._each(lambda inner, env, own: inner.conserved(own), state)

    def _each(self, f: Callable[..., Any], state: State, env: PyTree = None, *rest: PyTree) -> Any:
        """Return `f(inner, env, state, *rest)` for every member."""
        self._check_state(state)
        self._check_count("env", env)

        def one(shared: PyTree, own: State, *rest: PyTree) -> Any:
            return f(*tree.unbox(shared), own, *rest)

        return over_members(one, tree.traceable((self.inner, env)), state.replace(slot=self.slots), *rest)

    def member(self, k: int) -> Dynamics:
        """Return the dynamics of member `k` alone.

        With `jax.tree.map(lambda x: x[k], state)` and `td.environment.member(env, k)` it takes the same steps.
        """
        return member(self.inner, check.integer("k", k, 0, self.members))

    def some(self, members: jax.Array) -> "Ensemble":
        """Return the ensemble of some of the members."""
        inner = each(self.inner, lambda values: take(values, members))
        return self.replace(inner=inner, slots=self.slots[members])

    def check_env(self, env: PyTree) -> None:
        """Refuse an environment with a shared neighbor list, or marked for another number of members."""
        environment.check(env)
        self._check_count("env", env)
        for node in jax.tree.leaves(env, is_leaf=lambda x: is_per_member(x) or isinstance(x, Refreshable)):
            if isinstance(node, Refreshable):
                raise ValueError(
                    f"env: expected one {type(node).__name__} per member, got one that is shared. Use "
                    "td.per_member(lists.allocate_members(positions))."
                )

    def _check_position(self, position: PyTree) -> None:
        """Check known numbers, which are traced in the `init` of the members."""
        boxed = tree.box(unmarked(position), "position")
        check_position(boxed)
        if isinstance(self.inner, Targeted) and not marked(self.inner.space):
            space_of.contains(self.inner.space, tree.moving(boxed))

    def _check_start(self, start: dict[str, PyTree]) -> None:
        """Check known numbers, which are traced in the `init` of the members, and refuse arguments that it lacks."""
        taken = inspect.signature(self.inner.init).parameters
        for name, value in start.items():
            if name not in taken:
                raise ValueError(f"{name}: a {type(self.inner).__name__} starts without it. Leave it out.")
            for leaf in jax.tree.leaves(unmarked(value)):
                number = tree.known(leaf)
                if number is not None and number.dtype.kind in "fiu" and not np.all(np.isfinite(number)):
                    raise ValueError(f"{name}: expected finite numbers for all members, got {number}.")
        if "kT" in start:
            schedule.numbers("kT", unmarked(start["kT"]), nonnegative=True)

    def _check_count(self, name: str, value: PyTree) -> None:
        for node in marked(value):
            if node.members != self.members:
                raise ValueError(
                    f"{name}: expected values for {self.members} members, got {node.members}. Give one per member."
                )

    def _check_state(self, state: Any) -> None:
        if not isinstance(state, State) or state.slot is None or jnp.shape(state.slot) != self.slots.shape:
            raise ValueError(
                f"state: expected the states of {self.members} members from ensemble.init(key, position, env). Use "
                "ensemble.adopt(state) to make them from one state or a batch of states. In a record, use "
                "td.jointly(...) to see all members."
            )


def ensemble(dynamics: Dynamics | Sequence[Dynamics], members: int | None = None) -> Ensemble:
    """Build one dynamics of many members.

    Args:
        dynamics: the dynamics of all members, or a list with one per member. Those of a list may differ in numbers (kT,
            dt, the parameters of a target); equal numbers are stored once.
        members: number of members; not needed for a list.

    Returns:
        A dynamics that steps all members. In `init`, position and environment are shared, except for parts marked with
        `td.per_member` or `td.stack`.

    Raises:
        ValueError: the dynamics of a list differ in more than numbers, or `members` does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> target = td.from_energy(lambda x: jnp.sum(x**2) / 2)
        >>> ladder = td.ensemble([td.langevin(target, dt=0.1, kT=kT, gamma=1.0) for kT in (0.5, 1.0, 2.0)])
        >>> state = ladder.init(jax.random.key(0), jnp.zeros(1000))
        >>> out = td.run(ladder, state, steps=200, record=td.temperature)
        >>> out.records.shape
        (200, 3)
    """
    if isinstance(dynamics, Dynamics):
        if members is None:
            raise ValueError("members: expected a number, got None. Pass it, or a list of dynamics.")
        count, inner = check.integer("members", members, 1), dynamics
    else:
        inner, count = _common(dynamics), len(dynamics)
        if members is not None and members != count:
            raise ValueError(f"members: expected {count}, the number of dynamics, got {members!r}. Leave it out.")
    for node in marked(inner):
        if node.members != count:
            raise ValueError(
                f"members: expected {node.members}, for which a part of the dynamics is marked, got {count}. Mark it "
                "for all members."
            )
    if isinstance(inner, Ensemble):
        raise ValueError("dynamics: expected that of one member, got an Ensemble. Make one ensemble of all members.")
    return Ensemble(inner=inner, slots=jnp.arange(count, dtype=jnp.int32))


def _common(dynamics: Any) -> Dynamics:
    """Return one dynamics in which the numbers that differ are marked."""
    if not isinstance(dynamics, list | tuple) or not dynamics or not all(isinstance(d, Dynamics) for d in dynamics):
        raise ValueError(f"dynamics: expected a dynamics like td.langevin(...), or a list of them, got {dynamics!r}.")
    boxed = [tree.traceable(d) for d in dynamics]
    structures = [jax.tree.structure(d) for d in boxed]
    for k, structure in enumerate(structures):
        if structure != structures[0]:
            raise ValueError(
                f"dynamics: expected members that differ in numbers only, got member {k} with\n    {structure}\nand "
                f"member 0 with\n    {structures[0]}\nDefine each function once, not in a loop, with the numbers that "
                "differ as fields of a td.Struct."
            )
    columns = zip(*map(jax.tree.leaves, boxed), strict=True)
    return tree.unbox(jax.tree.unflatten(structures[0], [_column(list(column)) for column in columns]))


def _column(values: list[Any]) -> Any:
    first = values[0]
    if all(value is first for value in values):
        return first
    known = [x for value in values if (x := tree.known(value)) is not None]
    if len(known) == len(values) and all(x.dtype == known[0].dtype and np.array_equal(x, known[0]) for x in known):
        return first
    return stack(values)
