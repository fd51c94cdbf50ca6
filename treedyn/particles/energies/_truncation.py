"""Truncations: wrappers of any potential `u(r)`, each a function of one distance with a `cutoff`.

| wrapper | energy at the cutoff | force at the cutoff |
|---|---|---|
| `cut` | jumps | jumps |
| `shifted` | continuous | jumps |
| `force_shifted` | continuous | continuous |
| `smooth` | continuous | continuous, unchanged up to `onset` |

Dynamics conserves energy well only if the force is continuous.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn.particles.energies._parameters import Number, Parameter, is_parameter, parameter, potential


class Truncated(Struct):
    """A truncated potential.

    Attributes:
        u: the potential.
        cutoff: the distance from which on the energy is 0; a leaf.
    """

    u: Callable[[Any], Any] = function()
    cutoff: Number

    @abstractmethod
    def inside(self, r: jax.Array) -> jax.Array:
        """Return the energy at a distance below the cutoff."""

    @final
    def __call__(self, r: jax.Array) -> jax.Array:
        """Return the energy at one distance: 0 from the cutoff on."""
        # with this comparison, a distance of NaN does not count as far
        far = r >= self.cutoff
        # u is not evaluated beyond the cutoff, where it may be undefined
        return jnp.where(far, 0, self.inside(jnp.where(far, self.cutoff, r)))


class Cut(Truncated):
    """A potential that is 0 beyond the cutoff and unchanged inside it."""

    def inside(self, r: jax.Array) -> jax.Array:
        """Return `u(r)`."""
        return self.u(r)


class Shifted(Truncated):
    """A potential whose energy is shifted to zero at the cutoff."""

    def inside(self, r: jax.Array) -> jax.Array:
        """Return `u(r) - u(cutoff)`."""
        return self.u(r) - self.u(jnp.asarray(self.cutoff))


class ForceShifted(Truncated):
    """A potential whose energy and force are shifted to zero at the cutoff."""

    def inside(self, r: jax.Array) -> jax.Array:
        """Return `u(r) - u(cutoff) - (r - cutoff) u'(cutoff)`."""
        cutoff = jnp.asarray(self.cutoff)
        energy, slope = jax.jvp(self.u, (cutoff,), (jnp.ones_like(cutoff),))
        return self.u(r) - energy - (r - cutoff) * slope


class Smooth(Truncated):
    """A potential that is switched off between onset and cutoff.

    Attributes:
        onset: the distance at which switching begins; a leaf.
    """

    onset: Number

    def inside(self, r: jax.Array) -> jax.Array:
        """Return `S(r) u(r)`."""
        x, on, off = r * r, self.onset * self.onset, self.cutoff * self.cutoff
        switch = (off - x) ** 2 * (off + 2 * x - 3 * on) / (off - on) ** 3
        return jnp.where(r < self.onset, 1, switch) * self.u(r)


def cut(u: Callable[[Any], Any], cutoff: Number) -> Cut:
    """Cut off a potential: `u(r)` below the cutoff, 0 from there on.

    The energy jumps at the cutoff, so dynamics does not conserve it exactly. Use it for thermodynamics, together with
    `tp.long_range_correction`.

    Args:
        u: function of one distance.
        cutoff: positive distance; a number or `tp.by_species(...)`.

    Raises:
        ValueError: `u` is not a function or the cutoff is not positive.

    Example:
        >>> from treedyn import particles as tp
        >>> u = tp.cut(tp.lennard_jones(), cutoff=2.5)
        >>> print(f"{u(2.49):.5f} {u(2.51):.5f}")
        -0.01671 0.00000
    """
    return Cut(u=potential(u), cutoff=parameter("cutoff", cutoff, positive=True, finite=False))


def shifted(u: Callable[[Any], Any], cutoff: Number) -> Shifted:
    r"""Shift a potential to zero at its cutoff: $u(r) - u(r_c)$.

    Args:
        u: function of one distance. If its numbers differ from pair to pair, so does the shift.
        cutoff: positive distance; a number or `tp.by_species(...)`.

    Raises:
        ValueError: `u` is not a function or the cutoff is not positive.

    Example:
        >>> from treedyn import particles as tp
        >>> wca = tp.shifted(tp.lennard_jones(), cutoff=2 ** (1 / 6))
        >>> print(f"{wca(1.0):.5f}")
        1.00000
    """
    return Shifted(u=potential(u), cutoff=parameter("cutoff", cutoff, positive=True, finite=False))


def force_shifted(u: Callable[[Any], Any], cutoff: Number) -> ForceShifted:
    r"""Shift a potential and its force to zero at the cutoff: $u(r) - u(r_c) - (r - r_c)\,u'(r_c)$.

    Args:
        u: function of one distance. If its numbers differ from pair to pair, so do the shifts.
        cutoff: positive distance; a number or `tp.by_species(...)`.

    Raises:
        ValueError: `u` is not a function or the cutoff is not positive.

    Example:
        >>> import jax
        >>> from treedyn import particles as tp
        >>> u = tp.force_shifted(tp.lennard_jones(), cutoff=2.5)
        >>> print(f"{u(2.4):.5f} {jax.grad(u)(2.4):.5f}")
        -0.00060 0.01278

    Reference:
        S. Toxvaerd and J. C. Dyre, J. Chem. Phys. 134, 081102 (2011), doi:10.1063/1.3558787
    """
    return ForceShifted(u=potential(u), cutoff=parameter("cutoff", cutoff, positive=True, finite=False))


def smooth(u: Callable[[Any], Any], onset: Number, cutoff: Number) -> Smooth:
    r"""Switch off a potential smoothly between onset and cutoff as in X-PLOR: $S(r)\,u(r)$.

    $$S(r) = \frac{(r_c^2 - r^2)^2 (r_c^2 + 2 r^2 - 3 r_\mathrm{on}^2)}{(r_c^2 - r_\mathrm{on}^2)^3}$$

    Args:
        u: function of one distance.
        onset: distance up to which `u` is unchanged, $r_\mathrm{on}$; zero or positive.
        cutoff: distance from which on the energy is 0, $r_c$.

    Raises:
        ValueError: `u` is not a function, or `0 <= onset < cutoff` does not hold.

    Example:
        >>> from treedyn import particles as tp
        >>> u = tp.smooth(tp.lennard_jones(), onset=2.0, cutoff=2.5)
        >>> print(f"{u(2.0):.5f} {u(2.25):.5f} {u(2.5):.5f}")
        -0.06152 -0.01657 0.00000

    Reference:
        HOOMD-blue, `hoomd.md.pair.Pair`, mode "xplor"
    """
    onset, cutoff = parameter("onset", onset), parameter("cutoff", cutoff, positive=True, finite=False)
    begin, end = _known(onset), _known(cutoff)
    if begin is not None and end is not None and not (np.min(begin) >= 0 and np.max(begin) < np.min(end)):
        raise ValueError(f"onset: must be at least 0 and below the cutoff, got onset {onset} and cutoff {cutoff}.")
    return Smooth(u=potential(u), onset=onset, cutoff=cutoff)


def cutoff_of(u: Callable[[Any], Any]) -> jax.Array | float:
    """Return the distance beyond which a potential is zero for every pair; infinity without a cutoff.

    Raises:
        ValueError: the cutoff is an array with one number per bond.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.cutoff_of(tp.cut(tp.lennard_jones(), cutoff=2.5)), tp.cutoff_of(lambda r: 1 / r)
        (2.5, inf)
    """
    cutoff = getattr(potential(u), "cutoff", float("inf"))
    if isinstance(cutoff, Parameter):
        return cutoff.maximum()
    if np.ndim(cutoff):
        raise ValueError(
            f"cutoff: expected one number for all pairs, got {check.brief(cutoff)}, which is one per bond. Use "
            "tp.by_species(...) or tp.by_particle(...) for pairs."
        )
    return cutoff


def _known(value: Number) -> np.ndarray | None:
    """Return the numbers of a pair parameter, or a plain number, if they are known."""
    if is_parameter(value):
        value = next(x for x in jax.tree.leaves(value) if jnp.issubdtype(x.dtype, jnp.floating))
    return tree.known(value)
