"""Exact properties of deterministic methods: order, time reversal, and phase-space volume."""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import environment, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn._status import combined
from treedyn.diagnostics import _phase as phase_space
from treedyn.driver._trajectory import trajectory
from treedyn.dynamics._dynamics import Dynamics, Targeted
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


def convergence_order(
    dynamics_of_dt: Callable[[float], Dynamics], init: Callable[[Dynamics], State], *, time: float, dts: Sequence[float]
) -> float:
    r"""Return the order of a deterministic method, the slope of $\log|z_{dt} - z_{dt/2}|$ against $\log dt$.

    $z_{dt}$ is the phase-space point (position and momentum) at a fixed time. The comparison with half the step needs
    no reference method.

    Args:
        dynamics_of_dt: returns the dynamics for a time step.
        init: returns the initial state of a dynamics.
        time: time of the comparison, a multiple of every step in `dts`.
        dts: two or more time steps.

    Returns:
        The fitted slope, 2 for velocity Verlet.

    Raises:
        ValueError: there are fewer than two time steps, or one does not divide the time.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn.testing import convergence_order
        >>> pendulum = td.from_energy(lambda angle: -jnp.cos(angle))
        >>> key = jax.random.key(0)
        >>> order = convergence_order(
        ...     lambda dt: td.nve(pendulum, dt), lambda nve: nve.init(key, 1.0), time=2.0, dts=[0.5, 0.25]
        ... )
        >>> round(order)
        2
    """
    check.function("dynamics_of_dt", dynamics_of_dt, "dt")
    check.function("init", init, "a dynamics")
    end = check.number("time", time, positive=True)
    lengths = check.reals("dts", dts, "two or more time steps", (1,))
    counts = [end / dt if dt > 0 else math.nan for dt in lengths]
    if len(set(counts)) < 2 or not all(math.isfinite(n) and abs(n - round(n)) <= 1e-6 for n in counts):
        raise ValueError(
            f"dts: expected at least two time steps that divide time={time}, got {dts!r}. Use two different ones."
        )
    errors = []
    for dt, count in zip(lengths.tolist(), counts, strict=True):
        ends = []
        for finer in (1, 2):
            dynamics = dynamics_of_dt(dt / finer)
            check.instance("dynamics_of_dt", dynamics, Dynamics, "a function that returns a dynamics")
            state = check.instance("init", init(dynamics), State, "a function that returns a state")
            state, _ = _steps(dynamics, state, None, jnp.int32(round(count) * finer))
            ends.append((state.boxed, state.momentum))
        errors.append(float(tree.norm(tree.subtract(tree.moving(ends[0]), tree.moving(ends[1])))))
    slope, _ = np.polyfit(np.log(np.asarray(dts, dtype=float)), np.log(errors), 1)
    return float(slope)


def reversal_error(dynamics: Dynamics, state: State, env: PyTree = None, *, steps: int) -> float:
    """Return the distance from its start of a trajectory that goes forward, is reversed, and goes back.

    Time is reversed by `dynamics.reverse`. The error of a reversible method is of the order of rounding.

    Args:
        dynamics: a deterministic dynamics.
        state: initial state.
        env: environment of the target.
        steps: number of steps in each direction.

    Returns:
        The largest difference in any position, momentum or chain variable.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn.testing import reversal_error
        >>> dynamics = td.nve(td.from_energy(lambda angle: -jnp.cos(angle)), dt=0.5)
        >>> reversal_error(dynamics, dynamics.init(jax.random.key(0), 1.0), steps=100) < 1e-4
        True
    """
    check.instance("dynamics", dynamics, Dynamics, "a dynamics like td.nve(...)")
    check.instance("state", state, State, "what dynamics.init(key, position, env) returns")
    if environment.moves(env) or jax.tree.leaves(jax.eval_shape(dynamics.draw, state)):
        raise ValueError(
            "dynamics: expected one without noise, in an environment that does not change with time, such as "
            "td.nve(...). Others cannot be reversed."
        )
    count = jnp.int32(check.integer("steps", steps, 0, 2**31))
    there, env = _steps(dynamics, state, tree.traceable(env), count)
    end, _ = _steps(dynamics, dynamics.reverse(there), env, count)
    if status := combined(end.status):
        raise ValueError(f"steps: expected all of them to succeed, got status {status!r}. Take fewer steps.")
    end = dynamics.reverse(end)
    return float(tree.max_abs(tree.subtract(phase_space.phase(end), phase_space.phase(state))))


