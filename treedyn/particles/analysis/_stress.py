r"""Stress and pressure of any energy that takes a strain, by autodiff.

Under a strain $\epsilon$ every displacement r becomes $(1 + \epsilon)\,r$. The virial tensor is
$W = -\partial U / \partial \epsilon$ at $\epsilon = 0$, and the pressure tensor

$$P = \frac{1}{V} \Big( \sum_i \frac{p_i \otimes p_i}{m_i} + W \Big).$$

Signs: the pressure $\mathrm{tr} P / d$ is positive under compression. The stress $\sigma = -P$ is positive under
tension, as in mechanics and in ASE.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Real

from treedyn import _check as check
from treedyn import _target as target
from treedyn import tree
from treedyn.particles.energies._energy import takes_strain
from treedyn.particles.space._space import SpaceLike, volume_of
from treedyn.particles.sums._arguments import check_position
from treedyn.tree import PyTree

Energy = Callable[..., jax.Array]
Vectors = Float[Array, "particles dimensions"]
Tensor = Float[Array, "dimensions dimensions"]
Mass = Real[ArrayLike, ""] | Real[ArrayLike, "particles"]


def virial(energy: Energy, position: Vectors, env: PyTree = None) -> Tensor:
    r"""Return the virial tensor $W = -\partial U / \partial \epsilon$, an energy.

    For pairs it is $-\sum_{i<j} u'(r_{ij})\, r_{ij} \otimes r_{ij} / |r_{ij}|$, with the trace $-\sum r\,u'(r)$.

    Args:
        energy: `energy(position, env, strain=...)` or `energy(position, strain=...)`, returns a scalar.
        position: one point per particle; length.
        env: passed on to the energy.

    Raises:
        ValueError: the energy takes no strain.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> energy = tp.pair_energy(lambda r: 1 / r, tp.free())
        >>> print(tp.virial(energy, jnp.array([[0.0, 0.0], [2.0, 0.0]]))[0, 0])
        0.5
    """
    position = check_position(position)
    check.instance("energy", energy, Callable, "a function of (position, env)")  # type: ignore[arg-type]
    if not takes_strain(energy):
        raise ValueError(
            "energy: must take the keyword strain= and use it for every displacement, as the energies of the library "
            "do. Sums of energies pass it on: energy = a + b."
        )
    target.observing("energy", functools.partial(energy, strain=None), "position")
    zero = jnp.zeros((position.shape[-1],) * 2, position.dtype)

    def strained(strain: jax.Array) -> jax.Array:
        value = target.call(functools.partial(energy, strain=strain), position, env)
        if jnp.shape(value):
            raise ValueError(f"energy: expected a function that returns one number, got one of {check.brief(value)}.")
        return value

    return -jax.grad(strained)(zero)


def stress(
    energy: Energy,
    position: Vectors,
    env: PyTree = None,
    *,
    space: SpaceLike | None = None,
    volume: Real[ArrayLike, ""] | None = None,
    momentum: Vectors | None = None,
    mass: Mass | None = None,
) -> Tensor:
    r"""Return the stress tensor $\sigma = -(\sum_i p_i \otimes p_i / m_i + W) / V$, positive under tension.

    Args:
        energy: `energy(position, env, strain=...)` or `energy(position, strain=...)`, returns a scalar.
        position: one point per particle; length.
        env: passed on to the energy.
        space: the box, for its volume.
        volume: the volume, if the space has none or is open along an axis.
        momentum: one vector per particle, for the kinetic part; without it the stress is configurational.
        mass: one number or one per particle; required with a momentum.

    Returns:
        The tensor; energy/volume.

    Raises:
        ValueError: not exactly one of space and volume is given, the space is open along an axis, the mass is missing,
            or the energy takes no strain.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.periodic(8.0)
        >>> energy = tp.pair_energy(tp.cut(tp.lennard_jones(), 2.5), space)
        >>> position = jnp.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
        >>> print(f"{tp.stress(energy, position, space=space)[0, 0]:.6f}")
        -0.046875
    """
    position = check_position(position)
    tensor = virial(energy, position, env)
    if momentum is not None:
        tensor = tensor + _kinetic(momentum, mass, position)
    return -tensor / _volume(space, volume, position)


def pressure(
    energy: Energy,
    position: Vectors,
    env: PyTree = None,
    *,
    space: SpaceLike | None = None,
    volume: Real[ArrayLike, ""] | None = None,
    momentum: Vectors | None = None,
    mass: Mass | None = None,
) -> Float[Array, ""]:
    r"""Return the pressure $P = -\mathrm{tr}\,\sigma / d$, positive under compression.

    Args:
        energy: `energy(position, env, strain=...)` or `energy(position, strain=...)`, returns a scalar.
        position: one point per particle; length.
        env: passed on to the energy.
        space: the box, for its volume.
        volume: the volume, if the space has none or is open along an axis.
        momentum: one vector per particle, for the kinetic part; without it the pressure is configurational.
        mass: one number or one per particle; required with a momentum.

    Returns:
        A scalar; energy/volume.

    Raises:
        ValueError: not exactly one of space and volume is given, the space is open along an axis, the mass is missing,
            or the energy takes no strain.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> gas = tp.pair_energy(lambda r: 0 * r, tp.free())
        >>> momentum = jnp.array([[2.0, 0.0], [0.0, 2.0]])
        >>> print(tp.pressure(gas, jnp.eye(2), volume=4.0, momentum=momentum, mass=2.0))
        0.5
    """
    tensor = stress(energy, position, env, space=space, volume=volume, momentum=momentum, mass=mass)
    return -jnp.trace(tensor) / tensor.shape[-1]


def _kinetic(momentum: Vectors, mass: Mass | None, position: jax.Array) -> jax.Array:
    wanted = f"one vector per particle, shape {position.shape}"
    momentum = jnp.asarray(check.array("momentum", momentum, wanted, (2,)))
    if mass is None:
        raise ValueError("mass: the kinetic part of a stress needs a mass. Pass mass=... with the momentum.")
    if momentum.shape != position.shape:
        raise ValueError(f"momentum: expected {wanted}, got {momentum.shape}.")
    masses = check.array("mass", mass, "one number or one per particle [N]", (0, 1), positive=True, finite=False)
    return momentum.T @ (momentum / tree.align(masses, momentum, "mass"))


def _volume(space: SpaceLike | None, volume: ArrayLike | None, position: jax.Array) -> jax.Array:
    if (space is None) == (volume is None):
        raise ValueError("space, volume: expected one of the two. Pass the box or its volume.")
    found = volume_of(space, volume, position.shape[-1])
    return tree.cast(check.number("volume", found, positive=True), position)
