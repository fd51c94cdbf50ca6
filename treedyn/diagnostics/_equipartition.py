r"""Temperatures of leaves: $\langle (z - \bar z)\,\partial H/\partial z \rangle = kT$ for every element z."""

import jax
import numpy as np
from jaxtyping import Float

from treedyn import _check as check
from treedyn._struct import Struct
from treedyn.diagnostics._convergence import monte_carlo_error, real
from treedyn.tree import PyTree


class Equipartition(Struct):
    """The result of `equipartition`.

    Attributes:
        kT: temperature of every leaf, in units of energy.
        error: its Monte Carlo error; NaN where it is not known.
    """

    kT: PyTree
    error: PyTree


def equipartition(draws: PyTree, slopes: PyTree) -> Equipartition:
    r"""Return the temperature of every leaf, $kT = \langle (z - \bar z)\,\partial H/\partial z \rangle$.

    With positions and minus the forces it is the configurational temperature; with momenta and velocities, the kinetic
    one. It needs no second derivatives. It holds for elements in flat space whose density vanishes at the ends: bound
    positions, and any momenta that are not constrained. Neither periodic boxes nor manifolds have it.

    A right sampler is within three errors of its temperature nearly always. With a harmonic energy, the band is that
    of `temperature_band`.

    Args:
        draws: a tree of arrays `[draws, chains, ...]`: positions or momenta.
        slopes: the derivative of the energy with respect to them, a tree like it.

    Returns:
        An `Equipartition` with one number for every leaf.

    Raises:
        ValueError: the trees do not fit, or an array has fewer than two axes.

    Example:
        >>> import numpy as np, treedyn as td
        >>> x = np.random.default_rng(0).normal(size=(1000, 4, 10)) / np.sqrt(5)  # U = 5 x^2/2 at kT = 1
        >>> found = td.diagnostics.equipartition({"x": x}, {"x": 5 * x})
        >>> bool(abs(found.kT["x"] - 1) < 4 * found.error["x"]), bool(found.error["x"] < 0.02)
        (True, True)

    Reference:
        Tolman, Phys. Rev. 11, 261 (1918), doi:10.1103/PhysRev.11.261.
    """
    if jax.tree.structure(draws) != jax.tree.structure(slopes):
        raise ValueError("slopes: expected a tree like draws, got another structure. Record both in one run.")

    def product(z: PyTree, slope: PyTree) -> np.ndarray:
        z, slope = real(z), real(slope)
        if z.ndim < 2 or z.shape != slope.shape:
            raise ValueError(
                f"draws, slopes: expected equal shapes [draws, chains, ...], got {list(z.shape)} and "
                f"{list(slope.shape)}. Record both in one run."
            )
        work = (z - np.mean(z, axis=(0, 1))) * slope
        return np.mean(work.reshape(*work.shape[:2], -1), axis=2)

    work = jax.tree.map(product, draws, slopes)
    return Equipartition(kT=jax.tree.map(np.mean, work), error=monte_carlo_error(work))


def temperature_band(kT: float, count: float, level: float = 0.99) -> Float[np.ndarray, "2"]:
    r"""Return the interval of temperatures measured by a right sampler: $kT\,\chi^2_n/n$.

    It is exact for momenta and for positions in a harmonic well around a known center.

    Args:
        kT: temperature in units of energy, positive.
        count: independent squares n: elements times effective draws of their squares, see
            `td.effective_sample_size(draws, "sd")`.
        level: probability of the interval, between 0 and 1.

    Returns:
        The lower and the upper end.

    Raises:
        ValueError: a number is out of range.

    Example:
        >>> import treedyn as td
        >>> print(td.diagnostics.temperature_band(1.0, 3000).round(3))
        [0.935 1.068]
    """
    from scipy import special

    kT, count = check.number("kT", kT, positive=True), check.number("count", count, positive=True)
    level = check.number("level", level, positive=True)
    if level >= 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    return kT * special.gammaincinv(count / 2, tails) * 2 / count
