"""Potentials of one pair: each a struct whose numbers are leaves, called with one distance.

They have no cutoff of their own, unless they end by themselves; `tp.cut` and its like truncate them. A function `u(r)`
of your own serves just as well.
"""

from typing import Any

import jax
import jax.numpy as jnp

from treedyn._struct import Struct
from treedyn.particles.energies._parameters import Number, parameter
from treedyn.particles.sums._reciprocal import reciprocal
from treedyn.tree import Static


class LennardJones(Struct):
    """Attract at a distance and repel up close.

    Attributes:
        epsilon: depth of the well.
        sigma: distance at which the energy is 0.
    """

    epsilon: Number
    sigma: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return the energy at one distance."""
        square = (self.sigma * reciprocal(r)) ** 2
        sixth = square * square * square
        return 4 * self.epsilon * (sixth * sixth - sixth)


class SoftSphere(Struct):
    """Repel with a finite force where two spheres overlap.

    Attributes:
        epsilon: energy scale.
        sigma: distance at which the spheres touch; it is the cutoff.
        alpha: exponent; a Python integer is kept as part of the structure, for it makes a cheaper power.
    """

    epsilon: Number
    sigma: Number
    alpha: Number

    @property
    def cutoff(self) -> Number:
        """Return the distance at which the spheres touch."""
        return self.sigma

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return the energy at one distance."""
        alpha = self.alpha.value if isinstance(self.alpha, Static) else self.alpha
        apart = r >= self.sigma
        # A fractional power of a negative number is NaN, and would reach gradients through the branch not taken.
        overlap = jnp.where(apart, 1, 1 - r / self.sigma)
        return jnp.where(apart, 0, self.epsilon / alpha * overlap**alpha)


class Morse(Struct):
    """Bind with a well of finite depth and width.

    Attributes:
        epsilon: depth of the well.
        alpha: inverse width of the well.
        sigma: distance at the bottom of the well.
    """

    epsilon: Number
    alpha: Number
    sigma: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return the energy at one distance."""
        decay = jnp.exp(-self.alpha * (r - self.sigma))
        return self.epsilon * decay * (decay - 2)


class Harmonic(Struct):
    """Bind with a spring.

    Attributes:
        stiffness: energy per squared length.
        length: distance at rest.
    """

    stiffness: Number
    length: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        """Return the energy at one distance."""
        return self.stiffness / 2 * (r - self.length) ** 2


def lennard_jones(epsilon: Any = 1.0, sigma: Any = 1.0) -> LennardJones:
    r"""Make the Lennard-Jones potential, $4 \epsilon [(\sigma/r)^{12} - (\sigma/r)^6]$.

    Args:
        epsilon: depth of the well, $\epsilon$; energy.
        sigma: distance at which the energy is 0, $\sigma$; length. Both are a number, `tp.by_species(...)` or
            `tp.by_particle(...)`.

    Returns:
        A function of one distance.

    Example:
        >>> from treedyn import particles as tp
        >>> print(f"{tp.lennard_jones()(2 ** (1 / 6)):.4f}")
        -1.0000

    Reference:
        J. E. Lennard-Jones, Proc. Phys. Soc. 43, 461 (1931), doi:10.1088/0959-5309/43/5/301
    """
    return LennardJones(epsilon=parameter("epsilon", epsilon), sigma=parameter("sigma", sigma))


def soft_sphere(epsilon: Any = 1.0, sigma: Any = 1.0, alpha: Any = 2) -> SoftSphere:
    r"""Make the soft-sphere potential, $\frac{\epsilon}{\alpha} (1 - r/\sigma)^\alpha$ for $r < \sigma$, else 0.

    Args:
        epsilon: energy scale, $\epsilon$.
        sigma: distance at which two spheres touch, $\sigma$; length, positive. It is the cutoff.
        alpha: exponent, $\alpha$; 2 for harmonic, 2.5 for Hertzian spheres. A Python integer makes a cheaper power; a
            float is a leaf.

    Returns:
        A function of one distance, with a cutoff.

    Raises:
        ValueError: sigma or alpha is not positive.

    Example:
        >>> from treedyn import particles as tp
        >>> print(tp.soft_sphere()(0.5))
        0.125

    Reference:
        C. S. O'Hern et al., Phys. Rev. E 68, 011306 (2003), doi:10.1103/PhysRevE.68.011306
    """
    power = parameter("alpha", alpha, positive=True)
    return SoftSphere(
        epsilon=parameter("epsilon", epsilon),
        sigma=parameter("sigma", sigma, positive=True),
        alpha=Static(alpha) if isinstance(alpha, int) else power,
    )


def morse(epsilon: Any = 1.0, alpha: Any = 5.0, sigma: Any = 1.0) -> Morse:
    r"""Make the Morse potential, $\epsilon [e^{-2 \alpha (r - \sigma)} - 2 e^{-\alpha (r - \sigma)}]$.

    Args:
        epsilon: depth of the well, $\epsilon$; energy.
        alpha: inverse width of the well, $\alpha$; 1/length.
        sigma: distance at the bottom of the well, $\sigma$; length.

    Returns:
        A function of one distance. Its energy is $-\epsilon$ at $\sigma$ and 0 far away.

    Example:
        >>> from treedyn import particles as tp
        >>> print(tp.morse()(1.0))
        -1.0

    Reference:
        P. M. Morse, Phys. Rev. 34, 57 (1929), doi:10.1103/PhysRev.34.57
    """
    return Morse(
        epsilon=parameter("epsilon", epsilon), alpha=parameter("alpha", alpha), sigma=parameter("sigma", sigma)
    )


def harmonic(stiffness: Any = 1.0, length: Any = 1.0) -> Harmonic:
    r"""Make the potential of a spring, $\frac{k}{2} (r - l)^2$.

    Args:
        stiffness: $k$; energy/length².
        length: distance at rest, $l$; length. In `tp.bond_energy` both may be arrays, one number per bond.

    Returns:
        A function of one distance.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.harmonic(stiffness=2.0, length=1.0)(1.5)
        0.25
    """
    return Harmonic(stiffness=parameter("stiffness", stiffness), length=parameter("length", length))
