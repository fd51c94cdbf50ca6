"""Dynamics from a sequence of operators."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import metric as metric_of
from treedyn import noise, schedule, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn._struct import static
from treedyn._target import observing
from treedyn.dynamics._dynamics import Targeted, check_state
from treedyn.dynamics._explosion import check_momenta
from treedyn.operators._operator import Operator, kinetic
from treedyn.space import EUCLIDEAN, as_space
from treedyn.tree import PyTree


class Splitting(Targeted):
    """Apply operators in turn, each for its fraction of the time step.

    Attributes:
        dt: time step: a number, schedule or prefix tree.
        mass: mass: a number, schedule, metric or prefix tree of those.
        operators: the different operators, each once.
        names: key of each operator in `state.memory`.
        sequence: which operator comes when, as pairs (place in `operators`, fraction of dt).
        inertial: whether there are momenta.
    """

    dt: PyTree
    mass: PyTree
    operators: tuple[Operator, ...]
    names: tuple[str, ...] = static()
    sequence: tuple[tuple[int, float], ...] = static()
    inertial: bool = static(default=True)

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
        """Return the state in which to start.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            momentum: momenta to start with, a tree like the position; on a manifold their tangent part counts.
            kT: temperature at which to draw momenta where none are given; by default that of the thermostat, or 0,
                at rest, where there is none.
            time: the time at which to start; 0 by default.

        Raises:
            ValueError: an argument does not fit; the message says which and why.
        """
        if time is not None and not self._has_time():
            raise ValueError(
                "time: expected none, because the leaves have a dt each or no operator moves the clock; leave it out"
            )
        start = 0.0 if time is None else time
        state = self.begin(key, position, env, start if self._has_time() else None)
        state = state.replace(metric=self._metric(state))
        metric_of.check(state.metric, state.moving)
        if self.inertial:
            state = state.replace(dof=metric_of.degrees(state.metric, state.moving))
            for operator in self.operators:
                state = state.replace(dof=operator.count(state))
            state = state.replace(momentum=self._momentum(state, momentum, kT))
            if momentum is None:
                for operator in self.operators:
                    state = operator.constrain(state)
        elif momentum is not None or kT is not None:
            raise ValueError("momentum, kT: this dynamics is overdamped and has no momenta to start with")
        return state.replace(memory={name: op.init(state) for name, op in zip(self.names, self.operators, strict=True)})

    def _has_time(self) -> bool:
        one = _is_one(schedule.at(self.dt, jnp.int32(0)))
        return one and any(operator.clock for operator in self.operators)

    def _metric(self, state: State) -> PyTree:
        return metric_of.of_leaves(self.mass, self.space, state.step, state.moving)

    def _momentum(self, state: State, momentum: PyTree, kT: PyTree) -> PyTree:
        if momentum is not None and kT is not None:
            raise ValueError("momentum, kT: give one of the two, the momenta or the temperature at which to draw them")
        if momentum is not None:
            return space_of.project(self.space, state.moving, _like(momentum, state.moving))
        if kT is None:
            kT = next((kT for op in self.operators if (kT := getattr(op, "kT", None)) is not None), 0.0)
        return thermal(state, schedule.numbers("kT", kT, nonnegative=True))

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return the noise of the next step: an entry for every place in the sequence."""
        check_state(state, self.names)
        return tuple(
            self.operators[index].draw(noise.of_step(state, place), state)
            for place, (index, _) in enumerate(self.sequence)
        )

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the state one step later, given its noise: a deterministic function."""
        state = state.replace(metric=self._metric(state))
        dt, memory, current = schedule.at(self.dt, state.step), dict(state.memory), True
        before = state
        for (index, fraction), xi in zip(self.sequence, noise, strict=True):
            operator, name = self.operators[index], self.names[index]
            if operator.needs_force and not current:
                state, current = self.evaluate(state, env), True
            h = jax.tree.map(lambda t, fraction=fraction: fraction * t, dt)
            state, memory[name] = operator.apply(state, h, xi, memory[name])
            current = current and not operator.moves
            if operator.clock:
                state = state.later(h)
        if not current:
            state = self.evaluate(state, env)
        state = state.replace(memory=memory)
        if self.inertial:
            operators = dict(zip(self.names, self.operators, strict=True))
            state = state.replace(status=state.status | check_momenta(operators, before, state))
        return state

    def reverse(self, state: State) -> State:
        """Return `state` with time reversed: momenta, and what the operators remember that changes its sign."""
        memory = {name: op.reverse(state.memory[name]) for name, op in zip(self.names, self.operators, strict=True)}
        return super().reverse(state).replace(memory=memory)

    def conserved(self, state: State) -> jax.Array:
        """Return the quantity that the exact dynamics conserves: energy, kinetic energy, and what the baths hold.

        Raises:
            ValueError: the target is a force, so the energy is not known; or an operator exchanges heat with a bath
                and keeps no account of it.
        """
        leaky = [name for name, op in zip(self.names, self.operators, strict=True) if not op.accounts]
        if leaky:
            raise ValueError(
                f"conserved: {', '.join(leaky)} exchanges heat with a bath and keeps no account of it, so nothing is "
                "conserved; the energy of the system is state.energy + td.kinetic_energy(state)"
            )
        if state.energy is None:
            raise ValueError("conserved: the target is a force and has no energy; use td.from_energy")
        moving = kinetic(state)
        kind = tree.widest(moving.dtype, state.energy.dtype)
        bath = sum(
            (
                jnp.asarray(op.energy(state, state.memory[name])).astype(kind)
                for name, op in zip(self.names, self.operators, strict=True)
            ),
            start=jnp.zeros((), kind),
        )
        return state.energy.astype(kind) + moving.astype(kind) + bath


def compose(
    target: Callable[..., Any],
    operators: Sequence[Operator | tuple[Operator, float]],
    dt: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> Splitting:
    """Build a dynamics from a sequence of operators.

    An operator that occurs n times acts for dt/n each time; write `(operator, fraction)` for anything else. Forces are
    evaluated where a kick needs them and the position has changed, so B A O A B costs one evaluation a step. At the
    end of every step, force and energy are those of the position: a sequence that ends with a drift (A B O B A) pays a
    second evaluation for that.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        operators: what to apply, in order; from `treedyn.operators` or your own.
        dt: time step, positive: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule, metric or prefix tree; infinite for what does not move.
        space: a space, or a prefix tree of spaces.

    Returns:
        A dynamics with `init` and `step`.

    Raises:
        ValueError: something in the sequence is no operator, or a number has the wrong sign.

    Example:
        >>> import jax, treedyn as td
        >>> from treedyn import operators as to
        >>> A, B, O = to.drift(td.euclidean()), to.kick(), to.ornstein_uhlenbeck(kT=1.0, gamma=1.0)
        >>> baoab = td.compose(td.from_energy(lambda x: x**2 / 2), (B, A, O, A, B), dt=0.1)
        >>> state = baoab.step(baoab.init(jax.random.key(0), 1.0))
    """
    if not isinstance(operators, Sequence) or not operators:
        raise ValueError(f"operators: expected a sequence of at least one operator, got {operators!r}")
    parts = [part if isinstance(part, tuple) else (part, None) for part in operators]
    for part in parts:
        if not (len(part) == 2 and isinstance(part[0], Operator) and (part[1] is None or _is_fraction(part[1]))):
            raise ValueError(f"operators: expected operators or pairs (operator, fraction of dt), got {part!r}")
    distinct = list({id(op): op for op, _ in parts}.values())
    uses = [sum(other is op for other, _ in parts) for op in distinct]
    places = {id(op): k for k, op in enumerate(distinct)}
    sequence = tuple(
        (places[id(op)], 1 / uses[places[id(op)]] if fraction is None else float(fraction)) for op, fraction in parts
    )
    passed = [fraction for k, fraction in sequence if distinct[k].clock]
    if passed and abs(sum(passed) - 1) > 1e-9:
        raise ValueError(
            f"operators: expected the clock to be moved by one dt in all, got {sum(passed):g} dt; only one kind of "
            "operator in a sequence moves it, the others have clock = False"
        )
    return Splitting(
        target=observing("target", target, "position"),
        space=as_space(space),
        dt=schedule.numbers("dt", dt, positive=True, finite=True),
        mass=metric_of.numbers(mass),
        operators=tuple(distinct),
        names=_unique([op.name for op in distinct]),
        sequence=sequence,
        inertial=any(op.inertial for op in distinct),
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def thermal(state: State, kT: PyTree) -> PyTree:
    """Draw momenta of the Maxwell-Boltzmann distribution; they belong to the key and the paths of the leaves."""
    part = state.moving
    xi = noise.normal(noise.at_path(state.key, "momentum"), part)
    return metric_of.thermal(state.metric, part, xi, schedule.of_leaves(kT, jnp.int32(0), part, "kT"))


def _is_one(dt: PyTree) -> bool:
    """Tell whether all leaves have the same time step."""
    return jax.tree_util.all_leaves([dt]) and not jnp.ndim(dt)


def _like(momentum: PyTree, part: PyTree) -> PyTree:
    given = tree.moving(tree.box(momentum, "momentum"))
    if jax.tree.structure(given) != jax.tree.structure(part):
        raise ValueError(
            f"momentum: expected a tree like the position\n    {tree.describe(part)}\ngot\n    {tree.describe(given)}"
        )
    for path, p, x in zip(tree.paths(part), jax.tree.leaves(given), jax.tree.leaves(part), strict=True):
        if p.shape != x.shape:
            raise ValueError(f"momentum{path}: expected shape {x.shape} like the position, got {p.shape}")
        if (known := tree.known(p)) is not None and not np.all(np.isfinite(known.astype(float))):
            raise ValueError(f"momentum{path} has NaN or infinite elements; give finite numbers, or kT to draw them")
    return jax.tree.map(tree.cast, given, part)


def _unique(names: list[str]) -> tuple[str, ...]:
    counts = {name: 0 for name in names}
    unique = []
    for name in names:
        counts[name] += 1
        unique.append(name if counts[name] == 1 else f"{name}_{counts[name]}")
    return tuple(unique)
