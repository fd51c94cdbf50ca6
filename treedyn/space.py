"""How a leaf moves: the `Space` contract, the Euclidean default, and products of spaces by prefix tree.

A space acts on one leaf: `shift(position, displacement)` moves it, `displacement(a, b)` is the vector from `b` to `a`.
Both are differentiable, and the numbers of a space (a box) are leaves. A tree of spaces whose structure is a prefix of
that of the position composes them: `{"atoms": periodic(box), "weights": euclidean()}`.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import tree
from treedyn.struct import Struct, function, is_bare_function
from treedyn.tree import PyTree


class Space(Struct):
    """Say how one leaf moves.

    Attributes:
        point_ndim: how many trailing axes of a leaf make up one point. 0 where every element stands for itself, as
            with the weights of a network; 1 where the last axis holds the coordinates of a particle.
        translation_invariant: whether moving all points together changes nothing, so that the motion of the centre of
            mass may be taken out.
    """

    point_ndim: ClassVar[int] = 0
    translation_invariant: ClassVar[bool] = False

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position` moved by `displacement`."""
        raise NotImplementedError

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the vector that leads from `b` to `a`."""
        raise NotImplementedError

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Turn the gradient with respect to the stored coordinates into one with respect to a displacement.

        With E(shift(x, d)) as a function of d, this is its gradient at d = 0: what a force is made of, also where the
        stored coordinates are fractions of a cell or points on a sphere.
        """
        _, transpose = jax.vjp(lambda d: self.shift(position, d), jnp.zeros_like(gradient))
        return transpose(gradient)[0]


class Euclidean(Space):
    """Move a leaf by addition."""

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return `gradient`: coordinates and displacements are the same."""
        return gradient

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position + displacement`."""
        return position + displacement

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return `a - b`."""
        return a - b


class FunctionSpace(Space):
    """Use a pair of plain functions as a space."""

    displacement_function: Callable[..., Any] = function()
    shift_function: Callable[..., Any] = function()

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return what the shift function returns."""
        return self.shift_function(position, displacement)

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return what the displacement function returns."""
        return self.displacement_function(a, b)


EUCLIDEAN = Euclidean()


def euclidean() -> Euclidean:
    """Return the space in which a leaf moves by addition: the default everywhere."""
    return EUCLIDEAN


def is_space(value: Any) -> bool:
    """Tell whether `value` stands for one space: a `Space`, or a pair of functions `(displacement, shift)`."""
    pair = isinstance(value, tuple) and len(value) == 2 and all(is_bare_function(f) for f in value)
    return pair or isinstance(value, Space)


def as_space(value: Any) -> PyTree:
    """Return `value` with every pair of functions `(displacement, shift)` turned into a `Space`.

    Raises:
        ValueError: something in the tree is not a space.

    Example:
        >>> import treedyn as td, jax.numpy as jnp
        >>> circle = td.as_space((lambda a, b: (a - b + 0.5) % 1 - 0.5, lambda x, dx: (x + dx) % 1))
        >>> float(circle.shift(jnp.array(0.75), jnp.array(0.5)))
        0.25
    """

    def convert(leaf: Any) -> Space:
        if isinstance(leaf, Space):
            return leaf
        if is_space(leaf):
            return FunctionSpace(displacement_function=leaf[0], shift_function=leaf[1])
        raise ValueError(
            f"space: expected a Space, a pair of functions (displacement, shift), or a tree of those; got {leaf!r}. "
            "Use td.euclidean() for leaves that move by addition."
        )

    found = jax.tree.map(convert, value, is_leaf=is_space)
    return found if jax.tree.leaves(found, is_leaf=is_space) else convert(value)


def of_leaves(space: PyTree, part: PyTree) -> PyTree:
    """Return the space of every leaf of `part`, as a tree of `part`'s structure whose leaves are spaces."""
    return tree.prefix_map(lambda s, _: s, space, part, name="space", is_leaf=is_space)


def shift(space: PyTree, position: PyTree, displacement: PyTree) -> PyTree:
    """Move every leaf of `position` in its own space."""
    return tree.prefix_map(
        lambda s, x, dx: s.shift(x, dx), space, position, displacement, name="space", is_leaf=is_space
    )


def displacement(space: PyTree, a: PyTree, b: PyTree) -> PyTree:
    """Return the vector from `b` to `a`, every leaf in its own space."""
    return tree.prefix_map(lambda s, a, b: s.displacement(a, b), space, a, b, name="space", is_leaf=is_space)


def pull_back(space: PyTree, position: PyTree, gradient: PyTree) -> PyTree:
    """Turn a gradient with respect to the position into one with respect to displacements, leaf by leaf."""
    return tree.prefix_map(lambda s, x, g: s.pull_back(x, g), space, position, gradient, name="space", is_leaf=is_space)
