"""Constant temperature by a chain of thermostats."""

from collections.abc import Callable
from typing import Any, Literal

from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def nose_hoover(
    target: Callable[..., Any],
    dt: PyTree,
    kT: PyTree,
    tau: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    length: int = 3,
    substeps: int = 1,
    order: Literal[1, 3, 5, 7] = 3,
    groups: PyTree = None,
    remove_drift: bool = False,
) -> Splitting:
    """Sample the canonical ensemble with Nosé-Hoover chains: N B A B N.

    Time reversible; `conserved` is constant up to an error of order dt^2. A single thermostat (`length=1`) does not
    sample a harmonic oscillator; a chain of three does.

    `target`, `mass` and `space` are those of `td.compose`.

    Args:
        dt: time step, positive: one number or schedule for all leaves.
        kT: temperature in units of energy, positive: a number, schedule or prefix tree.
        tau: coupling time, positive, commonly some 100 dt: a number, schedule or prefix tree.
        length: thermostats in a chain.
        substeps: substeps of the chain per step, for a tau of a few dt.
        order: number of Suzuki-Yoshida weights: 1, 3, 5 or 7.
        groups: prefix tree of labels; leaves of one label share a chain. By default one for every value in `kT`.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly; needs one chain for all.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.nose_hoover(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, tau=1.0)
        >>> start = dynamics.init(jax.random.key(0), jnp.ones(10))
        >>> end = td.trajectory(dynamics, start, steps=200).state
        >>> bool(abs(dynamics.conserved(end) - dynamics.conserved(start)) < 0.02)
        True

    Reference:
        Martyna et al., Mol. Phys. 87, 1117 (1996), doi:10.1080/00268979600100761.
    """
    A, B = operators.drift(space), operators.kick()
    N = operators.nose_hoover_chain(kT, tau, length=length, substeps=substeps, order=order, groups=groups)
    hold = operators.hold_center(remove_drift, space, kT=kT, groups=groups)
    return compose(target, (N, B, A, B, N, *hold), dt, mass=mass, space=space)
