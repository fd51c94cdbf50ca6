"""Many members at once: one dynamics, in which anything may differ from member to member."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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
    """Step many members at once, each as if it were alone.

    All leaves of its states have one more axis in front, the members. A member has its own step counter, time, status
    word and noise. Noise belongs to the slot: whatever state is copied into one, it goes on with the noise of that
    slot.

    Attributes:
        inner: the dynamics of one member; what differs from member to member is marked.
        slots: number of every member, `int32[members]`.
    """

    inner: Dynamics
    slots: jax.Array

    @property
    def members(self) -> int:
        """Return the number of members."""
        return self.slots.shape[0]

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        """Tell whether a step may lead anywhere."""
        return self.inner.jumps

    @property
    def converges(self) -> bool:  # type: ignore[override]
        """Tell whether the members are to reach a fixed point."""
        return self.inner.converges

    def init(
        self,
        key: jax.Array,
        position: PyTree,
        env: PyTree = None,
        *,
        momentum: PyTree = None,
        kT: PyTree = None,
        time: Any = None,
    ) -> State:
        """Return the states in which to start.

        Args:
            key: one random key for all; every member has its own noise.
            position: where to start, the same for all members, or `td.per_member(...)`.
            env: environment of the target: the same for all, but for what is marked in it.
            momentum: momenta to start with, where the dynamics has them; the same for all, or marked.
            kT: temperature at which to draw momenta, one for all, or marked.
            time: the time at which to start, one for all, or marked.

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
        """Return states of this ensemble made from one state for all, or from one for each.

        Args:
            state: a state of one member, with which all begin, or a batch of states.

        Returns:
            The batch, in which every member has the noise of its slot.

        Raises:
            ValueError: `state` is not a state, or is a batch for another number of members.
        """
        check.instance("state", state, State, "a state of one member, or a batch of them")
        if jnp.shape(state.step) not in ((), self.slots.shape):
            raise ValueError(
                f"state: expected that of one member, or those of {self.members}, got those of "
                f"{jnp.shape(state.step)[0]}; pick as many as there are members"
            )
        if not state.step.ndim:
            state = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.members, *x.shape)), state.replace(slot=None))
        return state.replace(slot=self.slots)

    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step of all members, which is that of their slots."""
        return self._each(lambda inner, env, own: tree.traceable(inner.draw(own)), state)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the states one step later, given their noise."""
        return self._each(lambda inner, env, own, noise: inner.apply(own, env, tree.unbox(noise)), state, env, noise)

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return the states with force, energy and aux of their positions."""
        return self._each(lambda inner, env, own: inner.evaluate(own, env), state, env)

    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return where one more step would lead every member."""
        return self._each(lambda inner, env, old, new: inner.ahead(old, new), old, None, new)

    def reverse(self, state: State) -> State:
        """Return the states with time reversed."""
        return self._each(lambda inner, env, own: inner.reverse(own), state)

    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return what a user's function of one system says of every member; of `jointly`, what it says of all."""
        if is_joint(function):
            return seen(function, state, env, *rest)

        def one(inner: Dynamics, env: PyTree, own: State, *rest: PyTree) -> PyTree:
            return tree.box(seen(function, own, env, *rest))

        return tree.unbox(self._each(one, state, env, *rest))

    def conserved(self, state: State) -> jax.Array:
        """Return what the exact dynamics of every member conserves, `[members]`; in a run, `td.jointly` of this.

        Raises:
            ValueError: nothing is conserved.
        """
        if not hasattr(self.inner, "conserved"):
            raise ValueError(f"conserved: a {type(self.inner).__name__} conserves nothing")
        return self._each(lambda inner, env, own: inner.conserved(own), state)

    def _each(self, f: Callable[..., Any], state: State, env: PyTree = None, *rest: PyTree) -> Any:
        """Return `f(inner, env, state, *rest)` of every member, in its slot."""
        self._check_state(state)
        self._check_count("env", env)

        def one(shared: PyTree, own: State, *rest: PyTree) -> Any:
            return f(*tree.unbox(shared), own, *rest)

        return over_members(one, tree.traceable((self.inner, env)), state.replace(slot=self.slots), *rest)

    def member(self, k: int) -> Dynamics:
        """Return the dynamics of member `k` alone.

        Together with `jax.tree.map(lambda x: x[k], state)` and `td.environment.member(env, k)` it takes the same steps.
        """
        return member(self.inner, check.integer("k", k, 0, self.members))

    def some(self, members: jax.Array) -> "Ensemble":
        """Return the ensemble of some of the members."""
        inner = each(self.inner, lambda values: take(values, members))
        return self.replace(inner=inner, slots=self.slots[members])

    def check_env(self, env: PyTree) -> None:
        """Refuse an environment that the members cannot share.

        Raises:
            ValueError: a list is shared, or what is marked is for another number of members.
        """
        environment.check(env)
        self._check_count("env", env)
        for node in jax.tree.leaves(env, is_leaf=lambda x: is_per_member(x) or isinstance(x, Refreshable)):
            if isinstance(node, Refreshable):
                raise ValueError(
                    f"env: a {type(node).__name__} holds for the positions of one member; give every member its own: "
                    "td.per_member(lists.allocate_batch(positions))"
                )

    def _check_position(self, position: PyTree) -> None:
        """Refuse numbers that the `init` of the members, which is traced, does not see."""
        boxed = tree.box(unmarked(position), "position")
        check_position(boxed)
        if isinstance(self.inner, Targeted) and not marked(self.inner.space):
            space_of.contains(self.inner.space, tree.moving(boxed))

    def _check_start(self, start: dict[str, PyTree]) -> None:
        """Refuse numbers that the `init` of the members, which is traced, does not see, or does not take."""
        taken = inspect.signature(self.inner.init).parameters
        for name, value in start.items():
            if name not in taken:
                raise ValueError(f"{name}: a {type(self.inner).__name__} starts without one; leave it out")
            for leaf in jax.tree.leaves(unmarked(value)):
                number = tree.known(leaf)
                if number is not None and number.dtype.kind in "fiu" and not np.all(np.isfinite(number)):
                    raise ValueError(f"{name}: expected finite numbers for all members, got {number}; check them")
        if "kT" in start:
            schedule.numbers("kT", unmarked(start["kT"]), nonnegative=True)

    def _check_count(self, name: str, value: PyTree) -> None:
        for node in marked(value):
            if node.members != self.members:
                raise ValueError(
                    f"{name}: expected values for {self.members} members, got them for {node.members}; give one to each"
                )

    def _check_state(self, state: Any) -> None:
        if not isinstance(state, State) or state.slot is None or jnp.shape(state.slot) != self.slots.shape:
            raise ValueError(
                f"state: expected the states of {self.members} members, as ensemble.init(key, position, env) returns "
                "them; ensemble.adopt(state) makes them from a state of one member, or from a batch of states. A "
                "record sees one member, but for td.jointly(...)"
            )


