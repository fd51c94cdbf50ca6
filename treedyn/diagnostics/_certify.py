"""`certify`: the distribution that a method samples on a quadratic target, without simulation."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import environment, tree
from treedyn._state import State
from treedyn._struct import Struct, function
from treedyn._target import Evaluation, Target
from treedyn.diagnostics import _phase as phase_space
from treedyn.dynamics._dynamics import Dynamics, Targeted
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten

_DRAWS = 4096


class Certificate(Struct):
    """Means and covariances of a Gaussian distribution in phase space.

    Rows and columns of the covariances are the elements of the moving leaves, leaf by leaf, in C order. Fields of
    momenta are `None` for a dynamics without momenta.

    Attributes:
        position_mean: a tree like the moving part of the position.
        momentum_mean: a tree like it.
        position_covariance: covariance of the positions, `[n, n]`.
        momentum_covariance: covariance of the momenta, `[n, n]`.
        cross_covariance: covariance of positions (rows) and momenta (columns), `[n, n]`.
        spectral_radius: factor by which the slowest deviation from the mean shrinks in one step; `None` for the
            distribution after a number of steps.
    """

    position_mean: PyTree
    momentum_mean: PyTree
    position_covariance: Float[np.ndarray, "n n"]
    momentum_covariance: Float[np.ndarray, "n n"] | None
    cross_covariance: Float[np.ndarray, "n n"] | None
    spectral_radius: float | None


class _Affine(NamedTuple):
    """One step as the map z' = A z + B xi + c, with the covariance Q of B xi."""

    A: np.ndarray
    Q: np.ndarray
    c: np.ndarray


class _Randomness(NamedTuple):
    """The numbers of a step that are random: its own draws, and the noise in the forces."""

    draws: int
    forces: int  # the first is that of the start
    covariance: np.ndarray | None
    fresh: bool


def certify(
    dynamics: Dynamics,
    state: State,
    env: PyTree = None,
    *,
    steps: int | None = None,
    gradient_noise: PyTree = None,
    fresh: bool = False,
) -> Certificate:
    r"""Return the exact mean and covariance of a dynamics on a quadratic target.

    On a quadratic target, one step is affine in the phase-space point $z$ (positions, momenta, and memory of the
    operators) and in its noise $\xi$: $z' = A z + B \xi + c$. $A$ and $B$ are the Jacobians of the step itself, so no
    second implementation and no Monte Carlo are involved. The stationary distribution is $m = (1 - A)^{-1} c$ and
    $C = A C A^T + B B^T$; the distribution after n steps follows by iteration. Compare $C$ with
    $kT\,(\nabla^2 U)^{-1}$ and $m\,kT$ for the error at a finite time step.

    4096 draws are checked to have zero mean, unit variance and no correlations, within a step and between successive
    steps. In single precision, the result is as accurate as the Jacobians.

    Args:
        dynamics: a Langevin or Brownian dynamics, or any other that is linear on a quadratic target.
        state: a state of the dynamics; the start of the run if `steps` is given.
        env: environment of the target, at the time of the state.
        steps: length of a run with its schedules and moving environment. By default the result is the stationary
            distribution, with schedules at the step of the state.
        gradient_noise: covariance of unbiased noise in the force, independent between evaluations: a number or prefix
            tree of variances of the elements, or a matrix `[n, n]`.
        fresh: whether the force at the beginning of a step is a new evaluation. By default it is the last force of the
            previous step, with the same noise, as in `compose`.

    Returns:
        Means and covariances of positions and momenta.

    Raises:
        ValueError: the step is not affine in state and noise, its noise is not standard normal, or there is no
            stationary distribution.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=1.0, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(1))
        >>> exact = td.certify(dynamics, state)
        >>> print(exact.position_covariance.round(4), exact.momentum_covariance.round(4))
        [[1.]] [[0.75]]

    Reference:
        Leimkuhler, Matthews, Molecular Dynamics, Springer (2015), doi:10.1007/978-3-319-16375-8.
    """
    check.instance("dynamics", dynamics, Dynamics, "a dynamics like td.langevin(...)")
    check.instance("state", state, State, "what dynamics.init(key, position, env) returns")
    if jnp.ndim(state.step):
        raise ValueError("state: expected one of a single system. Certify the members of an ensemble one by one.")
    fresh, env = check.flag("fresh", fresh), tree.traceable(env)
    draws = np.asarray(_draws(dynamics, state), dtype=float)
    _check_noise(draws)
    noise = _covariance(gradient_noise, state)
    if noise is not None and not isinstance(dynamics, Targeted):
        raise ValueError(f"gradient_noise: expected a dynamics with a target, got a {type(dynamics).__name__}")
    forces = 0 if noise is None else 1 + _evaluations(dynamics, state, env)
    random = _Randomness(draws.shape[1], forces, noise, fresh)
    if steps is None:
        return _stationary(dynamics, state, env, random)
    point = np.asarray(flatten(phase_space.phase(state)), dtype=float)
    spread = np.zeros((point.size, point.size))
    if noise is not None and not fresh:
        spread = np.pad(noise, (point.size, 0))
        point = np.append(point, np.zeros(len(noise)))
    end = state
    for _ in range(check.integer("steps", steps, 0)):
        then = environment.advance(env, end)
        # the target must be quadratic wherever the distribution reaches
        step = _affine(dynamics, end, env, then, random, around=(point, 1 + 3 * np.sqrt(np.diag(spread))))
        point, spread = step.A @ point + step.c, step.A @ spread @ step.A.T + step.Q
        if not np.all(np.abs(spread) < 1e100):
            raise ValueError("steps: the distribution spreads without bound. Take fewer steps, or reduce dt.")
        end, env = _step(dynamics, end, then), then
    return _certificate(point, spread, state, None)


