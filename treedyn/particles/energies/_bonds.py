"""The energy of listed pairs: bonds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn.particles.energies._pair import check_position, check_space, check_strain, numbers_like
from treedyn.particles.energies._parameters import elementwise, evaluate, parameters, potential
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._passes import metric, stretch
from treedyn.space import Space
from treedyn.tree import PyTree


class BondEnergy(Struct):
    r"""Evaluate the energy of listed pairs, $E = \sum_b u(r_b)$.

    Attributes:
        u: the potential of one bond; its numbers are leaves, scalars or one per bond.
        bonds: the two particles of every bond, `int[B, 2]`.
        space: how distances are measured; its box is a leaf.
    """

    u: Callable[[Any], Any] = function()
    bonds: jax.Array
    space: Space

    def __call__(self, position: jax.Array, env: PyTree = None, *, strain: jax.Array | None = None) -> jax.Array:
        r"""Return the energy.

        Args:
            position: `[N, d]`.
            env: ignored, so that all energies are called alike.
            strain: `[d, d]`; every displacement r becomes $(1 + \epsilon) r$.

        Returns:
            A scalar in the dtype of the position.

        Raises:
            ValueError: a bond names a particle that does not exist, or shapes do not fit.
        """
        del env
        position = check_position(position)
        known = tree.known(self.bonds)
        if known is not None and known.size and known.max() >= position.shape[0]:
            raise ValueError(
                f"bonds: particle {known.max()} does not exist; the position has {position.shape[0]}: use 0, 1, ..."
            )
        # bonds that were not known until now show up as NaN
        ends = position.at[self.bonds].get(mode="fill", fill_value=jnp.nan)
        a, b = (spaces.unstack(ends[:, k]) for k in range(2))
        delta = spaces.separation(self.space, a, b)
        stretched = stretch(metric(check_strain(strain, position)), delta)
        distance = jnp.sqrt(
            sum((x * y for x, y in zip(delta[1:], stretched[1:], strict=True)), delta[0] * stretched[0])
        )
        return jnp.sum(_of_bonds(numbers_like(self.u, position), distance))


def bond_energy(u: Callable[[Any], Any], bonds: Any, space: Any) -> BondEnergy:
    r"""Make the energy of listed pairs from the potential of one, $E = \sum_b u(r_b)$.

    Args:
        u: the potential of one bond: any function of one distance, or a potential of the library. Its numbers may be
            arrays `[B]`, one number per bond.
        bonds: the two particles of every bond, integers `[B, 2]`.
        space: the space of the particles, or a pair of functions `(displacement, shift)`. Where it repeats, a bond
            leads to the nearest image.

    Returns:
        `energy(position, env=None, *, strain=None)`, a scalar; `env` is ignored.

    Raises:
        ValueError: the bonds are not pairs of different particles, or a parameter does not fit them.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> spring = tp.harmonic(stiffness=jnp.array([2.0, 4.0]), length=1.0)
        >>> energy = tp.bond_energy(spring, [[0, 1], [1, 2]], tp.free())
        >>> print(energy(jnp.array([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]])))
        3.0
    """
    if parameters(potential(u)):
        raise ValueError("u: tp.by_species and tp.by_particle are for all pairs; give numbers of bonds as arrays [B]")
    listed = np.asarray(check.array("bonds", bonds, "two particles per bond, integers [B, 2]"))
    if listed.size == 0:
        listed = np.zeros((0, 2), np.int32)
    if listed.ndim != 2 or listed.shape[1] != 2 or not np.issubdtype(listed.dtype, np.integer):
        got = f"{listed.dtype}{list(listed.shape)}"
        raise ValueError(f"bonds: expected two particles per bond, integers [B, 2], got {got}")
    if np.any(listed < 0):
        raise ValueError(f"bonds: particles must be numbered from 0, got {listed.min()}")
    if np.any(own := listed[:, 0] == listed[:, 1]):
        raise ValueError(f"bonds: bond {np.argmax(own)} ties particle {listed[np.argmax(own), 0]} to itself; use two")
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree.moving(tree.box(u))):
        if leaf.shape not in ((), (len(listed),)):
            raise ValueError(
                f"u: {jax.tree_util.keystr(path)} has shape {leaf.shape}; expected one number, or one per "
                f"bond, shape {(len(listed),)}"
            )
    return BondEnergy(u=u, bonds=jnp.asarray(listed, dtype=jnp.int32), space=check_space(space))


def _of_bonds(u: PyTree, distance: jax.Array) -> jax.Array:
    """Return the energy of every bond; leaves of `u` with an axis belong to one bond each."""
    leaves, structure = jax.tree.flatten(u)
    each = [k for k, leaf in enumerate(leaves) if jnp.ndim(leaf)]

    def one(distance: jax.Array, *numbers: jax.Array) -> jax.Array:
        new = dict(zip(each, numbers, strict=True))
        return evaluate(structure.unflatten([new.get(k, x) for k, x in enumerate(leaves)]), distance)

    return elementwise(one, distance, *(leaves[k] for k in each))
