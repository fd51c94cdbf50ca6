"""Langevin dynamics in any splitting."""

from collections.abc import Callable
from typing import Any

from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def langevin(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    gamma: PyTree = 1.0,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    splitting: str = "BAOAB",
    remove_drift: bool = False,
    fresh: bool = False,
) -> Splitting:
    r"""Sample exp(-U/kT) by underdamped Langevin dynamics.

    $dx = \frac{p}{m} dt$, $dp = F(x)\,dt - \gamma p\,dt + \sqrt{2\gamma m kT}\,dW$, split into A (drift), B (kick) and
    O (Ornstein-Uhlenbeck), each solved exactly. On a harmonic target B A O A B samples positions without error at any
    stable step, and BAOA positions and momenta both.

    `target`, `dt`, `mass`, `space` and `fresh` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        gamma: friction, 1/time: a number, schedule or prefix tree.
        splitting: order of the operators as letters A, B and O, e.g. "BAOAB", "BAOA", "OBABO"; a letter that occurs
            n times acts for dt/n each time. For other operators use `compose`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one kT, gamma and dt.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.5, kT=1.0, gamma=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(1000))
        >>> state = td.trajectory(dynamics, state, steps=100).state
        >>> bool(abs(jnp.mean(state.position**2) - 1) < 0.15)
        True

    Reference:
        Leimkuhler, Matthews, Appl. Math. Res. Express 2013, 34 (2013), doi:10.1093/amrx/abs010; BAOA: Kieninger,
        Keller, J. Chem. Theory Comput. 18, 5792 (2022), doi:10.1021/acs.jctc.2c00585.
    """
    if not isinstance(splitting, str) or set(splitting) != set("ABO"):
        raise ValueError(
            f'splitting: expected the letters A, B and O, each at least once, got {splitting!r}. Pass e.g. "BAOAB".'
        )
    A, B, O = operators.drift(space), operators.kick(), operators.ornstein_uhlenbeck(kT, gamma)  # noqa: E741
    # noise moves the center of mass, so it is held right after every O
    hold = operators.hold_center(remove_drift, space, kT=kT, gamma=gamma, dt=dt)
    parts = {"A": (A,), "B": (B,), "O": (O, *hold)}
    sequence = [part for letter in splitting for part in parts[letter]]
    return compose(target, sequence, dt, mass=mass, space=space, fresh=fresh)
