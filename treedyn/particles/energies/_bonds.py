"""The energy of listed pairs: bonds."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Int

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import function
from treedyn.particles.energies._energy import Energy, Points, Strain
from treedyn.particles.energies._pair import check_strain, numbers_like
from treedyn.particles.energies._parameters import elementwise, evaluate, parameters, potential
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._arguments import check_position
from treedyn.particles.sums._passes import metric, stretch
from treedyn.space import Space
from treedyn.tree import PyTree


class BondEnergy(Energy):
    r"""The energy of listed pairs, $E = \sum_b u(r_b)$.

    Attributes:
        u: the potential of one bond; its numbers are leaves, scalars or one per bond.
        bonds: the two particles of every bond.
        space: the space in which distances are measured; its box is a leaf.
    """

    u: Callable[[Any], Any] = function()
    bonds: Int[Array, "bonds 2"]
    space: Space

    def __call__(
        self,
        position: Points,
        env: PyTree = None,
        *,
        strain: Strain | None = None,
    ) -> Float[Array, ""]:
        r"""Return the energy, a scalar in the dtype of the position.

        Args:
            position: one point per particle; length.
            env: ignored, so that all energies have the same arguments.
            strain: every displacement r becomes $(1 + \epsilon) r$.

        Raises:
            ValueError: a bond names a particle that does not exist, or shapes do not fit.
        """
        del env
        position = check_position(position)
        known = tree.known(self.bonds)
        if known is not None and known.size and known.max() >= position.shape[0]:
            raise ValueError(
                f"bonds: expected particles below {position.shape[0]}, the number in the position, got {known.max()}. "
                "Number particles from 0."
            )
        # a traced bond to a particle that does not exist gives NaN
        ends = position.at[self.bonds].get(mode="fill", fill_value=jnp.nan)
        a, b = (spaces.unstack(ends[:, k]) for k in range(2))
        delta = spaces.separation(self.space, a, b, far=True)
        distance = jnp.sqrt(spaces.dot(delta, stretch(metric(check_strain(strain, position)), delta)))
        return jnp.sum(_of_bonds(numbers_like(self.u, position), distance))


def bond_energy(
    u: Callable[[Any], Any], bonds: Int[ArrayLike, "bonds 2"] | Sequence[Sequence[int]], space: spaces.SpaceLike
) -> BondEnergy:
    r"""Make the energy of listed pairs from the potential of one bond, $E = \sum_b u(r_b)$.

    Args:
        u: the potential of one bond: any function of one distance, or a potential of the library. Its numbers may be
            arrays with one number per bond.
        bonds: the two particles of every bond, integers.
        space: the space of the particles, or a pair of functions `(displacement, shift)`. In a periodic space a bond
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
        raise ValueError("u: tp.by_species and tp.by_particle are for all pairs. Pass numbers of bonds as arrays [B].")
    wanted = "two particles per bond, integers [B, 2]"
    listed = np.asarray(check.array("bonds", bonds, wanted))
    if listed.size == 0:
        listed = np.zeros((0, 2), np.int32)
    if listed.ndim != 2 or listed.shape[1] != 2 or not np.issubdtype(listed.dtype, np.integer):
        raise ValueError(f"bonds: expected {wanted}, got {listed.dtype}{list(listed.shape)}.")
    if np.any(listed < 0):
        raise ValueError(f"bonds: particles must be numbered from 0, got {listed.min()}.")
    if np.any(own := listed[:, 0] == listed[:, 1]):
        first = np.argmax(own)
        raise ValueError(f"bonds: expected two different particles, got {listed[first, 0]} twice in bond {first}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree.moving(tree.box(u))):
        if leaf.shape not in ((), (len(listed),)):
            raise ValueError(
                f"u: expected one number or one per bond, shape {(len(listed),)}, for {jax.tree_util.keystr(path)}, "
                f"got shape {leaf.shape}."
            )
    return BondEnergy(u=u, bonds=jnp.asarray(listed, dtype=jnp.int32), space=spaces.check_space(space))


def _of_bonds(u: PyTree, distance: jax.Array) -> jax.Array:
    """Return the energy of every bond; an array in `u` has one number per bond."""
    leaves, structure = jax.tree.flatten(u)
    each = [k for k, leaf in enumerate(leaves) if jnp.ndim(leaf)]

    def one(distance: jax.Array, *numbers: jax.Array) -> jax.Array:
        new = dict(zip(each, numbers, strict=True))
        return evaluate(structure.unflatten([new.get(k, x) for k, x in enumerate(leaves)]), distance)

    return elementwise(one, distance, *(leaves[k] for k in each))
