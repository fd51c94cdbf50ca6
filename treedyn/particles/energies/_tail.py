"""The long-range correction of a homogeneous fluid for the part of a potential beyond its cutoff."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct
from treedyn.particles.energies._parameters import elementwise, parameters
from treedyn.particles.energies._truncation import Cut


class LongRangeCorrection(Struct):
    """The contribution of the pairs beyond the cutoff.

    Attributes:
        energy: energy per particle.
        pressure: pressure.
    """

    energy: Float[Array, "..."]
    pressure: Float[Array, "..."]


def long_range_correction(u: Cut, density: Real[ArrayLike, "..."], dimension: int = 3) -> LongRangeCorrection:
    r"""Return the contribution of the pairs beyond the cutoff to energy and pressure of a homogeneous fluid.

    With the surface $S_d$ of the unit sphere ($4 \pi$ in three dimensions) and g(r) = 1 beyond the cutoff,

    $$\frac{U}{N} = \frac{\rho}{2} S_d \int_{r_c}^\infty u(r)\, r^{d-1} dr, \qquad
      P = -\frac{\rho^2}{2 d} S_d \int_{r_c}^\infty u'(r)\, r^d dr .$$

    The integrals are computed by Gauss–Legendre quadrature, exact for inverse powers up to $r^{-15-d}$.

    Args:
        u: a potential truncated by `tp.cut`. A shifted potential also differs inside its cutoff and has no such
            correction.
        density: number density, $\rho$; particles per volume.
        dimension: number of coordinates, d.

    Returns:
        `energy` per particle and `pressure`, to be added to those of the truncated potential.

    Raises:
        ValueError: `u` is not made by `tp.cut`, differs from pair to pair, or decays too slowly for the integral.

    Example:
        >>> from treedyn import particles as tp
        >>> correction = tp.long_range_correction(tp.cut(tp.lennard_jones(), cutoff=3.0), density=30 / 8**3)
        >>> print(f"{30 * correction.energy:.5f}")
        -0.54517

    Reference:
        M. P. Allen and D. J. Tildesley, Computer Simulation of Liquids, 2nd ed. (2017), section 2.8,
        doi:10.1093/oso/9780198803195.001.0001
    """
    if not isinstance(u, Cut):
        raise ValueError(
            f"u: expected a potential made by tp.cut(u, cutoff), which is unchanged inside the cutoff, got {u!r}."
        )
    if parameters(u):
        raise ValueError(
            "u: expected the same numbers for all pairs. Compute the corrections of all pairs of species, and average "
            "them with the products of the fractions as weights."
        )
    whole: Callable[[Any], Any] = u.u
    cutoff = jnp.asarray(u.cutoff)
    density = check.array("density", density, "particles per volume", nonnegative=True)
    density = jnp.asarray(density).astype(cutoff.dtype)
    dimension = check.integer("dimension", dimension, 1)
    # r = cutoff / s^8 maps the integrals to s in (0, 1], where all but the slowest inverse powers of r are smooth
    nodes, weights = np.polynomial.legendre.leggauss(64)
    s, weight = (jnp.asarray(x, cutoff.dtype) for x in ((nodes + 1) / 2, weights / 2))
    r = cutoff / s**8
    energy, slope = jax.jvp(lambda r: elementwise(whole, r), (r,), (jnp.ones_like(r),))
    surface = 2 * math.pi ** (dimension / 2) / math.gamma(dimension / 2)
    # far out, the potential underflows to 0 before the volume of a shell overflows
    shell = 8 * cutoff**dimension / jnp.where((energy == 0) & (slope == 0), 1, s) ** (8 * dimension + 1)
    inside = surface * jnp.sum(weight * energy * shell)
    outward = surface * jnp.sum(weight * r * slope * shell)
    density = jnp.where(_decays(whole, cutoff, dimension), density, jnp.nan)
    return LongRangeCorrection(energy=density / 2 * inside, pressure=-(density**2) / (2 * dimension) * outward)


def _decays(u: Callable[[Any], Any], cutoff: jax.Array, dimension: int) -> jax.Array:
    """Return whether the integral of `u` over all space converges, judged from two large distances."""
    near, far = 1e2 * cutoff, 1e3 * cutoff
    # at least as r^(-d - 1/4), for which the quadrature still has five digits
    falls = jnp.abs(u(far)) * 10.0 ** (dimension + 0.25) < 1.001 * jnp.abs(u(near))
    decays = falls | (u(far) == 0)
    if tree.known(decays) is not None and not decays:
        raise ValueError(
            f"u: expected a potential that decays clearly faster than 1/r^{dimension}, otherwise its integral beyond "
            "the cutoff diverges or converges too slowly. Use a sum over images instead."
        )
    return decays
