"""Groups of leaves that share a thermostat."""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike

from treedyn import metric, noise, schedule, tree
from treedyn._state import State
from treedyn._status import Status, word
from treedyn.operators._operator import Operator
from treedyn.tree import PyTree


class Groups(NamedTuple):
    """The group of every leaf, counted from 0, and the number of groups."""

    labels: tuple[int, ...]
    size: int

    def keys(self, key: jax.Array, part: PyTree) -> jax.Array:
        """Return a random key for every group, a function of the path of its first leaf only; `[groups]`."""
        places = tree.paths(part)
        return jnp.stack([noise.at_path(key, places[self.labels.index(group)]) for group in range(self.size)])

    def sums(self, values: list[jax.Array], kind: DTypeLike) -> jax.Array:
        """Return the sum of one number per leaf over the leaves of every group; `[groups]`."""
        zero = jnp.zeros((), kind)
        picked = [
            [v.astype(kind) for v, g in zip(values, self.labels, strict=True) if g == k] for k in range(self.size)
        ]
        return jnp.stack([sum(values, start=zero) for values in picked])

    def numbers(self, value: PyTree, step: jax.Array, part: PyTree, name: str) -> jax.Array:
        """Return one number per group from a scalar, schedule or prefix tree, or raise if a group has several."""
        kind = tree.dtype(part)
        placed = _placed(schedule.at(value, step), part, name)
        numbers = []
        for group in range(self.size):
            members = dict(x for x, g in zip(placed, self.labels, strict=True) if g == group)
            number = next(iter(members.values()))
            if len(members) > 1 or jnp.ndim(number):
                raise ValueError(
                    f"{name}: the leaves of one thermostat share one number. Give every leaf with another {name} a "
                    "group of its own, or leave groups out."
                )
            numbers.append(jnp.asarray(number).astype(kind))
        return jnp.stack(numbers)

    def spread(self, values: jax.Array, part: PyTree) -> PyTree:
        """Return a tree like `part` with the number of the group of every leaf."""
        leaves, structure = jax.tree.flatten(part)
        return jax.tree.unflatten(
            structure, [values[g].astype(x.dtype) for g, x in zip(self.labels, leaves, strict=True)]
        )


class Grouped(Operator):
    """A thermostat for every group of leaves; `groups` is a boxed prefix tree of labels, or `None`."""

    kT: PyTree
    tau: PyTree
    groups: PyTree = None

    @final
    def _groups(self, state: State) -> Groups:
        return assign(self.groups, self.kT, state.momentum)

    def inspect(self, old: State, new: State) -> jax.Array:
        """Return `Status.AT_REST` if a group stood still that should be warm: its factor heats only what moves."""
        groups = self._groups(new)
        warm = (groups.numbers(self.kT, old.step, old.momentum, "kT") > 0) & (degrees(new, groups) > 0)
        still = (twice_kinetic(old, groups) == 0) & (twice_kinetic(new, groups) == 0)
        return word(Status.AT_REST, jnp.any(warm & still))


def assign(groups: PyTree, kT: PyTree, part: PyTree) -> Groups:
    """Assign every leaf of `part` to a group by its label, boxed or not, or without labels by its place in `kT`."""
    if groups is None:
        names = [place for place, _ in _placed(kT, part, "kT", schedule.is_schedule)]
    else:
        names = [tree.unbox(label) for _, label in _placed(groups, part, "groups", _is_static)]
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return Groups(labels=tuple(order[name] for name in names), size=len(order))


def labels(groups: PyTree) -> PyTree:
    """Check labels, which must be integers or strings, and return them boxed."""
    for label in jax.tree.leaves(groups):
        if not isinstance(label, int | str):
            raise ValueError(f"groups: labels are integers or strings, got {label!r}. Use 0, not 0.0.")
    return None if groups is None else tree.box(groups)


def _is_static(x: object) -> bool:
    return isinstance(x, tree.Static)


def _placed(
    prefix: PyTree, part: PyTree, name: str, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[int, Any]]:
    """Return the value of `prefix` for every leaf of `part`, with its number among the values of `prefix`."""
    values, structure = jax.tree.flatten(prefix, is_leaf=is_leaf)
    places = jax.tree.unflatten(structure, [tree.Static(k) for k in range(len(values))])
    found = tree.prefix_map(lambda place, _: place, places, part, name=name, is_leaf=_is_static)
    return [(place.value, values[place.value]) for place in jax.tree.leaves(found, is_leaf=_is_static)]


def twice_kinetic(state: State, groups: Groups) -> jax.Array:
    """Return twice the kinetic energy of every group; `[groups]`."""
    kind = tree.dtype(state.momentum)
    squares = metric.twice_kinetic(state.metric, state.moving, state.momentum)
    return groups.sums([jnp.sum(x, dtype=kind) for x in jax.tree.leaves(squares)], kind)


def degrees(state: State, groups: Groups) -> jax.Array:
    """Return the degrees of freedom of every group; `[groups]`."""
    return groups.sums(jax.tree.leaves(state.dof), tree.dtype(state.momentum))


def rescale(state: State, factor: jax.Array, groups: Groups) -> State:
    """Return the state with the momenta of every group multiplied by its factor."""
    return state.replace(momentum=tree.scale(groups.spread(factor, state.momentum), state.momentum))
