"""Checks of the arguments of sums over pairs: position, cutoff and neighbor list.

Numbers that are known are checked at once. For traced numbers a check returns a boolean, which turns the sum into NaN.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn.particles.space import _space as spaces
from treedyn.particles.sums._kernel import PartnerList, Partners
from treedyn.space import Space
from treedyn.tree import PyTree

# from here on, a list is many times as fast as all pairs
_MANY = 2_000
_POINTS = "one point per particle, float[N, d] (use jax.vmap for several systems)"


def check_position(position: Any) -> jax.Array:
    """Return the position as an array; refuse anything but one floating-point vector per particle."""
    points = check.array("position", position, _POINTS, (2,), finite=False)
    position = jnp.asarray(points)
    if not jnp.issubdtype(position.dtype, jnp.floating):
        raise ValueError(f"position: expected {_POINTS}, got {position.dtype}{list(position.shape)}.")
    return position


def check_range(space: Space, cutoff: jax.Array | float, dimension: int) -> jax.Array:
    """Return whether the minimum image covers all pairs within the cutoff; refuse a known cutoff that it does not."""
    known = tree.known(cutoff)
    repeats = isinstance(space, spaces.ParticleSpace) and any(space.periodic_axes(dimension))
    if repeats and known is not None and np.isinf(known):
        raise ValueError(
            "cutoff: the space repeats, and without a cutoff every pair would interact with all images. Truncate the "
            "potential, e.g. tp.shifted(u, cutoff=...), pass a cutoff, or use tp.free()."
        )
    return spaces.check_cutoff(space, cutoff, dimension)


def find_list(env: PyTree, name: str = "env") -> PartnerList | None:
    """Return the one neighbor list in `env`, the argument `name`; `None` if `env` is `None`."""
    if env is None:
        return None
    found = [x for x in jax.tree.leaves(env, is_leaf=_is_list) if _is_list(x)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{name}: expected one neighbor list, got {len(found)}. Pass only the one to use.")
    raise ValueError(
        f"{name}: expected a neighbor list, got none. Pass tp.neighbor_list(space, cutoff).allocate(position), or None "
        "for all pairs."
    )


def listed_partners(
    neighbors: PartnerList | None, space: Space, cutoff: jax.Array | float, position: jax.Array
) -> tuple[Partners | None, list[jax.Array]]:
    """Return what a sum up to `cutoff` reads of a list, and whether cutoff and list are good for this space."""
    count, dimension = position.shape
    good = [check_range(space, cutoff, dimension)]
    if neighbors is None:
        reach = tree.known(cutoff)
        if count > _MANY and (reach is None or np.isfinite(reach)):
            check.warn(
                f"env: expected a neighbor list for {count} particles, got none, so all pairs are computed every time. "
                "Pass tp.neighbor_list(space, cutoff).allocate(position)."
            )
        return None, good
    good.append(_check_list(neighbors, cutoff, count))
    serves = getattr(neighbors, "serves", None)
    if serves is not None:
        good.append(serves(position, space))
    filled = getattr(neighbors, "filled", None)
    partners = Partners(order=neighbors.order, rank=neighbors.rank, partners=neighbors.partners, filled=filled)
    return partners, good


def _is_list(x: Any) -> bool:
    return isinstance(x, PartnerList)


def _check_list(neighbors: PartnerList, cutoff: jax.Array | float, count: int) -> jax.Array:
    if neighbors.rank.shape != (count,):
        raise ValueError(
            f"env: the neighbor list was made for {neighbors.rank.shape[0]} particles, the position has {count}. "
            "Allocate a new list."
        )
    # the cutoff may have been rounded to the dtype of the list on one of the two sides
    slack = 1 + max(1e-6, float(jnp.finfo(jnp.result_type(neighbors.cutoff)).eps))
    reach, wanted = tree.known(neighbors.cutoff), tree.known(cutoff)
    if reach is None or wanted is None:
        kind = jnp.result_type(float)
        return jnp.asarray(cutoff).astype(kind) <= jnp.asarray(neighbors.cutoff).astype(kind) * slack
    # known numbers are checked inside jit, too
    if not wanted <= reach * slack:
        raise ValueError(
            f"cutoff: expected at most that of the neighbor list, {reach:.6g}, got {wanted:.6g}. Use "
            f"tp.neighbor_list(space, cutoff={wanted:.6g}) or a smaller cutoff."
        )
    return jnp.asarray(True)