def _stationary(dynamics: Dynamics, state: State, env: PyTree, random: _Randomness) -> Certificate:
    if environment.moves(env):
        raise ValueError("env: a part of it changes with time, so nothing is stationary. Pass steps= to certify a run.")
    step = _affine(dynamics, state, env, env, random)
    radius = float(np.max(np.abs(np.linalg.eigvals(step.A))))
    if radius > 1 - 1e-9:
        raise ValueError(
            f"dynamics: no stationary distribution, because one step does not contract (spectral radius {radius:.6g}). "
            "Check that there is friction, a force on every leaf, and a dt below the limit of stability."
        )
    mean, C = np.linalg.solve(np.eye(len(step.A)) - step.A, step.c), _lyapunov(step.A, step.Q)
    # the target must be quadratic wherever the method goes, not only near the state
    _affine(dynamics, state, env, env, random, around=(mean, 3 * np.sqrt(np.diag(C))))
    return _certificate(mean, C, state, radius)


def _certificate(mean: np.ndarray, C: np.ndarray, state: State, radius: float | None) -> Certificate:
    here = phase_space.phase(state)
    point = unflatten(mean[: tree.size(here)], here)
    n, inertial = tree.size(here.position), state.momentum is not None
    return Certificate(
        position_mean=point.position,
        momentum_mean=point.momentum,
        position_covariance=C[:n, :n],
        momentum_covariance=C[n : 2 * n, n : 2 * n] if inertial else None,
        cross_covariance=C[:n, n : 2 * n] if inertial else None,
        spectral_radius=radius,
    )


_step = jax.jit(lambda dynamics, state, env: dynamics.step(state, env))


@jax.jit
def _draws(dynamics: Dynamics, state: State) -> jax.Array:
    """Return the noise of many successive steps; `[steps, elements]`."""
    steps = state.step + jnp.arange(_DRAWS, dtype=state.step.dtype)
    return jax.vmap(lambda step: flatten(dynamics.draw(state.replace(step=step))))(steps)


def _check_noise(noise: np.ndarray) -> None:
    pairs = np.concatenate([noise[:-1], noise[1:]], axis=1)
    width = pairs.shape[1]
    mean, covariance = np.mean(pairs, axis=0), pairs.T @ pairs / len(pairs)
    # seven standard errors: of a mean, of a variance and of a correlation
    allowed = 7 * np.sqrt((1 + np.eye(width)) / _DRAWS)
    if np.any(np.abs(mean) > 7 / np.sqrt(_DRAWS)) or np.any(np.abs(covariance - np.eye(width)) > allowed):
        raise ValueError(
            "dynamics: its noise is not independent standard normal (that of collisions and stochastic rescaling is "
            "not), so the covariance does not follow from one step. Use a statistical test instead."
        )


def _covariance(gradient_noise: PyTree, state: State) -> np.ndarray | None:
    """Return the covariance matrix of the noise in the force."""
    if gradient_noise is None:
        return None
    part = state.moving
    n = tree.size(part)
    if tree.is_array(gradient_noise) and np.shape(gradient_noise) == (n, n) and n > 1:
        matrix = check.reals("gradient_noise", gradient_noise, "a covariance matrix")
        if not np.allclose(matrix, matrix.T) or np.min(np.linalg.eigvalsh(matrix)) < -1e-12 * np.max(np.abs(matrix)):
            raise ValueError("gradient_noise: a covariance matrix must be symmetric without negative eigenvalues")
        return matrix
    for leaf in jax.tree.leaves(gradient_noise):
        check.array("gradient_noise", leaf, "variances, or a covariance matrix [n, n]", nonnegative=True)
    variances = tree.broadcast(gradient_noise, part, "gradient_noise")
    full = jax.tree.map(lambda v, x: jnp.broadcast_to(v, x.shape), variances, part)
    return np.diag(np.asarray(flatten(full), dtype=float))


