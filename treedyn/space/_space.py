"""The `Space` contract, flat spaces, and functions of trees of spaces."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Real

from treedyn import tree
from treedyn._struct import Struct, function, is_bare_function
from treedyn.tree import PyTree


class Space(Struct):
    """The space of one leaf: how it moves, and how far two values are apart.

    Attributes:
        point_ndim: number of trailing axes of a leaf that make up one point: 0 where every element is independent, such
            as the weights of a network; 1 where the last axis holds the coordinates of a particle.
        translation_invariant: whether moving all points together changes nothing, so that the motion of the center of
            mass may be removed.
        flat: whether the space is known to be flat; otherwise `init` of a dynamics checks it.
    """

    point_ndim: ClassVar[int] = 0
    translation_invariant: ClassVar[bool] = False
    flat: ClassVar[bool] = False

    @abstractmethod
    def shift(self, position: Float[Array, "..."], displacement: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return `position` moved by `displacement`."""

    @abstractmethod
    def displacement(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the vector from `b` to `a`."""

    def pull_back(self, position: Float[Array, "..."], gradient: Float[Array, "..."]) -> Float[Array, "..."]:
        """Convert a gradient with respect to the stored coordinates to one with respect to a displacement.

        This is the gradient of E(shift(x, d)) by d at d = 0, which defines the force where the stored coordinates are
        fractions of a cell or points on a sphere.
        """
        _, transpose = jax.vjp(lambda d: self.shift(position, d), jnp.zeros_like(gradient))
        return transpose(gradient)[0]


class Manifold(Space):
    """A space that is not flat, with points and vectors in the coordinates of an embedding space.

    The momentum of a leaf is tangent at its position, and is transported as the position moves along a geodesic.
    """

    @abstractmethod
    def transport(
        self, position: Float[Array, "..."], displacement: Float[Array, "..."], vector: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Return a tangent vector at `position`, transported to `shift(position, displacement)`."""

    @abstractmethod
    def project(self, position: Float[Array, "..."], vector: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the tangent part of `vector` at `position`."""

    @abstractmethod
    def degrees(self, mobile: Bool[Array, "..."]) -> Real[ArrayLike, ""]:
        """Return the number of degrees of freedom of a leaf; `mobile` is true for the elements that can move."""

    @abstractmethod
    def contains(self, position: Float[Array, "..."]) -> Bool[Array, ""]:
        """Tell whether all points are in this space, to rounding.

        Raises:
            ValueError: the shape of `position` does not fit.
        """


class Euclidean(Space):
    """The space in which a leaf moves by addition."""

    flat: ClassVar[bool] = True

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        return gradient

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        return position + displacement

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        return a - b


class FunctionSpace(Space):
    """A space made of two plain functions."""

    displacement_function: Callable[..., Any] = function()
    shift_function: Callable[..., Any] = function()

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        return self.shift_function(position, displacement)

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        return self.displacement_function(a, b)


EUCLIDEAN = Euclidean()


def euclidean() -> Euclidean:
    """Return the space in which a leaf moves by addition, the default everywhere."""
    return EUCLIDEAN


def is_space(value: object) -> bool:
    """Tell whether `value` is one space: a `Space`, or a pair of functions `(displacement, shift)`."""
    pair = isinstance(value, tuple) and len(value) == 2 and all(is_bare_function(f) for f in value)
    return pair or isinstance(value, Space)


def as_space(value: PyTree) -> PyTree:
    """Return a tree of spaces with every pair of functions `(displacement, shift)` as a `Space`.

    Args:
        value: a `Space`, a pair of functions, or a tree of those.

    Raises:
        ValueError: a leaf is neither.

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
            f"space: expected a Space, a pair of functions (displacement, shift), or a tree of those, got {leaf!r}. "
            "Use td.euclidean() for leaves that move by addition."
        )

    found = jax.tree.map(convert, value, is_leaf=is_space)
    return found if jax.tree.leaves(found, is_leaf=is_space) else convert(value)


def of_leaves(space: PyTree, part: PyTree) -> PyTree:
    """Return a tree like `part` with the space of every leaf."""
    return tree.prefix_map(lambda s, _: s, space, part, name="space", is_leaf=is_space)


def contains(space: PyTree, part: PyTree) -> Bool[Array, ""]:
    """Tell whether all points are on their manifolds.

    Raises:
        ValueError: points with known coordinates are elsewhere, or a shape or the tree of spaces does not fit.
    """
    everywhere = jnp.asarray(True)
    for own, path, leaf in _placed(space, part):
        if not isinstance(own, Space):
            raise ValueError(
                f"space: expected a td.Space for position{path}, got {own!r}. Convert a pair (displacement, shift) "
                "with td.as_space."
            )
        if isinstance(own, Manifold):
            try:
                inside = jnp.asarray(own.contains(leaf))
            except ValueError as error:
                raise ValueError(f"position{path}: {error}") from error
            if (known := tree.known(inside)) is not None and not known:
                raise ValueError(
                    f"position{path}: expected points of {own}, got some that are elsewhere. Project them on it: on a "
                    "sphere, use x / norm(x)."
                )
            everywhere = everywhere & inside
    return everywhere


def check_flat(space: PyTree, part: PyTree) -> None:
    """Check that every space is flat or a `Manifold`.

    Raises:
        ValueError: a space is neither.
    """
    for own, path, leaf in _placed(space, part):
        if not isinstance(own, Manifold) and not own.flat and _is_curved(own, leaf):
            raise ValueError(
                f"space: that of position{path} is not flat: moving by a and then by b is not moving by a + b, so "
                "momenta have to be transported. Derive the space from td.Manifold, which defines the transport; "
                "td.sphere() is an example."
            )


def _placed(space: PyTree, part: PyTree) -> list[tuple[Space, str, jax.Array]]:
    spaces = jax.tree.leaves(of_leaves(space, part), is_leaf=is_space)
    return list(zip(spaces, tree.paths(part), jax.tree.leaves(part), strict=True))


def _is_curved(space: Space, leaf: jax.Array) -> bool:
    """Tell whether moving by a and then by b differs from moving by a + b.

    This compares the mixed derivatives of shift(shift(x, s a), t b) and of shift(x, s a + t b) at s = t = 0. In a flat
    space they are equal; otherwise their difference is as large as they are. Unknown numbers are replaced by random
    ones.
    """
    if not leaf.size:
        return False
    kind, allowed = leaf.dtype, max(1e-3, 64 * float(jnp.finfo(leaf.dtype).eps))
    random = np.random.default_rng(0)

    def mixed(moved: Callable[..., jax.Array]) -> np.ndarray:
        zero, unit = jnp.zeros((), kind), jnp.ones((), kind)

        def along_b(s: jax.Array) -> jax.Array:
            return jax.jvp(lambda t: moved(s, t), (zero,), (unit,))[1]

        return np.asarray(jax.jvp(along_b, (zero,), (unit,))[1], dtype=float)

    def differs(x: jax.Array) -> bool:
        first = mixed(lambda s, t: space.shift(space.shift(x, s * a), t * b))
        second = mixed(lambda s, t: space.shift(x, s * a + t * b))
        return bool(np.linalg.norm(first - second) > allowed * (np.linalg.norm(first) + np.linalg.norm(second)))

    with jax.ensure_compile_time_eval():
        own = [tree.made_up(x) if tree.known(x) is None else x for x in (*jax.tree.leaves(space), leaf)]
        space, x = jax.tree.unflatten(jax.tree.structure(space), own[:-1]), own[-1]
        a, b = (jnp.asarray(random.normal(size=leaf.shape), kind) for _ in range(2))
        try:
            moved = space.shift(x, a)
            if jnp.shape(moved) != leaf.shape:
                raise ValueError(f"it returns shape {jnp.shape(moved)} for {leaf.shape}")
            return differs(x) or differs(moved)  # the curvature may vanish at one point
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"space: the shift of a {type(space).__name__} must return an array like the position and be "
                f"differentiable twice, to tell whether the space is flat. It failed: {error}"
            ) from error


