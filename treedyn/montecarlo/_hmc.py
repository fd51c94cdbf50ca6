"""Metropolis methods whose proposals follow the force: a trajectory, accepted or rejected."""

from collections.abc import Callable
from typing import Any

from treedyn import operators
from treedyn.dynamics._compose import compose
from treedyn.montecarlo._metropolize import Metropolized, metropolize
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def hmc(
    target: Callable[..., Any],
    dt: PyTree,
    steps: int | tuple[int, int],
    kT: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> Metropolized:
    """Sample exp(-U/kT) by Hamiltonian Monte Carlo: fresh momenta, L steps of B A B, accept or reject.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        steps: steps of a trajectory, L, or `(least, most)` to draw it for every trajectory.
        kT: temperature in units of energy, positive: one number or schedule for all leaves.

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.hmc(lambda x: jnp.sum(x**2) / 2, dt=0.4, steps=(2, 6))
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(100))
        >>> out = td.run(dynamics, state, steps=500, record=lambda state: jnp.mean(state.position**2))
        >>> print(f"{out.records[10:].mean():.1f}")
        1.0

    Reference:
        Duane et al., Phys. Lett. B 195, 216 (1987), doi:10.1016/0370-2693(87)91197-X.
    """
    A, B = operators.drift(space), operators.kick()
    return metropolize(compose(target, (B, A, B), dt, mass=mass, space=space), kT, steps=steps)


def mala(
    target: Callable[..., Any], dt: PyTree, kT: PyTree = 1.0, *, mass: PyTree = 1.0, space: PyTree = EUCLIDEAN
) -> Metropolized:
    r"""Sample exp(-U/kT) by the Metropolis-adjusted Langevin algorithm: HMC with one step.

    In flat space the proposal is $x' = x + \tfrac{h^2}{2m} F(x) + h \sqrt{kT/m}\,\xi$.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, positive: one number or schedule for all leaves.

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.mala(lambda x: jnp.sum(x**2) / 2, dt=0.2)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.zeros(10)))
        >>> bool(state.info.acceptance > 0.9)
        True

    Reference:
        Roberts, Tweedie, Bernoulli 2, 341 (1996), doi:10.2307/3318418.
    """
    return hmc(target, dt, 1, kT, mass=mass, space=space)


def ghmc(
    target: Callable[..., Any],
    dt: PyTree,
    persistence: float,
    kT: PyTree = 1.0,
    *,
    steps: int | tuple[int, int] = 1,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> Metropolized:
    r"""Sample exp(-U/kT) by generalized Hamiltonian Monte Carlo: momenta are kept in part, and reversed on rejection.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        persistence: the part $a$ of the momenta that is kept before a trajectory, $p \to a p + \sqrt{1 - a^2}\,p_{kT}$.
        kT: temperature in units of energy, positive: one number or schedule for all leaves.
        steps: steps of a trajectory, or `(least, most)` to draw it for every trajectory.

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.ghmc(lambda x: jnp.sum(x**2) / 2, dt=0.2, persistence=0.9)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.zeros(10)))
        >>> bool(state.info.acceptance > 0.9)
        True

    Reference:
        Horowitz, Phys. Lett. B 268, 247 (1991), doi:10.1016/0370-2693(91)90812-5.
    """
    A, B = operators.drift(space), operators.kick()
    splitting = compose(target, (B, A, B), dt, mass=mass, space=space)
    return metropolize(splitting, kT, steps=steps, persistence=persistence)


def malt(
    target: Callable[..., Any],
    dt: PyTree,
    steps: int | tuple[int, int],
    gamma: PyTree,
    kT: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> Metropolized:
    """Sample exp(-U/kT) by Metropolis-adjusted Langevin trajectories: fresh momenta, L steps of O B A B O.

    Friction makes the length of a trajectory uncritical, where HMC needs jitter.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        steps: steps of a trajectory, L, or `(least, most)` to draw it for every trajectory.
        gamma: friction in units of 1/time, zero or positive: a number, schedule or prefix tree.
        kT: temperature in units of energy, positive: one number or schedule for all leaves.

    Returns:
        A dynamics. `state.info` has `acceptance`, `accepted`, `error`, `divergent` and `steps` of the last step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.malt(lambda x: jnp.sum(x**2) / 2, dt=0.4, steps=8, gamma=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.zeros(10)))
        >>> bool(state.info.acceptance > 0.7)
        True

    Reference:
        Riou-Durand, Vogrinc, arXiv:2202.13230 (2022).
    """
    A, B, bath = operators.drift(space), operators.kick(), operators.ornstein_uhlenbeck(kT, gamma)
    return metropolize(compose(target, (bath, B, A, B, bath), dt, mass=mass, space=space), kT, steps=steps)
