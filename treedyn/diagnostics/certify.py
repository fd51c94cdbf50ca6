"""`certify`: what a method samples on a quadratic target, computed instead of simulated."""

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn.diagnostics import phase as phase_space
from treedyn.dynamics.compose import Splitting
from treedyn.dynamics.dynamics import check_state
from treedyn.state import State
from treedyn.struct import Struct
from treedyn.tree import PyTree

_DRAWS = 4096


class Stationary(Struct):
    """Hold the stationary distribution of a step that is affine in state and noise.

    Rows and columns of the covariances are the elements of the moving leaves, leaf by leaf, in C order.

    Attributes:
        position_mean: a tree like the moving part of the position.
        momentum_mean: the same for the momenta; `None` where there are none.
        position_covariance: `[n, n]`.
        momentum_covariance: `[n, n]`; `None` where there are no momenta.
        cross_covariance: of positions (rows) with momenta (columns), `[n, n]`; `None` where there are no momenta.
        spectral_radius: factor by which the slowest deviation from the mean shrinks in one step.
    """

    position_mean: PyTree
    momentum_mean: PyTree
    position_covariance: np.ndarray
    momentum_covariance: np.ndarray | None
    cross_covariance: np.ndarray | None
    spectral_radius: float


def certify(dynamics: Splitting, state: State, env: PyTree = None) -> Stationary:
    r"""Return the exact stationary mean and covariance of a dynamics on a quadratic target.

    There one step is affine in the phase-space point $z$ (positions, momenta, and what the operators remember) and in
    its noise $\xi$, $z' = A z + B \xi + c$. $A$ and $B$ are the Jacobians of the step itself, and
    $m = (1 - A)^{-1} c$, $C = A C A^T + B B^T$: no Monte Carlo, and no second implementation that could be right where
    the first is wrong. Compare $C$ with $kT\,(\nabla^2 U)^{-1}$ and $m\,kT$ for the error at a finite time step.

    That noise has zero mean, unit variance and no correlations, within a step and from one to the next, is checked on
    4096 draws. In single precision the result is as good as the Jacobians.

    Args:
        dynamics: a Langevin or Brownian dynamics, or any other splitting that adds noise linearly.
        state: a state of it; schedules are taken at its step.
        env: environment of the target.

    Returns:
        Means and covariances of positions and momenta.

    Raises:
        ValueError: the step is not affine in state and noise, its noise is not standard normal, or it has no
            stationary distribution.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=1.0, kT=1.0, gamma=1.0)
        >>> exact = td.certify(dynamics, dynamics.init(jax.random.key(0), jnp.zeros(1)))
        >>> print(exact.position_covariance.round(4), exact.momentum_covariance.round(4))
        [[1.]] [[0.75]]

    Reference:
        Leimkuhler, Matthews, Molecular Dynamics, Springer (2015), doi:10.1007/978-3-319-16375-8.
    """
    if not isinstance(dynamics, Splitting):
        raise ValueError(
            f"dynamics: expected one with noise to certify, like td.langevin(...), got {type(dynamics).__name__}"
        )
    check_state(state, dynamics.names)
    _check_noise(np.asarray(_draws(dynamics, state), dtype=float))
    A, B, c = _affine(dynamics, state, env)
    radius = float(np.max(np.abs(np.linalg.eigvals(A))))
    if radius > 1 - 1e-9:
        raise ValueError(
            f"dynamics: no stationary distribution, since one step does not forget where it started (spectral radius "
            f"{radius:.6g}). Is there friction, a force on every leaf, and a dt below the limit of stability?"
        )
    mean = phase_space.unflatten(np.linalg.solve(np.eye(len(A)) - A, c), phase_space.phase(state))
    C = _lyapunov(A, B @ B.T)
    n, inertial = tree.size(mean.position), state.momentum is not None
    return Stationary(
        position_mean=mean.position,
        momentum_mean=mean.momentum,
        position_covariance=C[:n, :n],
        momentum_covariance=C[n : 2 * n, n : 2 * n] if inertial else None,
        cross_covariance=C[:n, n : 2 * n] if inertial else None,
        spectral_radius=radius,
    )


@jax.jit
def _draws(dynamics: Splitting, state: State) -> jax.Array:
    """Return the noise of many successive steps; `[steps, elements]`."""
    steps = state.step + jnp.arange(_DRAWS, dtype=state.step.dtype)
    return jax.vmap(lambda step: phase_space.flatten(dynamics.draw(state.replace(step=step))))(steps)


def _check_noise(noise: np.ndarray) -> None:
    pairs = np.concatenate([noise[:-1], noise[1:]], axis=1)
    width = pairs.shape[1]
    mean, covariance = np.mean(pairs, axis=0), pairs.T @ pairs / len(pairs)
    # seven standard errors: of a mean, of a variance and of a correlation
    allowed = 7 * np.sqrt((1 + np.eye(width)) / _DRAWS)
    if np.any(np.abs(mean) > 7 / np.sqrt(_DRAWS)) or np.any(np.abs(covariance - np.eye(width)) > allowed):
        raise ValueError(
            "dynamics: the noise that it draws is not independent standard normal noise (collisions and stochastic "
            "rescaling draw other kinds), so its covariance does not follow from one step. Test it by statistics."
        )


@jax.jit
def _jacobians(
    dynamics: Splitting, state: State, env: PyTree, points: jax.Array, noises: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return A, B and the end of the step for every point of phase space and its noise; `[points, ...]`."""
    here, drawn = phase_space.phase(state), dynamics.draw(state)

    def step(point: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        start = phase_space.at_phase(dynamics, state, env, phase_space.unflatten(point, here))
        end = dynamics.apply(start, env, phase_space.unflatten(noise, drawn))
        new = phase_space.flatten(phase_space.phase(end))
        return new, new

    (A, B), ends = jax.vmap(jax.jacfwd(step, argnums=(0, 1), has_aux=True))(points, noises)
    return A, B, ends


def _affine(dynamics: Splitting, state: State, env: PyTree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A, B and c of one step; refuse a step that is not affine."""
    start = np.asarray(phase_space.flatten(phase_space.phase(state)))
    width = sum(x.size for x in jax.tree.leaves(jax.eval_shape(dynamics.draw, state)))
    # the state itself without noise, and two points that are far from it and from each other
    scales = np.array([[0.0], [1.0], [-3.0]])
    points = (start + scales * np.cos(1 + np.arange(start.size))).astype(start.dtype)
    noises = (scales * np.sin(1 + np.arange(width))).astype(start.dtype)
    precision = 1e4 * float(jnp.finfo(start.dtype).eps)
    As, Bs, ends = (np.asarray(x, dtype=float) for x in _jacobians(dynamics, state, env, points, noises))
    points, noises = points.astype(float), noises.astype(float)
    A, B = As[0], Bs[0]
    c = ends[0] - A @ points[0]
    size = 1 + max(np.max(np.abs(x), initial=0.0) for x in (As, Bs, ends, points))
    errors = (As - A, Bs - B, ends - (points @ A.T + noises @ B.T + c))
    if not all(np.all(np.abs(error) < precision * size) for error in errors):
        raise ValueError(
            "dynamics: one step is not affine in state and noise. Certify on a quadratic energy in a Euclidean space, "
            "and only methods that are linear there: Langevin and Brownian dynamics are, thermostats that look at the "
            "kinetic energy are not."
        )
    return A, B, c


def _lyapunov(A: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Solve C = A C A^T + Q by summing A^k Q A^kT, twice as many terms each time."""
    C = Q
    while np.max(np.abs(A)) > 1e-18:
        C, A = C + A @ C @ A.T, A @ A
    return C
