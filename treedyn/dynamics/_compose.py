"""Dynamics from a sequence of operators."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import environment, noise, schedule, tree
from treedyn import metric as metric_of
from treedyn import space as space_of
from treedyn._state import State
from treedyn._status import Status, word
from treedyn._struct import static
from treedyn._target import observing
from treedyn.dynamics._dynamics import Targeted, check_state
from treedyn.dynamics._explosion import explosion
from treedyn.operators._operator import Operator, kinetic
from treedyn.space import EUCLIDEAN, as_space
from treedyn.tree import PyTree


class Splitting(Targeted):
    """A dynamics that applies operators in turn, each for its fraction of the time step.

    Attributes:
        dt: time step: a number, schedule or prefix tree.
        mass: mass: a number, schedule, metric or prefix tree of those.
        operators: the operators, each once.
        names: key of each operator in `state.memory`.
        sequence: the order of the operators, as pairs (place in `operators`, fraction of dt).
        inertial: whether there are momenta.
        fresh: whether a step that begins with a kick evaluates the force for it.
    """

    dt: PyTree
    mass: PyTree
    operators: tuple[Operator, ...]
    names: tuple[str, ...] = static()
    sequence: tuple[tuple[int, float], ...] = static()
    inertial: bool = static(default=True)
    fresh: bool = static(default=False)

    def init(
        self,
        key: jax.Array,
        position: PyTree,
        env: PyTree = None,
        *,
        momentum: PyTree = None,
        kT: PyTree = None,
        time: Real[ArrayLike, ""] | None = None,
    ) -> State:
        """Return the initial state.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            momentum: initial momenta, a tree like the position; on a manifold their tangent part counts.
            kT: temperature at which to draw momenta if none are given; by default that of the thermostat, else 0.
            time: initial time; 0 by default.

        Raises:
            ValueError: an argument does not fit.
        """
        timed = self._has_time()
        if time is not None and not timed:
            raise ValueError(
                "time: expected None, because leaves have different dt or no operator moves the clock. Leave it out."
            )
        start = 0.0 if time is None else time
        state = self.begin(key, position, env, start if timed else None)
        state = self.weighed(state)
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
            raise ValueError("momentum, kT: expected None, because this dynamics is overdamped. Leave both out.")
        return state.replace(memory={name: op.init(state) for name, op in zip(self.names, self.operators, strict=True)})

    def _has_time(self) -> bool:
        dt = schedule.at(self.dt, jnp.int32(0))
        one = jax.tree_util.all_leaves([dt]) and not jnp.ndim(dt)
        return one and any(operator.clock for operator in self.operators)

    def weighed(self, state: State) -> State:
        """Return `state` with the masses of its step."""
        return state.replace(metric=metric_of.of_leaves(self.mass, self.space, state.step, state.moving))

    def _momentum(self, state: State, momentum: PyTree, kT: PyTree) -> PyTree:
        if momentum is not None and kT is not None:
            raise ValueError(
                "momentum, kT: expected at most one of the two, got both. Give momenta, or kT to draw them."
            )
        if momentum is not None:
            return space_of.project(self.space, state.moving, _like(momentum, state.moving))
        if kT is None:
            kT = next((kT for op in self.operators if (kT := getattr(op, "kT", None)) is not None), 0.0)
        return thermal(state, schedule.numbers("kT", kT, nonnegative=True))

    def draw(self, state: State) -> tuple[PyTree, ...]:
        """Return the noise of the next step, one entry per place in the sequence."""
        check_state(state, self.names)
        if self.inertial:
            _fitting(state.momentum, state.moving)
        return tuple(
            self.operators[index].draw(noise.of_step(state, place), state)
            for place, (index, _) in enumerate(self.sequence)
        )

    def apply(self, state: State, env: PyTree, noise: tuple[PyTree, ...]) -> State:
        """Return the state one step later, given its noise."""
        new, _ = self.follow(state, env, noise, self.evaluate)
        if not self.inertial:
            return new
        return new.replace(status=new.status | word(Status.NONFINITE, ~jnp.isfinite(kinetic(new))))

    def follow(
        self, state: State, env: PyTree, noise: tuple[PyTree, ...], evaluate: Callable[[State, PyTree], State]
    ) -> tuple[State, list[tuple[State, State]]]:
        """Return the state one step later, and the states before and after every bath on the way.

        Args:
            state: state at the beginning of the step.
            env: environment at the end of the step.
            noise: the noise that `draw` returned.
            evaluate: `self.evaluate`, or `self.explore` if the step may leave the region of its neighbor lists.
        """
        state = self.weighed(state)
        dt, memory, current = schedule.at(self.dt, state.step), dict(state.memory), not self.fresh
        there = environment.beginning(env) if self.fresh else env
        baths = []
        for (index, fraction), xi in zip(self.sequence, noise, strict=True):
            operator, name = self.operators[index], self.names[index]
            if operator.needs_force and not current:
                state, current = evaluate(state, there), True
            h = jax.tree.map(lambda t, fraction=fraction: fraction * t, dt)
            before = state
            state, memory[name] = operator.apply(state, h, xi, memory[name])
            baths += [(before, state)] if operator.role == "bath" else []
            current = current and not operator.moves
            there = env if operator.moves else there
            if operator.clock:
                state = state.later(h)
        if not current:
            state = evaluate(state, env)
        return state.replace(memory=memory), baths

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return what the operators found, and `Status.EXPLODING` if the momenta gained energy from nowhere."""
        found = super().inspect(old, new)
        for operator in self.operators:
            found = found | jnp.asarray(operator.inspect(old, new), found.dtype)
        if not self.inertial:
            return found
        return found | explosion(dict(zip(self.names, self.operators, strict=True)), old, new)

    def reverse(self, state: State) -> State:
        """Return `state` with momenta and odd memory of the operators reversed."""
        memory = {name: op.reverse(state.memory[name]) for name, op in zip(self.names, self.operators, strict=True)}
        return super().reverse(state).replace(memory={**state.memory, **memory})

    def conserved(self, state: State) -> jax.Array:
        """Return the quantity that the exact dynamics conserves: energy, kinetic energy, and the heat of the baths.

        Raises:
            ValueError: the target is a force, or an operator does not account for the heat that it exchanges.
        """
        leaky = [name for name, op in zip(self.names, self.operators, strict=True) if not op.accounts]
        if leaky:
            raise ValueError(
                f"conserved: nothing is conserved, because {', '.join(leaky)} exchanges heat without an account of it. "
                "The energy of the system is state.energy + td.kinetic_energy(state)."
            )
        if state.energy is None:
            raise ValueError("conserved: the target is a force and has no energy. Use td.from_energy.")
        moving, accounts = kinetic(state), self.accounted(state)
        kind = tree.widest(moving.dtype, state.energy.dtype, accounts.dtype)
        return state.energy.astype(kind) + moving.astype(kind) + accounts.astype(kind)

    def accounted(self, state: State, *, flows: bool = False) -> jax.Array:
        """Return the energy that the operators account for: all of them, or the flows."""
        kind, total = tree.dtype(state.momentum), jnp.zeros((), tree.dtype(state.momentum))
        for name, operator in zip(self.names, self.operators, strict=True):
            if operator.role == "flow" or not flows:
                total = total + jnp.asarray(operator.energy(state, state.memory[name])).astype(kind)
        return total

    def restarted(self, state: State) -> State:
        """Return `state` with momenta that the operators allow, and with their memory as at the beginning."""
        for operator in self.operators:
            state = operator.constrain(state)
        memory = {name: op.init(state) for name, op in zip(self.names, self.operators, strict=True)}
        return state.replace(memory={**state.memory, **memory})


