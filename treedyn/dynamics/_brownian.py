"""Overdamped Langevin dynamics."""

from collections.abc import Callable
from typing import Any, Literal

from treedyn import _check as check
from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def brownian(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    gamma: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    method: Literal["leimkuhler_matthews", "euler_maruyama"] = "leimkuhler_matthews",
) -> Splitting:
    r"""Sample exp(-U/kT) by overdamped Langevin dynamics.

    $dx = \frac{F}{m\gamma}\,dt + \sqrt{\frac{2kT}{m\gamma}}\,dW$. Euler-Maruyama draws new noise every step and has a
    bias of first order in dt. Leimkuhler-Matthews averages the noise of two successive steps, costs the same, and has a
    bias of second order (none on a harmonic target).

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        gamma: friction, 1/time, positive: a number, schedule or prefix tree; the mobility is 1/(m gamma).
        method: "leimkuhler_matthews" or "euler_maruyama".

    Returns:
        A dynamics. Its states have no momentum.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.brownian(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (2013), doi:10.1093/amrx/abs010.
    """
    averaged = check.choice("method", method, ("leimkuhler_matthews", "euler_maruyama")) == "leimkuhler_matthews"
    step = operators.overdamped(kT, gamma, space, averaged=averaged)
    return compose(target, (step,), dt, mass=mass, space=space)