def shift(space: PyTree, position: PyTree, displacement: PyTree) -> PyTree:
    """Return `position` with every leaf moved by its displacement, in its own space."""
    return _each(lambda s, x, dx: s.shift(x, dx), space, position, displacement)


def displacement(space: PyTree, a: PyTree, b: PyTree) -> PyTree:
    """Return the vectors from `b` to `a`, with every leaf in its own space."""
    return _each(lambda s, a, b: s.displacement(a, b), space, a, b)


def transport(space: PyTree, position: PyTree, displacement: PyTree, vector: PyTree) -> PyTree:
    """Return vectors at `position`, transported along a displacement; in flat spaces they do not change."""
    return _each(
        lambda s, x, dx, v: s.transport(x, dx, v) if isinstance(s, Manifold) else v,
        *(space, position, displacement, vector),
    )


def project(space: PyTree, position: PyTree, vector: PyTree) -> PyTree:
    """Return the tangent part of vectors at `position`; in flat spaces they do not change."""
    return _each(lambda s, x, v: s.project(x, v) if isinstance(s, Manifold) else v, space, position, vector)


def pull_back(space: PyTree, position: PyTree, gradient: PyTree) -> PyTree:
    """Return a gradient with respect to displacements, from one with respect to stored coordinates."""
    return _each(lambda s, x, g: s.pull_back(x, g), space, position, gradient)


def _each(f: Callable[..., jax.Array], space: PyTree, *trees: PyTree) -> PyTree:
    return tree.prefix_map(f, space, *trees, name="space", is_leaf=is_space)
