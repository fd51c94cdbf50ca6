"""Constant temperature by rescaling the momenta."""

from collections.abc import Callable
from typing import Any

from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def csvr(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Sample the canonical ensemble by stochastic velocity rescaling: R B A B R.

    The thermostat of Bussi, Donadio and Parrinello. It uses one random number per step and group, so it hardly disturbs
    the motion of single particles, and kinetic energies are exactly those of the canonical ensemble.

    `target`, `mass` and `space` are those of `td.compose`.

    Args:
        dt: time step, positive: one number or schedule for all leaves.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        tau: coupling time, positive: a number, schedule or prefix tree.
        groups: prefix tree of labels; leaves of one label share a factor. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one factor for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.csvr(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Bussi, Donadio, Parrinello, J. Chem. Phys. 126, 014101 (2007), doi:10.1063/1.2408420.
    """
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    A, B, R = operators.drift(space), operators.kick(), operators.csvr(kT, tau, groups=groups)
    return compose(target, (R, B, A, B, R, *hold), dt, mass=mass, space=space)


def berendsen(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Bring a system to a temperature by smooth rescaling: R B A B R. For equilibration only.

    It does *not* sample the canonical ensemble: fluctuations of the kinetic energy are too small. Measure with
    `csvr`, `nose_hoover` or `langevin`.

    `target`, `mass` and `space` are those of `td.compose`.

    Args:
        dt: time step, positive: one number or schedule for all leaves.
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        tau: relaxation time, positive: a number, schedule or prefix tree.
        groups: prefix tree of labels; leaves of one label share a factor. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one factor for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.berendsen(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=0.1)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Berendsen et al., J. Chem. Phys. 81, 3684 (1984), doi:10.1063/1.448118.
    """
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    A, B, R = operators.drift(space), operators.kick(), operators.berendsen(kT, tau, groups=groups)
    return compose(target, (R, B, A, B, R, *hold), dt, mass=mass, space=space)