class _Noisy(Target):
    """A target with the noise `given()` added to the force of every evaluation."""

    given: Callable[[], PyTree] = function()

    def __call__(self, position: PyTree, env: PyTree = None) -> Evaluation:
        result = target_of.resolve(self.function, position, env)(position, env)
        return result.replace(force=tree.add(result.force, self.given()))


class _NoisyEnergy(_Noisy):
    """The same for an energy, where the noise is part of the gradient."""

    conservative = True


def _with_noise(dynamics: Any, state: State, env: PyTree, given: Callable[[], PyTree]) -> Dynamics:
    now = tree.unbox(environment.at(env, state.time))
    kind = _NoisyEnergy if target_of.resolve(dynamics.target, state.boxed, now).conservative else _Noisy
    return dynamics.replace(target=kind(function=dynamics.target, given=given))


def _evaluations(dynamics: Dynamics, state: State, env: PyTree) -> int:
    """Return how many times a step evaluates the force."""
    count = 0

    def given() -> PyTree:
        nonlocal count
        count += 1
        return tree.zeros_like(state.moving)

    jax.eval_shape(lambda s, e: _with_noise(dynamics, s, e, given).step(s, e), state, env)
    return count


@partial(jax.jit, static_argnames="count")
def _jacobians(
    dynamics: Dynamics, state: State, envs: tuple[PyTree, PyTree], points: jax.Array, inputs: jax.Array, count: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the derivatives of a step by its start and by its input, and its end; `[points, ...]`.

    The input is the noise of the step and the noise of `count` forces, the first of which is that of the start.
    """
    here, drawn = phase_space.phase(state), dynamics.draw(state)
    width = tree.size(drawn)
    before, after = envs

    def step(point: jax.Array, incoming: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = phase_space.at_phase(dynamics, state, before, unflatten(point, here))
        moved = dynamics
        if count:
            parts = jnp.split(incoming[width:], count)
            forces = iter([unflatten(part, here.position) for part in parts])
            start = start.replace(force=tree.add(start.force, next(forces)))
            moved = _with_noise(dynamics, start, after, lambda: next(forces))
        end = moved.apply(start, after, unflatten(incoming[:width], drawn))
        new = flatten(phase_space.phase(end))
        return new, new

    (A, B), ends = jax.vmap(jax.jacfwd(step, argnums=(0, 1), has_aux=True))(points, inputs)
    return A, B, ends


def _affine(
    dynamics: Dynamics,
    state: State,
    before: PyTree,
    after: PyTree,
    random: _Randomness,
    around: tuple[np.ndarray, np.ndarray] | None = None,
) -> _Affine:
    """Return one step as an affine map, checked at three points; `around` is their center and spread."""
    start = np.asarray(flatten(phase_space.phase(state)))
    width, count, noise, fresh = random
    n = 0 if noise is None else len(noise)
    # the state itself with zero input, and two points far from it and from each other
    scales = np.array([[0.0], [1.0], [-3.0]])
    far = np.ones_like(start)
    if around is not None:
        start, far = (x[: start.size].astype(start.dtype) for x in around)
    points = (start + scales * far * np.cos(1 + np.arange(start.size))).astype(start.dtype)
    inputs = (scales * np.sin(1 + np.arange(width + count * n))).astype(start.dtype)
    precision = 1e4 * float(jnp.finfo(start.dtype).eps)
    found = _jacobians(dynamics, state, (before, after), points, inputs, count)
    As, Bs, ends = (np.asarray(x, dtype=float) for x in found)
    points, inputs = points.astype(float), inputs.astype(float)
    A, B = As[0], Bs[0]
    c = ends[0] - A @ points[0]
    size = 1 + max(np.max(np.abs(x), initial=0.0) for x in (As, Bs, ends, points))
    errors = (As - A, Bs - B, ends - (points @ A.T + inputs @ B.T + c))
    if not all(np.all(np.abs(error) < precision * size) for error in errors):
        raise ValueError(
            "dynamics: one step is not affine in state and noise. Use a quadratic energy in a Euclidean space, and a "
            "method that is linear there: Langevin and Brownian dynamics are, thermostats that control the kinetic "
            "energy are not."
        )
    if noise is None:
        return _Affine(A, B @ B.T, c)
    own, forces = B[:, :width], np.split(B[:, width:], count, axis=1)
    if fresh:
        return _Affine(A, own @ own.T + sum(G @ noise @ G.T for G in forces), c)
    # the noise in the last force is part of the start of the next step
    held, *middle, last = forces
    Q = own @ own.T + sum(G @ noise @ G.T for G in (*middle, last))
    grown = np.block([[Q, last @ noise], [noise @ last.T, noise]])
    return _Affine(np.block([[A, held], [np.zeros((n, len(A) + n))]]), grown, np.append(c, np.zeros(n)))


def _lyapunov(A: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Solve C = A C A^T + Q by summing A^k Q A^kT, doubling the number of terms in every iteration."""
    C = Q
    while np.max(np.abs(A)) > 1e-18:
        C, A = C + A @ C @ A.T, A @ A
    return C
