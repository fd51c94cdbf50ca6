"""Minibatches as a part of the environment."""

from abc import abstractmethod
from typing import Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int32

from treedyn import _check as check
from treedyn import tree
from treedyn._member import PerMember, per_member
from treedyn._state import State
from treedyn._struct import Struct, static
from treedyn.dynamics._dynamics import check_key
from treedyn.environment import Advancing
from treedyn.tree import PyTree
from treedyn.tree._structure import nodes


class Rows(Advancing):
    """The rows of the data that make up the minibatches of a step.

    Attributes:
        key: random key; all rows are a function of it and of the number of steps.
        rows: rows of the minibatches of this step, `[batches, size]`; the last one is for the force at the end.
        count: number of steps.
        total: number of rows of the data.
    """

    key: jax.Array
    rows: Int32[Array, "batches size"]
    count: Int32[Array, ""]
    total: int = static()

    @abstractmethod
    def drawn(self) -> Self:
        """Return these rows with those of the step `count`."""

    def advance(self, state: State) -> Self:
        """Return the rows of the next step."""
        return self.replace(count=self.count + 1).drawn()

    def beginning(self) -> Self:
        """Return the rows as a force at the beginning of the step sees them."""
        return self.replace(rows=self.rows[::-1])

    @property
    def _key(self) -> jax.Array:
        return jax.random.fold_in(self.key, self.count)


class Epochs(Rows):
    """All rows in a random order, and again in another one.

    Attributes:
        order: the order of this epoch.
        place: the first row in it that was not used yet.
    """

    order: Int32[Array, " total"]
    place: Int32[Array, ""]

    def drawn(self) -> Self:
        def one(now: Self, _: None) -> tuple[Self, jax.Array]:
            size = self.rows.shape[1]
            over = now.place + size > self.total
            order = jax.lax.cond(over, lambda old, key: jax.random.permutation(key, old), lambda old, _: old,
                                 now.order, now._key)  # fmt: skip
            place = jnp.where(over, 0, now.place)
            rows = jax.lax.dynamic_slice(order, (place,), (size,))
            return now.replace(order=order, place=place + size), rows

        end, rows = jax.lax.scan(one, self, length=len(self.rows))
        return end.replace(rows=rows)


class Subsets(Rows):
    """Random rows in every step, each at most once in a minibatch."""

    def drawn(self) -> Self:
        batches, size = self.rows.shape

        def one(key: jax.Array) -> jax.Array:
            if size * size > 8 * self.total:
                return jax.random.permutation(key, self.total)[:size].astype(jnp.int32)
            # Floyd's algorithm: a row that is there already makes room for the last one
            last = jnp.arange(self.total - size, self.total, dtype=jnp.int32)
            tried = jax.random.randint(key, (size,), 0, last + 1, jnp.int32)

            def add(k: int, chosen: jax.Array) -> jax.Array:
                return chosen.at[k].set(jnp.where(jnp.any(chosen == tried[k]), last[k], tried[k]))

            return jax.lax.fori_loop(0, size, add, jnp.full(size, -1, jnp.int32))

        return self.replace(rows=jax.vmap(one)(jax.random.split(self._key, batches)))


class Independent(Rows):
    """Random rows in every step, each independent of the others."""

    def drawn(self) -> Self:
        return self.replace(rows=jax.random.randint(self._key, self.rows.shape, 0, self.total, jnp.int32))


class Batches(Struct):
    """Data, and the rows of them that a target sees.

    Attributes:
        data: a tree of arrays with the data along the first axis.
        rows: the rows of this step.
    """

    data: PyTree
    rows: Rows | PerMember

    @property
    def total(self) -> int:
        """Return the number of rows of the data."""
        return next(x.total for x in nodes(Rows, self.rows))

    @property
    def current(self) -> PyTree:
        """Return the minibatch of this step."""
        assert isinstance(self.rows, Rows)  # a dynamics of one system refuses what differs between members
        rows = self.rows.rows[-1]
        return jax.tree.map(lambda x: jnp.asarray(x)[rows], self.data)


KINDS: dict[str, type[Rows]] = {"epochs": Epochs, "subsets": Subsets, "independent": Independent}


def batches(
    key: jax.Array,
    data: PyTree,
    size: int,
    *,
    rows: Literal["epochs", "subsets", "independent"] = "epochs",
    per_step: int = 1,
    members: int | None = None,
) -> Batches:
    r"""Build an environment that shows a target another minibatch of the data in every step.

    Args:
        key: random key; the minibatches are a function of it and of the number of steps.
        data: a tree of arrays with the data along the first axis, such as `(inputs, labels)`.
        size: rows of a minibatch, at least 1.
        rows: "epochs" for all rows in a random order, and again in another one; the rows that are left at the end of an
            epoch are not used. "subsets" for random rows in every step, each at most once. "independent" for random
            rows with replacement.
        per_step: minibatches of a step: 2 for dynamics with `fresh=True`, which evaluate the force at the beginning of
            a step, too.
        members: number of members of an ensemble that see minibatches of their own; by default they see the same.

    Returns:
        A part of an environment. Pass it to `init` and to `td.run` as `env`, alone or in a tree.

    Raises:
        ValueError: an argument does not fit, the arrays have different lengths, or a number is not finite.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> env = networks.batches(jax.random.key(0), (jnp.arange(6.0), jnp.arange(6)), size=2)
        >>> seen = []
        >>> for _ in range(3):
        ...     seen += env.current[1].tolist()
        ...     env = td.environment.advance(env, None)
        >>> sorted(seen)
        [0, 1, 2, 3, 4, 5]
    """
    check_key(key)
    leaves = jax.tree.leaves(data)
    lengths = {np.shape(x)[:1] for x in leaves}
    if len(lengths) != 1 or lengths == {()}:
        found = ", ".join(str(np.shape(x)) for x in leaves) or "no array"
        raise ValueError(f"data: expected arrays with one first axis for all, the data, got shapes {found}.")
    for path, x in zip(tree.paths(data), leaves, strict=True):
        known = tree.known(x)
        if known is not None and np.issubdtype(known.dtype, np.inexact) and not np.all(np.isfinite(known)):
            row = np.argwhere(~np.isfinite(known))[0][0]
            raise ValueError(f"data{path}: expected finite numbers, got {known[row]} in row {row}. Leave the row out.")
    total = int(next(iter(lengths))[0])
    size = check.integer("size", size, 1)
    if size > total:
        raise ValueError(f"size: expected at most the {total} rows of the data, got {size}.")
    kind = KINDS[check.choice("rows", rows, KINDS.keys())]
    shape = (check.integer("per_step", per_step, 1), size)
    order = jnp.arange(total, dtype=jnp.int32)
    more = {"order": order, "place": jnp.int32(total)} if kind is Epochs else {}

    def start(key: jax.Array) -> Rows:
        return kind(key=key, rows=jnp.zeros(shape, jnp.int32), count=jnp.int32(0), total=total, **more).drawn()

    if members is None:
        return Batches(data=data, rows=start(key))
    keys = jax.random.split(key, check.integer("members", members, 1))
    return Batches(data=data, rows=per_member(jax.vmap(start)(keys)))