def log_volume(dynamics: Targeted, state: State, env: PyTree = None) -> float:
    """Return log |det J|, the logarithm of the change of phase-space volume in one step.

    J is the Jacobian of the step with respect to positions, momenta and the memory of the operators, at fixed noise.
    The result is 0 for a symplectic method. On a manifold, J acts on tangent directions: positions move along
    geodesics, and momenta are transported.

    Args:
        dynamics: any dynamics of one system.
        state: the state before the step.
        env: environment of the target.

    Raises:
        ValueError: the result is not finite.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn.testing import log_volume
        >>> dynamics = td.nve(td.from_energy(lambda angle: -jnp.cos(angle)), dt=0.5)
        >>> abs(log_volume(dynamics, dynamics.init(jax.random.key(0), 1.0))) < 1e-6
        True
    """
    check.instance("dynamics", dynamics, Targeted, "a dynamics like td.nve(...)")
    check.instance("state", state, State, "what dynamics.init(key, position, env) returns")
    jacobian, start, end = (np.asarray(x, dtype=float) for x in _jacobian(dynamics, state, tree.traceable(env)))
    found = float(np.linalg.slogdet(_tangent(end).T @ jacobian @ _tangent(start))[1])
    if not np.isfinite(found):
        raise ValueError(
            f"dynamics: a step has no finite change of volume at this state, got log |det J| = {found}. Check "
            "dynamics.step(state, env).status, and whether the step ignores a part of the state."
        )
    return found


def _tangent(projection: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the range of a projection, as columns."""
    values, vectors = np.linalg.eigh((projection + projection.T) / 2)
    return vectors[:, values > 0.5]


@jax.jit
def _steps(dynamics: Dynamics, state: State, env: PyTree, steps: jax.Array) -> tuple[State, PyTree]:
    def one(_: jax.Array, carry: tuple[State, PyTree]) -> tuple[State, PyTree]:
        out = trajectory(dynamics, *carry, steps=1)
        return out.state, out.boxed_env

    return jax.lax.fori_loop(0, steps, one, (state, env))


@jax.jit
def _jacobian(dynamics: Targeted, state: State, env: PyTree) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the Jacobian of a step by displacements of its start, and the tangent projections at start and end."""
    here, noise, space = phase_space.phase(state), dynamics.draw(state), dynamics.space

    def moved(away: jax.Array) -> phase_space.Phase:
        """Return the point of phase space at a displacement, with its momentum transported."""
        by = unflatten(away, here)
        momentum = here.momentum
        if momentum is not None:
            momentum = tree.add(space_of.transport(space, here.position, by.position, momentum), by.momentum)
        return phase_space.Phase(
            position=space_of.shift(space, here.position, by.position),
            momentum=momentum,
            memory=tree.add(here.memory, by.memory),
        )

    def step(away: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = phase_space.at_phase(dynamics, state, env, moved(away))
        end = phase_space.phase(dynamics.apply(start, env, noise))
        return flatten(end), flatten(end)

    def tangent(point: phase_space.Phase) -> jax.Array:
        def projected(vector: jax.Array) -> jax.Array:
            part = unflatten(vector, here)
            momentum = None if part.momentum is None else space_of.project(space, point.position, part.momentum)
            position = space_of.project(space, point.position, part.position)
            return flatten(part.replace(position=position, momentum=momentum))

        return jax.jacfwd(projected)(flatten(here))

    jacobian, end = jax.jacfwd(step, has_aux=True)(jnp.zeros_like(flatten(here)))
    return jacobian, tangent(here), tangent(unflatten(end, here))
