"""The energy of all pairs: a potential `u(r)` of one distance, mapped over a neighbor list or over all pairs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function, static
from treedyn.particles.energies._parameters import parameters, potential
from treedyn.particles.energies._truncation import cut, cutoff_of
from treedyn.particles.neighbors._list import NeighborList
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._kernel import PartnerList, Partners
from treedyn.particles.sums._passes import Field, metric, pair_sum
from treedyn.space import Space, as_space
from treedyn.tree import PyTree

_POINTS = "one point per particle, float[N, d] (jax.vmap is for several systems at once)"


class PairEnergy(Struct):
    r"""Evaluate the energy of all pairs, $E = \sum_{i<j} u(r_{ij})$.

    Attributes:
        u: the potential of one pair; its numbers are leaves.
        space: how distances are measured; its box is a leaf.
        precision: the name of the dtype to compute pairs in; `None` for that of the position.
    """

    u: Callable[[Any], Any] = function()
    space: Space
    precision: str | None = static(default=None)

    def __call__(self, position: jax.Array, env: PyTree = None, *, strain: jax.Array | None = None) -> jax.Array:
        r"""Return the energy.

        Args:
            position: `[N, d]`.
            env: `None` for all pairs, a neighbor list, or any tree with one neighbor list in it.
            strain: `[d, d]`; every displacement r becomes $(1 + \epsilon) r$. For derivatives: stress is the first,
                elastic constants are the second, at zero strain.

        Returns:
            A scalar in the dtype of the position. It is NaN where a cutoff turns out, in compiled code, to be beyond
            half the box or beyond the list: never a wrong number.

        Raises:
            ValueError: shapes do not fit, or a cutoff is known to be beyond half the box or beyond the list.
        """
        position = check_position(position)
        count, dimension = position.shape
        neighbors = find_list(env)
        cutoff = cutoff_of(self.u)
        good = [check_range(self.space, cutoff, dimension), _check_list(neighbors, cutoff, count)]
        if isinstance(neighbors, NeighborList):
            good.append(neighbors.serves(position, self.space))
        good += [_check_parameter(parameter, count) for parameter in parameters(self.u)]
        total = None if self.precision is None else position.dtype.name
        position = position if self.precision is None else position.astype(self.precision)
        strained = metric(check_strain(strain, position))
        field = Field(u=numbers_like(self.u, position), space=self.space, metric=strained, total=total)
        partners = None
        if neighbors is not None:
            partners = Partners(
                order=neighbors.order,
                rank=neighbors.rank,
                partners=neighbors.partners,
                filled=getattr(neighbors, "filled", None),
            )
        return _guarded_sum(position, field, partners, good)


# Compiled together: called outside of a compiled function, every small operation would be compiled on its own.
@jax.jit
def _guarded_sum(position: jax.Array, field: Field, partners: Partners | None, good: list[jax.Array]) -> jax.Array:
    # A factor, not a choice: it turns the forces into NaN as well.
    guard = jnp.where(jnp.all(jnp.array(good)), 1, jnp.nan)
    energy = pair_sum(position, field, partners)
    return energy * guard.astype(energy.dtype)


def pair_energy(u: Callable[[Any], Any], space: Any, *, cutoff: Any = None, precision: Any = None) -> PairEnergy:
    r"""Make the energy of all pairs from the potential of one, $E = \sum_{i<j} u(r_{ij})$.

    Args:
        u: the potential of one pair: any function of one distance, or a potential of the library, its numbers leaves.
            Forces are derived from it by autodiff.
        space: the space of the particles, or a pair of functions `(displacement, shift)`.
        cutoff: distance at which to cut `u` off, as `tp.cut(u, cutoff)` does; leave it out where `u` is truncated.
        precision: the dtype to compute pairs in, `jnp.float32` for positions in float64: positions, forces and the sum
            of the energy keep the dtype of the position, and take hardly longer than all in float32.

    Returns:
        `energy(position, env=None, *, strain=None)`, a scalar. `env` is `None` for all pairs, a neighbor list, or any
        tree with one neighbor list in it. Differentiable to any order with respect to everything.

    Raises:
        ValueError: `u` is no function, or `space` is not one space.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> energy = tp.pair_energy(tp.shifted(tp.lennard_jones(), cutoff=2.5), tp.periodic(8.0))
        >>> position = jnp.array([[0.5, 0.0, 0.0], [7.5, 0.0, 0.0]])
        >>> print(f"{energy(position):.4f} {jax.grad(energy)(position)[0, 0]:.4f}")
        0.0163 -24.0000
    """
    if precision is not None:
        # by name: NumPy takes None and float64 for equal, and compiled code would be mixed up
        precision = _precision(precision)
    u = potential(u) if cutoff is None else cut(u, cutoff)
    return PairEnergy(u=u, space=check_space(space), precision=precision)


def _precision(kind: Any) -> str:
    try:
        name = jnp.dtype(kind).name
    except (TypeError, ValueError):
        name = ""
    if not name or not jnp.issubdtype(name, jnp.floating):
        raise ValueError(f"precision: expected a floating-point dtype such as jnp.float32, got {kind!r}")
    return name


def find_list(env: PyTree) -> PartnerList | None:
    """Return the one neighbor list in `env`; `None` where `env` is.

    Raises:
        ValueError: there is no list in it, or more than one.
    """
    if env is None:
        return None
    found = [x for x in jax.tree.leaves(env, is_leaf=_is_list) if _is_list(x)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"env: holds {len(found)} neighbor lists; pass the one you mean, energy(position, env[...])")
    raise ValueError(
        "env: holds no neighbor list; pass one from tp.neighbor_list(space, cutoff).allocate(position), or None for "
        "all pairs"
    )


def check_space(space: Any) -> Space:
    """Return the one space that an energy lives in."""
    space = as_space(space)
    if not isinstance(space, Space):
        raise ValueError(
            "space: an energy of particles lives in one space, got a tree of them; make one energy for every group of "
            "particles and add them"
        )
    return space


def check_position(position: Any) -> jax.Array:
    """Return the position; an error where it is not one point per particle."""
    points = check.array("position", position, _POINTS, (2,), finite=False)
    position = jnp.asarray(points)
    if not jnp.issubdtype(position.dtype, jnp.floating):
        raise ValueError(f"position: expected {_POINTS}, got {position.dtype}{list(position.shape)}")
    return position


def check_strain(strain: Any, position: jax.Array) -> jax.Array | None:
    """Return the strain in the dtype of the position; an error where it is not `[d, d]`."""
    if strain is None:
        return None
    shape = (position.shape[-1],) * 2
    strain = check.array("strain", strain, f"a matrix of shape {shape}", (2,), finite=False)
    if jnp.shape(strain) != shape:
        raise ValueError(f"strain: expected a matrix of shape {shape}, got shape {jnp.shape(strain)}")
    return tree.cast(strain, position)


def check_range(space: Space, cutoff: Any, dimension: int) -> jax.Array:
    """Tell whether minimum image sees all pairs within the cutoff; an error where it is known not to."""
    known = tree.known(cutoff)
    repeats = isinstance(space, spaces.ParticleSpace) and any(space.periodic_axes(dimension))
    if repeats and known is not None and np.isinf(known):
        raise ValueError(
            "cutoff: the space repeats, so a pair without a cutoff would meet all its images; truncate the potential, "
            "e.g. tp.shifted(u, cutoff=...), or use tp.free()"
        )
    return spaces.check_cutoff(space, cutoff, dimension)


def numbers_like(u: Any, position: jax.Array) -> PyTree:
    """Return the potential, boxed, with its numbers in the dtype of the position."""
    return jax.tree.map(lambda x: tree.cast(x, position) if tree.is_moving(x) else x, tree.box(u))


def _is_list(x: Any) -> bool:
    return isinstance(x, PartnerList)


def _check_list(neighbors: PartnerList | None, cutoff: Any, count: int) -> jax.Array:
    if neighbors is None:
        return jnp.asarray(True)
    if neighbors.rank.shape != (count,):
        raise ValueError(
            f"env: the neighbor list was made for {neighbors.rank.shape[0]} particles, the position has "
            f"{count}; allocate it anew"
        )
    # The same number may have been rounded to the dtype of the list on one of the two ways here.
    slack = 1 + max(1e-6, float(jnp.finfo(jnp.result_type(neighbors.cutoff)).eps))
    reach, wanted = tree.known(neighbors.cutoff), tree.known(cutoff)
    if reach is None or wanted is None:
        kind = jnp.result_type(float)
        return jnp.asarray(cutoff).astype(kind) <= jnp.asarray(neighbors.cutoff).astype(kind) * slack
    # inside jit, too, numbers that are known now are checked now
    if not wanted <= reach * slack:
        raise ValueError(
            f"cutoff: the potential reaches to {wanted:.6g}, the neighbor list to {reach:.6g}; use "
            f"tp.neighbor_list(space, cutoff={wanted:.6g}) or truncate the potential sooner"
        )
    return jnp.asarray(True)


def _check_parameter(parameter: Any, count: int) -> jax.Array:
    entries = parameter.of_particles().shape
    if entries != (count,):
        raise ValueError(f"u: a parameter was given for {entries[0]} particles, the position has {count}")
    return parameter.good()
