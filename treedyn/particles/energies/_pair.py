"""The energy of all pairs: a potential `u(r)` of one distance, summed over a neighbor list or over all pairs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import function, static
from treedyn.particles.energies._energy import Energy, Points, Strain
from treedyn.particles.energies._parameters import Number, Parameter, parameters, potential
from treedyn.particles.energies._truncation import cut, cutoff_of
from treedyn.particles.space._space import SpaceLike, check_space
from treedyn.particles.sums._arguments import check_position, find_list, listed_partners
from treedyn.particles.sums._kernel import Partners
from treedyn.particles.sums._passes import Field, metric, pair_sum
from treedyn.space import Space
from treedyn.tree import PyTree


class PairEnergy(Energy):
    r"""The energy of all pairs, $E = \sum_{i<j} u(r_{ij})$.

    Attributes:
        u: the potential of one pair; its numbers are leaves.
        space: the space in which distances are measured; its box is a leaf.
        precision: name of the dtype in which pairs are computed; `None` for that of the position.
    """

    u: Callable[[Any], Any] = function()
    space: Space
    precision: str | None = static(default=None)

    def __call__(
        self,
        position: Points,
        env: PyTree = None,
        *,
        strain: Strain | None = None,
    ) -> Float[Array, ""]:
        r"""Return the energy.

        Args:
            position: one point per particle; length.
            env: `None` for all pairs, a neighbor list, or any tree with one neighbor list in it.
            strain: every displacement r becomes $(1 + \epsilon) r$. The first derivative at zero strain is the stress
                times the volume, the second gives the elastic constants.

        Returns:
            A scalar in the dtype of the position. It is NaN if the list is no longer valid at this position (ask
            `env.valid(position)`), or if a traced cutoff turns out to be beyond half the box or beyond the list.

        Raises:
            ValueError: shapes do not fit, or a cutoff is known to be beyond half the box or beyond the list.
        """
        position = check_position(position)
        partners, good = listed_partners(find_list(env), self.space, cutoff_of(self.u), position)
        good += [_check_parameter(parameter, len(position)) for parameter in parameters(self.u)]
        total = None if self.precision is None else position.dtype.name
        position = position if self.precision is None else position.astype(self.precision)
        strained = metric(check_strain(strain, position))
        field = Field(u=numbers_like(self.u, position), space=self.space, metric=strained, total=total)
        return _guarded_sum(position, field, partners, good)


# Compiled together: outside of jit, every small operation would be compiled on its own.
@jax.jit
def _guarded_sum(position: jax.Array, field: Field, partners: Partners | None, good: list[jax.Array]) -> jax.Array:
    # a factor, so that forces are NaN as well
    guard = jnp.where(jnp.all(jnp.array(good)), 1, jnp.nan)
    energy = pair_sum(position, field, partners)
    return energy * guard.astype(energy.dtype)


def pair_energy(
    u: Callable[[Any], Any], space: SpaceLike, *, cutoff: Number | None = None, precision: DTypeLike | None = None
) -> PairEnergy:
    r"""Make the energy of all pairs from the potential of one pair, $E = \sum_{i<j} u(r_{ij})$.

    Args:
        u: the potential of one pair: any function of one distance, or a potential of the library, whose numbers are
            leaves. Forces are computed by autodiff.
        space: the space of the particles, or a pair of functions `(displacement, shift)`.
        cutoff: distance at which `u` is cut off, as by `tp.cut(u, cutoff)`; not needed for a truncated `u`.
        precision: dtype in which pairs are computed, e.g. `jnp.float32` for positions in float64. Positions, forces and
            the sum of the energies keep the dtype of the position. This is nearly as fast as float32 for everything.
            The two forces of a pair cancel to the rounding of this dtype, and so does the total momentum.

    Returns:
        `energy(position, env=None, *, strain=None)`, a scalar. `env` is `None` for all pairs, a neighbor list, or any
        tree with one neighbor list in it. It can be differentiated to any order with respect to everything.

    Raises:
        ValueError: `u` is not a function, `space` is not one space, or `precision` is not a floating-point dtype.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> energy = tp.pair_energy(tp.shifted(tp.lennard_jones(), cutoff=2.5), tp.periodic(8.0))
        >>> position = jnp.array([[0.5, 0.0, 0.0], [7.5, 0.0, 0.0]])
        >>> print(f"{energy(position):.4f} {jax.grad(energy)(position)[0, 0]:.4f}")
        0.0163 -24.0000
    """
    u = potential(u) if cutoff is None else cut(u, cutoff)
    # by name, because NumPy considers None and float64 equal, which would mix up compiled code
    name = None if precision is None else _precision(precision)
    return PairEnergy(u=u, space=check_space(space), precision=name)


def _precision(kind: DTypeLike) -> str:
    try:
        name = jnp.dtype(kind).name
    except (TypeError, ValueError):
        name = ""
    if not name or not jnp.issubdtype(name, jnp.floating):
        raise ValueError(f"precision: expected a floating-point dtype such as jnp.float32, got {kind!r}.")
    return name


def check_strain(strain: ArrayLike | None, position: jax.Array) -> jax.Array | None:
    """Return the strain in the dtype of the position; refuse anything but `[d, d]`."""
    if strain is None:
        return None
    shape = (position.shape[-1],) * 2
    matrix = check.array("strain", strain, f"a matrix of shape {shape}", (2,), finite=False)
    if jnp.shape(matrix) != shape:
        raise ValueError(f"strain: expected a matrix of shape {shape}, got shape {jnp.shape(matrix)}.")
    return tree.cast(matrix, position)


def numbers_like(u: Callable[[Any], Any], position: jax.Array) -> PyTree:
    """Return the potential, boxed, with its numbers in the dtype of the position."""
    return jax.tree.map(lambda x: tree.cast(x, position) if tree.is_moving(x) else x, tree.box(u))


def _check_parameter(parameter: Parameter, count: int) -> jax.Array:
    entries = parameter.of_particles().shape
    if entries != (count,):
        raise ValueError(f"u: expected a parameter of {count} particles, the number in the position, got {entries[0]}.")
    return parameter.good()
