r"""Warm-up: a dynamics that tunes another one while it moves the state.

The time step follows the acceptance by dual averaging. The masses follow the samples of a window and of the one before
it. Windows are a function of the step: short ones at the beginning, as long as the state is still on its way to typical
positions, and long ones later. In the last part of the warm-up only the time step changes. After the warm-up nothing
does, so one run may go through the warm-up and on.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import schedule, tree
from treedyn import space as space_of
from treedyn._member import of_all, per_member
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.dynamics._compose import Splitting
from treedyn.dynamics._dynamics import Dynamics
from treedyn.dynamics._ensemble import Ensemble
from treedyn.montecarlo._dual_averaging import DualAveraging
from treedyn.montecarlo._estimator import FISHER, Estimator
from treedyn.montecarlo._tunable import Integrated, Tunable
from treedyn.montecarlo._unadjusted import unadjusted
from treedyn.tree import PyTree

_NAME = "warm_up"
_EARLY, _LATE = 0.3, 0.85  # the parts of the warm-up after which windows are long, and after which masses are constant
_SHORT, _LONG = 10, 80


class Tuning(Struct):
    """What a warm-up remembers, in `state.memory["warm_up"]`.

    Attributes:
        pace: the dual averaging of the factor by which steps are longer than those of the given dynamics.
        mass: the masses, a tree like the moving part of the position; `None` where they are not tuned.
        origin: the position from which displacements are measured.
        older: samples of the last window.
        newer: samples of this window.
    """

    pace: DualAveraging
    mass: PyTree = None
    origin: PyTree = None
    older: PyTree = None
    newer: PyTree = None


class WarmUp(Dynamics):
    """A dynamics that tunes another one while it moves the state.

    Attributes:
        inner: the dynamics as it was given.
        steps: number of steps for which it is tuned.
        acceptance: the mean acceptance to reach.
        metric: the rule for the masses; `None` leaves them as they are.
        pool: whether the members of an ensemble are tuned together.
    """

    inner: Tunable
    steps: int = static()
    acceptance: float | jax.Array
    metric: Estimator | None
    pool: bool = static()

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        """Return whether a step may lead to any position."""
        return self.inner.jumps

    def init(self, key: jax.Array, position: PyTree, env: PyTree = None, *, momentum: PyTree = None) -> State:
        """Return the initial state of the given dynamics, with what the warm-up remembers.

        Args:
            key: random key, kept in the state; all noise of the run is a function of it.
            position: any PyTree with at least one floating-point leaf.
            env: environment of the target.
            momentum: initial momenta, if the dynamics has momenta.
        """
        start = {} if momentum is None else {"momentum": momentum}
        state = self.inner.init(key, position, env, **start)
        part = state.moving
        tuning = Tuning(pace=DualAveraging.at(jnp.zeros((), tree.dtype(part))))
        if self.metric is not None:
            empty = self.metric.begin(part)
            mass = self.metric.start(state.metric, part, _integrated(self.inner).splitting.space)
            tuning = tuning.replace(mass=mass, origin=part, older=empty, newer=empty)
            state = self._with(self.inner.pace, mass).splitting.weighed(state)
        return state.replace(memory={**state.memory, _NAME: tuning})

    def draw(self, state: State) -> PyTree:
        """Return the noise of the next step."""
        return self.inner.draw(state)

    def apply(self, state: State, env: PyTree, noise: PyTree) -> State:
        """Return the state after a step of the dynamics as it is tuned so far; learn from it."""
        tuning, bare = _apart(state)
        active = state.step < self.steps
        pace = tuning.pace
        inner = self._with(self._pace(jnp.where(active, pace.current, pace.average)), tuning.mass)
        new = inner.apply(bare, env, noise)
        tuning = jax.lax.cond(active, self._learn, lambda tuning, new: tuning, tuning, new)
        return new.replace(memory={**new.memory, _NAME: tuning})

    def _learn(self, tuning: Tuning, new: State) -> Tuning:
        """Return the tuning after one more step."""
        everybody = self._everybody(new)
        acceptance = jnp.mean(everybody(new.info.acceptance))
        shortfall = jnp.asarray(self.acceptance, acceptance.dtype) - acceptance
        tuning = tuning.replace(pace=tuning.pace.after(shortfall))
        if self.metric is None:
            return tuning
        space = _integrated(self.inner).splitting.space
        # members have samples in common only if they measure displacements from the same position
        origin = jax.tree.map(lambda x: x[0], everybody(tuning.origin))
        way = space_of.displacement(space, new.moving, origin)
        newer = self.metric.add(tuning.newer, way, new.force)
        early, late = int(_EARLY * self.steps), int(_LATE * self.steps)
        taken = new.step + 1
        due = (taken <= late) & (taken % self.metric.period == 0)
        ends = jnp.where(taken <= early, taken % _SHORT == 0, (taken - early) % _LONG == 0)
        mass = jax.lax.cond(
            jnp.any(everybody(due)),
            self._estimated,
            lambda older, newer, mass, new: mass,
            tuning.older,
            newer,
            tuning.mass,
            new,
        )
        return tuning.replace(
            mass=tree.where(due, mass, tuning.mass),
            older=tree.where(ends, newer, tuning.older),
            newer=tree.where(ends, self.metric.begin(new.moving), newer),
        )

    def _estimated(self, older: PyTree, newer: PyTree, mass: PyTree, new: State) -> PyTree:
        """Return the masses for the samples of both windows."""
        assert self.metric is not None
        inner, everybody = _integrated(self.inner), self._everybody(new)
        both = everybody(jax.tree.map(lambda a, b: jnp.stack([a, b]), older, newer))
        both = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), both)
        return self.metric.mass(both, mass, inner.splitting.space, schedule.at(inner.kT, new.step))

    def _everybody(self, state: State) -> Callable[[PyTree], PyTree]:
        """Return the function that stacks the values of all systems that are tuned together."""
        return of_all if self.pool and state.slot is not None else _alone

    def _pace(self, log_factor: jax.Array) -> PyTree:
        """Return the length of the steps, longer than that of the given dynamics by a factor."""
        factor = jnp.exp(log_factor)
        return jax.tree.map(lambda x: x * factor, self.inner.pace)

    def _with(self, pace: PyTree, mass: PyTree) -> Any:
        """Return the dynamics with these steps and masses."""
        inner = self.inner.with_pace(pace)
        return inner.with_mass(mass) if isinstance(inner, Integrated) and mass is not None else inner

    def tuned(self, state: State) -> Dynamics:
        """Return the dynamics as it is tuned in this state; an ensemble for the states of an ensemble.

        It continues from `state`, or starts from other positions.
        """
        tuning, _ = _apart(state)

        def numbers(tuning: Tuning) -> tuple[PyTree, PyTree]:
            return self._pace(tuning.pace.average), tuning.mass

        if state.step.ndim == 0:
            pace, mass = numbers(tuning)
        elif self.pool:
            pace, mass = numbers(jax.tree.map(lambda x: x[0], tuning))
        else:
            pace, mass = (None if x is None else per_member(x) for x in jax.vmap(numbers)(tuning))
        inner = self._with(pace, mass)
        return inner if state.slot is None or not state.slot.ndim else Ensemble(inner=inner, slots=state.slot)

    def evaluate(self, state: State, env: PyTree) -> State:
        """Return `state` with force, energy and aux of its position."""
        return self.inner.evaluate(state, env)

    def ahead(self, old: State, new: State) -> tuple[PyTree, jax.Array | None]:
        """Return the position, boxed, and time after another such step."""
        return self.inner.ahead(old, new)

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return the status word for a step of the given dynamics."""
        return self.inner.inspect(old, new)

    def reverse(self, state: State) -> State:
        """Return `state` with its momenta reversed."""
        return self.inner.reverse(state)

    def observe(self, function: Callable[..., Any], state: State, env: PyTree, *rest: PyTree) -> PyTree:
        """Return the value of a user's function."""
        return self.inner.observe(function, state, env, *rest)


