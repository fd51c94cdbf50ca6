"""The contract of a bijector, and functions of trees of them."""

from abc import abstractmethod
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct
from treedyn.tree import PyTree


class Bijector(Struct):
    """A smooth, invertible map from free coordinates to a constrained leaf.

    It may change the shape of the last axes. Further axes in front, such as draws and chains, are mapped alike.
    """

    @abstractmethod
    def forward(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the constrained value y of free coordinates x."""

    @abstractmethod
    def inverse(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the free coordinates of a constrained value."""

    @abstractmethod
    def log_jacobian(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return an array that sums to log |det dy/dx|."""

    @abstractmethod
    def contains(self, y: Float[Array, "..."]) -> Bool[Array, ""]:
        """Tell whether a value satisfies the constraint."""


def like(number: ArrayLike, x: jax.Array) -> jax.Array:
    """Return numbers in the dtype and shape of `x`, repeated along its first axes."""
    return jnp.broadcast_to(tree.cast(number, x), x.shape)


def is_bijector(value: object) -> bool:
    """Tell whether `value` is a bijector."""
    return isinstance(value, Bijector)


def checked(bijectors: PyTree) -> PyTree:
    """Return a tree of bijectors; refuse other leaves."""
    for leaf in jax.tree.leaves(bijectors, is_leaf=is_bijector) or [bijectors]:
        if not is_bijector(leaf):
            raise ValueError(
                f"bijectors: expected a Bijector or a tree of them, got {leaf!r}. Use td.bijector.identity() for "
                "leaves without constraint."
            )
    return bijectors


def constrain(bijectors: PyTree, free: PyTree) -> PyTree:
    """Return the constrained tree; leaves that do not move are kept."""
    return _each(lambda b, x, name: b.forward(x), bijectors, free)


def unconstrain(bijectors: PyTree, position: PyTree) -> PyTree:
    """Return the tree of free coordinates.

    Raises:
        ValueError: a known value does not satisfy its constraint.
    """

    def one(bijector: Bijector, y: jax.Array, name: str) -> jax.Array:
        inside = tree.known(bijector.contains(y))
        if inside is not None and not inside:
            raise ValueError(
                f"position{name}: expected a value of {bijector!r}, got {check.brief(y)}. Start within the constraint."
            )
        return bijector.inverse(y)

    return _each(one, bijectors, position)


def log_jacobian(bijectors: PyTree, free: PyTree) -> Float[Array, ""]:
    """Return log |det dy/dx| of the whole tree."""
    part = tree.moving(tree.box(free, "position"))
    return tree.total(
        tree.prefix_map(lambda b, x: b.log_jacobian(x), bijectors, part, name="bijectors", is_leaf=is_bijector)
    )


def _each(f: Callable[[Bijector, jax.Array, str], jax.Array], bijectors: PyTree, position: PyTree) -> PyTree:
    boxed = tree.box(position, "position")
    part = tree.moving(boxed)
    names = jax.tree.unflatten(jax.tree.structure(part), tree.paths(part))
    return tree.unbox(
        tree.merge(tree.prefix_map(f, bijectors, part, names, name="bijectors", is_leaf=is_bijector), boxed)
    )
