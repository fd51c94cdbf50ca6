"""Constant energy."""

from collections.abc import Callable
from typing import Any, Literal

from treedyn import _check as check
from treedyn import operators
from treedyn.dynamics._compose import Splitting, compose
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree

# Yoshida's triple jump: three symmetric steps of second order, whose third-order errors cancel
_OUTER = 1 / (2 - 2 ** (1 / 3))
_INNER = 1 - 2 * _OUTER


def nve(
    target: Callable[..., Any],
    dt: PyTree,
    *,
    mass: PyTree = 1.0,
    space: PyTree = EUCLIDEAN,
    order: Literal[2, 4] = 2,
    remove_drift: bool = False,
) -> Splitting:
    r"""Integrate at constant energy with velocity Verlet, or with Yoshida's method of fourth order.

    $\dot x = p/m$, $\dot p = F(x)$, split as B A B: half a kick, a drift, half a kick. Time reversible, symplectic, one
    force evaluation a step (three at order 4).

    `target`, `dt`, `mass` and `space` are those of `td.compose`.

    Args:
        order: 2 or 4.
        remove_drift: hold the center of mass, and count degrees of freedom accordingly.

    Returns:
        A dynamics. Its `init` starts at rest unless `momentum` or `kT` is given.

    Example:
        >>> import jax, treedyn as td
        >>> dynamics = td.nve(td.from_energy(lambda x: x**2 / 2), dt=0.1)
        >>> state = dynamics.init(jax.random.key(0), 1.0)
        >>> state = dynamics.step(state)
        >>> round(float(dynamics.conserved(state)), 4)
        0.5

    Reference:
        Swope et al., J. Chem. Phys. 76, 637 (1982), doi:10.1063/1.442716; Yoshida, Phys. Lett. A 150, 262 (1990),
        doi:10.1016/0375-9601(90)90092-3.
    """
    A, B = operators.drift(space), operators.kick()
    if check.choice("order", order, {2: "velocity Verlet", 4: "Yoshida"}) == 2:
        sequence = (B, A, B)
    else:
        half, middle = _OUTER / 2, (_OUTER + _INNER) / 2
        sequence = ((B, half), (A, _OUTER), (B, middle), (A, _INNER), (B, middle), (A, _OUTER), (B, half))
    hold = operators.hold_center(remove_drift, space)
    return compose(target, (*sequence, *hold), dt, mass=mass, space=space)