def compose(
    target: Callable[..., Any],
    operators: Sequence[Operator | tuple[Operator, float]],
    dt: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    fresh: bool = False,
) -> Splitting:
    """Build a dynamics from a sequence of operators.

    An operator that occurs n times acts for dt/n each time; write `(operator, fraction)` for anything else. Forces are
    evaluated where a kick needs them and the position has changed, so B A O A B costs one evaluation per step. At the
    end of every step, force and energy are those of the position, so a sequence that ends with a drift (A B O B A)
    costs two.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy or a force.
        operators: operators in order, from `treedyn.operators` or your own.
        dt: time step, positive: a number, schedule or prefix tree.
        mass: mass, positive: a number, schedule, metric or prefix tree; infinite for fixed leaves.
        space: a space, or a prefix tree of spaces.
        fresh: whether a step that begins with a kick evaluates the force for it. By default it uses that of the end of
            the last step, with the same minibatch. New ones cost another evaluation and have half the noise.

    Returns:
        A dynamics with `init` and `step`.

    Raises:
        ValueError: an element of the sequence is not an operator, or a number is out of range.

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
            raise ValueError(f"operators: expected operators or pairs (operator, fraction of dt), got {part!r}.")
    distinct = list({id(op): op for op, _ in parts}.values())
    uses = [sum(other is op for other, _ in parts) for op in distinct]
    places = {id(op): k for k, op in enumerate(distinct)}
    sequence = tuple(
        (places[id(op)], 1 / uses[places[id(op)]] if fraction is None else float(fraction)) for op, fraction in parts
    )
    passed = [fraction for k, fraction in sequence if distinct[k].clock]
    if passed and abs(sum(passed) - 1) > 1e-9:
        raise ValueError(
            f"operators: expected operators that move the clock by one dt in total, got {sum(passed):g} dt. Set "
            "clock = False for all but one kind of operator."
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
        fresh=check.flag("fresh", fresh),
    )


def _is_fraction(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def thermal(state: State, kT: PyTree) -> PyTree:
    """Draw momenta from the Maxwell-Boltzmann distribution, keyed by the paths of the leaves."""
    part = state.moving
    xi = noise.normal(noise.at_path(state.key, "momentum"), part)
    return metric_of.thermal(state.metric, part, xi, schedule.of_leaves(kT, jnp.int32(0), part, "kT"))


def _like(momentum: PyTree, part: PyTree) -> PyTree:
    """Return given momenta in the dtypes of the position; refuse numbers that are not finite."""
    given = _fitting(momentum, part)
    for path, p in zip(tree.paths(part), jax.tree.leaves(given), strict=True):
        if (known := tree.known(p)) is not None and not np.all(np.isfinite(known.astype(float))):
            raise ValueError(f"momentum{path}: expected finite numbers, got NaN or infinity. Give kT to draw momenta.")
    return jax.tree.map(tree.cast, given, part)


def _fitting(momentum: PyTree, part: PyTree) -> PyTree:
    """Return momenta as arrays; refuse a tree or a shape other than that of the position."""
    given = tree.moving(tree.box(momentum, "momentum"))
    if jax.tree.structure(given) != jax.tree.structure(part):
        raise ValueError(
            f"momentum: expected a tree like the position\n    {tree.describe(part)}\ngot\n    {tree.describe(given)}"
        )
    for path, p, x in zip(tree.paths(part), jax.tree.leaves(given), jax.tree.leaves(part), strict=True):
        if p.shape != x.shape:
            raise ValueError(f"momentum{path}: expected shape {x.shape} like the position, got {p.shape}.")
    return given


def _unique(names: list[str]) -> tuple[str, ...]:
    """Return the names, numbered where one occurs again."""
    counts = [names[: k + 1].count(name) for k, name in enumerate(names)]
    return tuple(name if n == 1 else f"{name}_{n}" for name, n in zip(names, counts, strict=True))
