"""C: the center of mass is held."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn import metric, tree
from treedyn import space as space_of
from treedyn._state import State
from treedyn.operators._operator import Operator
from treedyn.space import Space, as_space
from treedyn.tree import PyTree


class RemoveDrift(Operator):
    """The projection on momenta without center-of-mass motion, for all leaves in translation-invariant spaces.

    Leaves whose points have the same number of coordinates share one center of mass. Every direction of its motion is
    one degree of freedom. A leaf loses a fraction of it equal to its fraction of the total mass, which is exactly the
    average loss of its kinetic energy.
    """

    name: ClassVar[str] = "remove_drift"
    space: PyTree

    def _dimensions(self, part: PyTree) -> list[int]:
        """Return the number of coordinates of a point for every leaf whose drift is removed, else 0."""

        def dimension(space: Space, leaf: jax.Array) -> int:
            return leaf.shape[-1] if space.translation_invariant and leaf.ndim else 0

        found = jax.tree.leaves(tree.prefix_map(dimension, self.space, part, name="space", is_leaf=space_of.is_space))
        if not any(found):
            raise ValueError(
                "remove_drift: no leaf of the position lives in a translation-invariant space, so there is no center "
                "of mass to hold. Pass space=, such as tp.periodic(box), or leave remove_drift out."
            )
        return found

    def _groups(self, state: State) -> list[tuple[list[int], list[jax.Array], jax.Array]]:
        """Return (leaves, mass of every element, total mass) for every common center of mass."""
        part = state.moving
        dimensions = self._dimensions(part)
        leaves, masses = jax.tree.leaves(part), jax.tree.leaves(metric.masses(state.metric, "remove_drift"))
        kind = tree.dtype(part)
        groups = []
        for d in sorted(set(dimensions) - {0}):
            members = [i for i, dimension in enumerate(dimensions) if dimension == d]
            full = [jnp.broadcast_to(masses[i], leaves[i].shape) for i in members]
            total = sum((jnp.sum(m.reshape(-1, d), axis=0).astype(kind) for m in full), start=jnp.zeros(d, kind))
            groups.append((members, full, total))
        return groups

    def constrain(self, state: State) -> State:
        """Return the state with momenta p_i - m_i sum(p) / sum(m)."""
        leaves, structure = jax.tree.flatten(state.momentum)
        kind = tree.dtype(state.momentum)
        for members, full, total in self._groups(state):
            d = total.shape[0]
            zero = jnp.zeros(d, kind)
            flow = sum((jnp.sum(leaves[i].reshape(-1, d), axis=0).astype(kind) for i in members), start=zero)
            for i, m in zip(members, full, strict=True):
                velocity = jnp.expand_dims((flow / total).astype(m.dtype), tuple(range(m.ndim - 1)))
                leaves[i] = leaves[i] - m * velocity
        return state.replace(momentum=jax.tree.unflatten(structure, leaves))

    def count(self, state: State) -> PyTree:
        """Return the degrees of freedom minus one for every direction, shared among the leaves by mass."""
        counts, structure = jax.tree.flatten(state.dof)
        for members, full, total in self._groups(state):
            if (known := tree.known(total)) is not None and not np.all(np.isfinite(known)):
                raise ValueError(
                    "remove_drift: a leaf of infinite mass fixes the center of mass already, and the total momentum of "
                    "the other leaves is not conserved. Leave remove_drift out."
                )
            d = total.shape[0]
            for i, m in zip(members, full, strict=True):
                share = jnp.sum(jnp.sum(m.reshape(-1, d), axis=0).astype(total.dtype) / total)
                counts[i] = counts[i] - share.astype(counts[i].dtype)
        return jax.tree.unflatten(structure, counts)

    def apply(self, state: State, h: PyTree, noise: PyTree, memory: PyTree) -> tuple[State, PyTree]:
        return self.constrain(state), memory


def remove_drift(space: PyTree) -> RemoveDrift:
    """Build the operator C, which holds the center of mass and reduces the degrees of freedom accordingly.

    Args:
        space: a space, or a prefix tree of spaces.
    """
    return RemoveDrift(space=as_space(space))


def hold_center(
    wanted: bool, space: PyTree, *, kT: PyTree = 1.0, gamma: PyTree = 1.0, dt: PyTree = 1.0, groups: PyTree = None
) -> tuple[RemoveDrift, ...]:
    """Return operators to append to a sequence: `(remove_drift(space),)` if `wanted`, else an empty tuple.

    `kT`, `gamma`, `dt` and `groups` are those of the sequence.

    Raises:
        ValueError: leaves or particles have different thermostats, so holding their common center of mass would bias
            the momenta.
    """
    if not check.flag("remove_drift", wanted):
        return ()
    for name, value in (("kT", kT), ("gamma", gamma), ("dt", dt)):
        if not jax.tree_util.all_leaves([value]) or (not callable(value) and jnp.ndim(value)):
            raise ValueError(
                f"remove_drift: the common center of mass can be held without bias only if all leaves share one "
                f"{name}, got {name}={value!r}. Leave remove_drift out, or pass one {name}."
            )
    if groups is not None:
        raise ValueError("remove_drift: needs a single thermostat to hold the center of mass. Leave groups out.")
    return (remove_drift(space),)
