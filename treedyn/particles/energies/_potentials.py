"""Potentials of one pair: structs whose numbers are leaves, called with one distance.

They have no cutoff, except for potentials of finite range; `tp.cut` and similar wrappers truncate them. A user's
function `u(r)` works equally well. Every number may be `tp.by_species(...)` or `tp.by_particle(...)`.
"""

import jax
import jax.numpy as jnp

from treedyn._struct import Struct
from treedyn.particles.energies._parameters import Number, parameter
from treedyn.particles.sums._reciprocal import reciprocal
from treedyn.tree import Static


class LennardJones(Struct):
    """The Lennard-Jones potential.

    Attributes:
        epsilon: depth of the well.
        sigma: distance at which the energy is 0.
    """

    epsilon: Number
    sigma: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        square = (self.sigma * reciprocal(r)) ** 2
        sixth = square * square * square
        return 4 * self.epsilon * (sixth * sixth - sixth)


class SoftSphere(Struct):
    """The soft-sphere potential, a finite repulsion of overlapping spheres.

    Attributes:
        epsilon: energy scale.
        sigma: distance at which the spheres touch; it is the cutoff.
        alpha: exponent; a Python integer is static, because it makes a cheaper power.
    """

    epsilon: Number
    sigma: Number
    alpha: Number

    @property
    def cutoff(self) -> Number:
        """Return the distance at which the spheres touch."""
        return self.sigma

    def __call__(self, r: jax.Array) -> jax.Array:
        alpha = self.alpha.value if isinstance(self.alpha, Static) else self.alpha
        apart = r >= self.sigma
        # a fractional power of a negative number is NaN and would enter gradients through the branch not taken
        overlap = jnp.where(apart, 1, 1 - r / self.sigma)
        return jnp.where(apart, 0, self.epsilon / alpha * overlap**alpha)


class Morse(Struct):
    """The Morse potential.

    Attributes:
        epsilon: depth of the well.
        alpha: inverse width of the well.
        sigma: distance at the bottom of the well.
    """

    epsilon: Number
    alpha: Number
    sigma: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        decay = jnp.exp(-self.alpha * (r - self.sigma))
        return self.epsilon * decay * (decay - 2)


class Harmonic(Struct):
    """The potential of a harmonic spring.

    Attributes:
        stiffness: energy per squared length.
        length: distance at rest.
    """

    stiffness: Number
    length: Number

    def __call__(self, r: jax.Array) -> jax.Array:
        return self.stiffness / 2 * (r - self.length) ** 2


def lennard_jones(epsilon: Number = 1.0, sigma: Number = 1.0) -> LennardJones:
    r"""Make the Lennard-Jones potential, $4 \epsilon [(\sigma/r)^{12} - (\sigma/r)^6]$.

    Args:
        epsilon: depth of the well, $\epsilon$; energy.
        sigma: distance at which the energy is 0, $\sigma$; length. Both are a number, `tp.by_species(...)` or
            `tp.by_particle(...)`.

    Example:
        >>> from treedyn import particles as tp
        >>> print(f"{tp.lennard_jones()(2 ** (1 / 6)):.4f}")
        -1.0000

    Reference:
        J. E. Lennard-Jones, Proc. Phys. Soc. 43, 461 (1931), doi:10.1088/0959-5309/43/5/301
    """
    return LennardJones(epsilon=parameter("epsilon", epsilon), sigma=parameter("sigma", sigma))


def soft_sphere(epsilon: Number = 1.0, sigma: Number = 1.0, alpha: Number = 2) -> SoftSphere:
    r"""Make the soft-sphere potential, $\frac{\epsilon}{\alpha} (1 - r/\sigma)^\alpha$ for $r < \sigma$, else 0.

    Args:
        epsilon: energy scale, $\epsilon$.
        sigma: distance at which two spheres touch, $\sigma$; length, positive. It is the cutoff.
        alpha: exponent, $\alpha$; 2 for harmonic, 2.5 for Hertzian spheres. A Python integer makes a cheaper power; a
            float is a leaf.

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


def morse(epsilon: Number = 1.0, alpha: Number = 5.0, sigma: Number = 1.0) -> Morse:
    r"""Make the Morse potential, $\epsilon [e^{-2 \alpha (r - \sigma)} - 2 e^{-\alpha (r - \sigma)}]$.

    Args:
        epsilon: depth of the well, $\epsilon$; energy.
        alpha: inverse width of the well, $\alpha$; 1/length.
        sigma: distance at the bottom of the well, $\sigma$; length.

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


def harmonic(stiffness: Number = 1.0, length: Number = 1.0) -> Harmonic:
    r"""Make the potential of a harmonic spring, $\frac{k}{2} (r - l)^2$.

    Args:
        stiffness: $k$; energy/length².
        length: distance at rest, $l$; length. In `tp.bond_energy` both may be arrays with one number per bond.

    Example:
        >>> from treedyn import particles as tp
        >>> tp.harmonic(stiffness=2.0, length=1.0)(1.5)
        0.25
    """
    return Harmonic(stiffness=parameter("stiffness", stiffness), length=parameter("length", length))
