"""Which leaves share a thermostat."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from treedyn import metric, noise, schedule, tree
from treedyn._state import State
from treedyn.tree import PyTree


class Groups(NamedTuple):
    """Say for every leaf, in order, which thermostat it belongs to.

    Attributes:
        labels: group of every leaf, counted from 0.
        count: number of groups.
    """

    labels: tuple[int, ...]
    count: int

    def keys(self, key: jax.Array, part: PyTree) -> jax.Array:
        """Return a random key for every group; it belongs to the path of the first leaf, so others may come and go."""
        places = tree.paths(part)
        return jnp.stack([noise.at_path(key, places[self.labels.index(group)]) for group in range(self.count)])

    def sums(self, values: list[jax.Array], kind: Any) -> jax.Array:
        """Return the sum of one number per leaf over the leaves of every group; `[groups]`."""
        zero = jnp.zeros((), kind)
        picked = [
            [v.astype(kind) for v, g in zip(values, self.labels, strict=True) if g == k] for k in range(self.count)
        ]
        return jnp.stack([sum(values, start=zero) for values in picked])

    def numbers(self, value: PyTree, step: jax.Array, part: PyTree, name: str) -> jax.Array:
        """Return one number per group from a scalar, schedule or prefix tree; `[groups]`.

        Raises:
            ValueError: leaves of one group have different numbers, or a leaf has one number per element.
        """
        kind = tree.dtype(part)
        placed = _placed(schedule.at(value, step), part, name)
        numbers = []
        for group in range(self.count):
            members = dict(x for x, g in zip(placed, self.labels, strict=True) if g == group)
            number = next(iter(members.values()))
            if len(members) > 1 or jnp.ndim(number):
                raise ValueError(
                    f"{name}: the leaves of one thermostat share one number; give every leaf that has its own {name} "
                    "a group of its own, or leave groups out"
                )
            numbers.append(jnp.asarray(number).astype(kind))
        return jnp.stack(numbers)

    def spread(self, values: jax.Array, part: PyTree) -> PyTree:
        """Return the number of every leaf from one number per group."""
        leaves, structure = jax.tree.flatten(part)
        return jax.tree.unflatten(
            structure, [values[g].astype(x.dtype) for g, x in zip(self.labels, leaves, strict=True)]
        )


def assign(groups: PyTree, kT: PyTree, part: PyTree) -> Groups:
    """Assign every leaf of `part` to a group.

    Args:
        groups: a boxed prefix tree of labels; or `None`: one group for every value in `kT`.
        kT: the temperatures: a number, schedule or prefix tree.
        part: the moving part of the position.
    """
    if groups is None:
        names = [place for place, _ in _placed(kT, part, "kT", schedule.is_schedule)]
    else:
        names = [label.value for _, label in _placed(groups, part, "groups", _is_static)]
    order = {name: k for k, name in enumerate(dict.fromkeys(names))}
    return Groups(labels=tuple(order[name] for name in names), count=len(order))


def labels(groups: PyTree) -> PyTree:
    """Return labels, boxed; `None` where there are none.

    Raises:
        ValueError: a label is neither an integer nor a string.
    """
    for label in jax.tree.leaves(groups):
        if not isinstance(label, int | str):
            raise ValueError(f"groups: labels are integers or strings, got {label!r}; write e.g. 0, not 0.0")
    return None if groups is None else tree.box(groups)


def _is_static(x: Any) -> bool:
    return isinstance(x, tree.Static)


def _placed(
    prefix: PyTree, part: PyTree, name: str, is_leaf: Callable[[Any], bool] | None = None
) -> list[tuple[int, Any]]:
    """Return for every leaf of `part` the value of `prefix` above it, and which of the values of `prefix` that is."""
    values, structure = jax.tree.flatten(prefix, is_leaf=is_leaf)
    places = jax.tree.unflatten(structure, [tree.Static(k) for k in range(len(values))])
    found = tree.prefix_map(lambda place, _: place, places, part, name=name, is_leaf=_is_static)
    return [(place.value, values[place.value]) for place in jax.tree.leaves(found, is_leaf=_is_static)]


def twice_kinetic(state: State, groups: Groups) -> jax.Array:
    """Return 2K of every group; `[groups]`."""
    kind = tree.dtype(state.momentum)
    squares = metric.twice_kinetic(state.metric, state.moving, state.momentum)
    return groups.sums([jnp.sum(x, dtype=kind) for x in jax.tree.leaves(squares)], kind)


def degrees(state: State, groups: Groups) -> jax.Array:
    """Return the degrees of freedom of every group; `[groups]`."""
    return groups.sums(jax.tree.leaves(state.dof), tree.dtype(state.momentum))


def rescale(state: State, factor: jax.Array, groups: Groups) -> State:
    """Return the state with the momenta of every group multiplied by its factor."""
    return state.replace(momentum=tree.scale(groups.spread(factor, state.momentum), state.momentum))