def _integrated(dynamics: Dynamics) -> Integrated:
    assert isinstance(dynamics, Integrated)  # `warm_up` refuses to tune the masses of others
    return dynamics


def _alone(values: PyTree) -> PyTree:
    """Return the values of one system, with an axis of members."""
    return jax.tree.map(lambda x: x[None], values)


def _apart(state: State) -> tuple[Tuning, State]:
    """Return what the warm-up remembers, and the state without it."""
    memory = dict(state.memory)
    if _NAME not in memory:
        raise ValueError("state: expected one from the init of a warm-up, got another. Call init(key, position, env).")
    return memory.pop(_NAME), state.replace(memory=memory)


def warm_up(
    dynamics: Tunable | Splitting,
    steps: int,
    *,
    acceptance: float = 0.8,
    metric: Estimator | None = FISHER,
    pool: bool = True,
) -> WarmUp:
    """Tune the time step and the masses of a dynamics, for a number of steps from the beginning.

    The first `steps` steps of a run are the warm-up; drop their records. In the steps after them, time step and masses
    are constant. In an ensemble, `td.ensemble(td.warm_up(...), members)`, the members are tuned together.

    Args:
        dynamics: a dynamics such as `td.nuts(...)` or `td.hmc(...)`; its time step and masses are the first guess. One
            without a Metropolis step, such as `td.mclmc(...)`, is tuned by its energy error, see
            `td.montecarlo.unadjusted`.
        steps: number of steps of the warm-up, at least 1.
        acceptance: the mean acceptance to reach, between 0 and 1: 0.8 for `td.nuts` and `td.hmc`, 0.57 for `td.mala`,
            0.25 for `td.random_walk`. Without a Metropolis step, 0.8 is a mean squared energy error of 5e-4 for each
            degree of freedom, in units of kT.
        metric: the rule for the masses, from `td.montecarlo`; `None` to keep those of `dynamics`.
        pool: whether the members of an ensemble are tuned together, from the samples of all; otherwise each by itself.

    Returns:
        A dynamics. `tuned(state)` returns the tuned dynamics.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: jnp.sum((x["wide"] / 100) ** 2 + (x["narrow"] / 0.01) ** 2) / 2
        >>> chain = td.warm_up(td.nuts(energy, dt=0.01), steps=300)
        >>> state = chain.init(jax.random.key(0), {"wide": jnp.array(1.0), "narrow": jnp.array(0.0)})
        >>> out = td.run(chain, state, steps=300)
        >>> mass = chain.tuned(out.state).splitting.mass
        >>> print(f"{mass['wide']:.4f} {mass['narrow']:.0f}")
        0.0001 10000

    Reference:
        Hoffman, Gelman, J. Mach. Learn. Res. 15, 1593 (2014), arXiv:1111.4246; Seyboldt, Carlson, Carpenter,
        arXiv:2603.18845 (2026).
    """
    if isinstance(dynamics, Ensemble):
        raise ValueError(
            "dynamics: expected that of one member, got an Ensemble. Use td.ensemble(td.warm_up(dynamics, steps), "
            "members)."
        )
    if isinstance(dynamics, Splitting):
        dynamics = unadjusted(dynamics)
    check.instance("dynamics", dynamics, Tunable, "a Monte Carlo dynamics such as td.nuts(...)")
    if any(map(schedule.is_schedule, jax.tree.leaves(dynamics.pace, is_leaf=schedule.is_schedule))):
        raise ValueError("dynamics: expected a constant length of its steps, got a schedule. Pass a number.")
    goal = check.number("acceptance", acceptance, "one number between 0 and 1", positive=True)
    if (known := tree.known(goal)) is not None and not known < 1:
        raise ValueError(f"acceptance: expected one number between 0 and 1, got {known}.")
    if metric is not None:
        check.instance("metric", metric, Estimator, "a rule such as td.montecarlo.fisher()")
        if not isinstance(dynamics, Integrated):
            if metric is not FISHER:
                raise ValueError(
                    f"metric: expected None, because a {type(dynamics).__name__} has no masses. Leave it out."
                )
            metric = None
    return WarmUp(
        inner=dynamics,
        steps=check.integer("steps", steps, 1),
        acceptance=goal,
        metric=metric,
        pool=check.flag("pool", pool),
    )