def ensemble(dynamics: Dynamics | Sequence[Dynamics], members: int | None = None) -> Ensemble:
    """Make one dynamics of many members.

    Args:
        dynamics: the dynamics of all members, or a list with one for each: numbers that differ in them (kT, dt, the
            parameters of a target) are then those of the members, and what is the same in all is held once.
        members: number of members; not needed for a list.

    Returns:
        A dynamics that steps all of them. `init` takes one position for all or `td.per_member(positions)`, and an
        environment in which everything is shared that is not marked by `td.per_member` or `td.stack`.

    Raises:
        ValueError: the dynamics of a list differ in more than numbers.

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
            raise ValueError("members: expected their number, since there is one dynamics for all")
        count, inner = check.integer("members", members, 1), dynamics
    else:
        inner, count = _common(dynamics), len(dynamics)
        if members is not None and members != count:
            raise ValueError(f"members: expected {count}, as many as there are dynamics, or nothing; got {members!r}")
    for node in marked(inner):
        if node.members != count:
            raise ValueError(
                f"members: expected {node.members}, since a part of the dynamics is marked for as "
                f"many, got {count}; mark it for all"
            )
    if isinstance(inner, Ensemble):
        raise ValueError("dynamics: expected that of one member, got an Ensemble; make one ensemble of all members")
    return Ensemble(inner=inner, slots=jnp.arange(count, dtype=jnp.int32))


def _common(dynamics: Any) -> Dynamics:
    """Return one dynamics in which what differs is marked."""
    if not isinstance(dynamics, list | tuple) or not dynamics or not all(isinstance(d, Dynamics) for d in dynamics):
        raise ValueError(f"dynamics: expected a dynamics like td.langevin(...), or a list of them; got {dynamics!r}")
    boxed = [tree.traceable(d) for d in dynamics]
    structures = [jax.tree.structure(d) for d in boxed]
    for k, structure in enumerate(structures):
        if structure != structures[0]:
            raise ValueError(
                f"dynamics: all members need the same functions and operators, and may differ in numbers only; that of "
                f"member {k} is\n    {structure}\nand that of member 0\n    {structures[0]}\nA function that is "
                "defined in a loop is another one each time: define it once, with what differs as fields of a td.Struct"
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


__all__ = ["Ensemble", "ensemble"]
