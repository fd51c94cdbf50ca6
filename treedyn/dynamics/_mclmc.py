"""Microcanonical Langevin dynamics: Langevin at one kinetic energy."""

from collections.abc import Callable
from typing import Any

from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def mclmc(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree = 1.0,
    gamma: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
) -> Splitting:
    r"""Sample exp(-U/kT) by microcanonical Langevin dynamics, O B A B O at the kinetic energy $2K = (N - 1)\,kT$.

    The speed is the same everywhere, whatever the energy. The time step has an error, which
    `td.metropolize(td.mclmc(...), kT, steps=...)` removes.

    `target`, `dt`, `mass` and `space` are those of `td.compose`; there is one `dt` for all leaves.

    Args:
        kT: temperature in units of energy, positive: one number or schedule for all leaves.
        gamma: friction in units of 1/time: a number, schedule or prefix tree. The direction is forgotten over
            the length $\sqrt{(N - 1) kT/m}/\gamma$.

    Returns:
        A dynamics. `conserved` is constant but for the error of the time step.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.mclmc(lambda x: jnp.sum(x**2) / 2, dt=0.3)
        >>> state = dynamics.init(jax.random.key(0), jnp.ones(1000))
        >>> state = td.trajectory(dynamics, state, steps=200).state
        >>> bool(abs(jnp.mean(state.position**2) - 1) < 0.15), round(float(td.temperature(state)), 4)
        (True, 1.0)

    Reference:
        Robnik, De Luca, Silverstein, Seljak, J. Mach. Learn. Res. 24, 311 (2023), arXiv:2212.08549; Robnik, Seljak,
        arXiv:2303.18221 (2023); isokinetic motion: Evans, Morriss, Phys. Lett. A 98, 433 (1983),
        doi:10.1016/0375-9601(83)90256-6.
    """
    A, B = operators.drift(space), operators.isokinetic_kick(kT)
    bath = operators.isokinetic_bath(kT, gamma)
    return compose(target, (bath, B, A, B, bath), dt, mass=mass, space=space)
