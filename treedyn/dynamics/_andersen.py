"""Constant temperature by collisions."""

from collections.abc import Callable
from typing import Any

from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree


def andersen(
    target: Callable[..., Any], dt: PyTree, kT: PyTree, rate: PyTree, *, mass: PyTree = 1.0, space: PyTree = EUCLIDEAN
) -> Splitting:
    """Sample the canonical ensemble by random collisions, which draw new momenta of single points: B A B, collide.

    A point is a particle where the space says so, else a single element of a leaf. Collisions move the center of mass,
    and holding it would bias the momenta, so there is no `remove_drift`.

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        kT: temperature in units of energy, zero or positive: a number, schedule or prefix tree.
        rate: collisions of one point per time: a number, schedule or prefix tree.

    Returns:
        A dynamics. Its `init` draws momenta at kT unless `momentum` is given.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.andersen(lambda x: jnp.sum(x**2) / 2, dt=0.05, kT=1.0, rate=1.0)
        >>> state = dynamics.step(dynamics.init(jax.random.key(0), jnp.ones(10)))

    Reference:
        Andersen, J. Chem. Phys. 72, 2384 (1980), doi:10.1063/1.439486.
    """
    A, B, C = operators.drift(space), operators.kick(), operators.collide(kT, rate, space)
    return compose(target, (B, A, B, C), dt, mass=mass, space=space)
