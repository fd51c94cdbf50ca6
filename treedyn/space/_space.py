"""How a leaf moves: the `Space` contract, the Euclidean default, and products of spaces by prefix tree.

A space acts on one leaf: `shift(position, displacement)` moves it, `displacement(a, b)` is the vector from `b` to `a`.
Both are differentiable, and the numbers of a space (a box) are leaves. A tree of spaces whose structure is a prefix of
that of the position composes them: `{"atoms": periodic(box), "weights": euclidean()}`.

A space is flat where moving by `a` and then by `b` is moving by `a + b`: a vector then means the same everywhere, and
there is nothing more to say. A `Manifold` is not flat: it also says how a vector travels, what is tangent, and how many
degrees of freedom there are.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree
from treedyn._struct import Struct, function, is_bare_function
from treedyn.tree import PyTree


class Space(Struct):
    """Say how one leaf moves.

    Attributes:
        point_ndim: how many trailing axes of a leaf make up one point. 0 where every element stands for itself, as
            with the weights of a network; 1 where the last axis holds the coordinates of a particle.
        translation_invariant: whether moving all points together changes nothing, so that the motion of the centre of
            mass may be taken out.
        flat: whether it is known to be flat; where it is not, `init` of a dynamics checks it.
    """

    point_ndim: ClassVar[int] = 0
    translation_invariant: ClassVar[bool] = False
    flat: ClassVar[bool] = False

    @abstractmethod
    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position` moved by `displacement`."""

    @abstractmethod
    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the vector that leads from `b` to `a`."""

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Turn the gradient with respect to the stored coordinates into one with respect to a displacement.

        With E(shift(x, d)) as a function of d, this is its gradient at d = 0: what a force is made of, also where the
        stored coordinates are fractions of a cell or points on a sphere.
        """
        _, transpose = jax.vjp(lambda d: self.shift(position, d), jnp.zeros_like(gradient))
        return transpose(gradient)[0]


class Manifold(Space):
    """A space that is not flat. Points and vectors are stored in coordinates of a space around it.

    The momentum of a leaf is tangent at its position; it changes as the position moves along a geodesic.
    """

    @abstractmethod
    def transport(self, position: jax.Array, displacement: jax.Array, vector: jax.Array) -> jax.Array:
        """Return a vector that is tangent at `position`, carried along to `shift(position, displacement)`."""

    @abstractmethod
    def project(self, position: jax.Array, vector: jax.Array) -> jax.Array:
        """Return the part of `vector` that is tangent at `position`."""

    @abstractmethod
    def degrees(self, mobile: jax.Array) -> jax.Array:
        """Return the number of degrees of freedom of a leaf; `mobile` tells for its elements whether they can move."""

    @abstractmethod
    def contains(self, position: jax.Array) -> jax.Array:
        """Tell whether all points of an array are in this space, to rounding: a boolean.

        Raises:
            ValueError: the shape does not fit.
        """


class Euclidean(Space):
    """Move a leaf by addition."""

    flat: ClassVar[bool] = True

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


def contains(space: PyTree, part: PyTree) -> jax.Array:
    """Tell whether all points are on their manifolds.

    Args:
        space: a space, or a prefix tree of spaces.
        part: moving part of the position.

    Raises:
        ValueError: numbers that are known are elsewhere, a shape does not fit, or the tree of spaces does not.
    """
    everywhere = jnp.asarray(True)
    for own, path, leaf in _placed(space, part):
        if not isinstance(own, Space):
            raise ValueError(
                f"space: expected a td.Space for position{path}, got {own!r}; a pair (displacement, shift) "
                "goes through td.as_space"
            )
        if isinstance(own, Manifold):
            try:
                inside = jnp.asarray(own.contains(leaf))
            except ValueError as error:
                raise ValueError(f"position{path}: {error}") from error
            if (known := tree.known(inside)) is not None and not known:
                raise ValueError(
                    f"position{path}: expected points of {own}, got some that are elsewhere; project them on it, as "
                    "x / norm(x) does on a sphere"
                )
            everywhere = everywhere & inside
    return everywhere


def check_flat(space: PyTree, part: PyTree) -> None:
    """Refuse spaces that cannot say how a vector travels although they are not flat.

    Args:
        space: a space, or a prefix tree of spaces.
        part: moving part of the position.

    Raises:
        ValueError: one is neither flat nor a `Manifold`.
    """
    for own, path, leaf in _placed(space, part):
        if not isinstance(own, Manifold) and not own.flat and _is_curved(own, leaf):
            raise ValueError(
                f"space: that of position{path} is not flat: moving by a and then by b is not moving by a + b, so "
                "a momentum does not mean the same everywhere. Derive it from td.Manifold, which says how vectors "
                "travel; td.sphere() is one"
            )


def _placed(space: PyTree, part: PyTree) -> list[tuple[Space, str, jax.Array]]:
    spaces = jax.tree.leaves(of_leaves(space, part), is_leaf=is_space)
    return list(zip(spaces, tree.paths(part), jax.tree.leaves(part), strict=True))


def _is_curved(space: Space, leaf: jax.Array) -> bool:
    """Tell whether moving by a and then by b differs from moving by a + b.

    The mixed derivatives of shift(shift(x, s a), t b) and of shift(x, s a + t b) at s = t = 0 have no scale of their
    own: in a flat space they are equal, and otherwise they differ by the order of themselves. Made-up numbers stand for
    those that are not known yet.
    """
    if not leaf.size:
        return False
    kind, allowed = leaf.dtype, max(1e-3, 64 * float(jnp.finfo(leaf.dtype).eps))
    random = np.random.default_rng(0)

    def two(x: jax.Array, s: jax.Array, t: jax.Array) -> jax.Array:
        return space.shift(space.shift(x, s * a), t * b)

    def one(x: jax.Array, s: jax.Array, t: jax.Array) -> jax.Array:
        return space.shift(x, s * a + t * b)

    def mixed(moved: Callable[..., jax.Array], x: jax.Array) -> np.ndarray:
        zero, unit = jnp.zeros((), kind), jnp.ones((), kind)

        def along_b(s: jax.Array) -> jax.Array:
            return jax.jvp(lambda t: moved(x, s, t), (zero,), (unit,))[1]

        return np.asarray(jax.jvp(along_b, (zero,), (unit,))[1], dtype=float)

    def differs(x: jax.Array) -> bool:
        there, straight = mixed(two, x), mixed(one, x)
        return bool(np.linalg.norm(there - straight) > allowed * (np.linalg.norm(there) + np.linalg.norm(straight)))

    with jax.ensure_compile_time_eval():
        own = [tree.made_up(x) if tree.known(x) is None else x for x in (*jax.tree.leaves(space), leaf)]
        space, x = jax.tree.unflatten(jax.tree.structure(space), own[:-1]), own[-1]
        a, b = (jnp.asarray(random.normal(size=leaf.shape), kind) for _ in range(2))
        try:
            moved = space.shift(x, a)
            if jnp.shape(moved) != leaf.shape:
                raise ValueError(f"it returns shape {jnp.shape(moved)} for {leaf.shape}")
            return differs(x) or differs(moved)  # where a curvature vanishes, it is elsewhere
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"space: the shift of a {type(space).__name__} has to return an array like the position and to be "
                f"differentiable twice, which tells whether it is flat; that failed: {error}"
            ) from error


def shift(space: PyTree, position: PyTree, displacement: PyTree) -> PyTree:
    """Move every leaf of `position` in its own space."""
    return tree.prefix_map(
        lambda s, x, dx: s.shift(x, dx), space, position, displacement, name="space", is_leaf=is_space
    )


def transport(space: PyTree, position: PyTree, displacement: PyTree, vector: PyTree) -> PyTree:
    """Carry a tree of vectors along a displacement; in flat leaves nothing changes."""

    def one(s: Space, x: jax.Array, dx: jax.Array, v: jax.Array) -> jax.Array:
        return s.transport(x, dx, v) if isinstance(s, Manifold) else v

    return tree.prefix_map(one, space, position, displacement, vector, name="space", is_leaf=is_space)


def project(space: PyTree, position: PyTree, vector: PyTree) -> PyTree:
    """Take from a tree of vectors what is tangent; in flat leaves that is all of it."""

    def one(s: Space, x: jax.Array, v: jax.Array) -> jax.Array:
        return s.project(x, v) if isinstance(s, Manifold) else v

    return tree.prefix_map(one, space, position, vector, name="space", is_leaf=is_space)


def displacement(space: PyTree, a: PyTree, b: PyTree) -> PyTree:
    """Return the vector from `b` to `a`, every leaf in its own space."""
    return tree.prefix_map(lambda s, a, b: s.displacement(a, b), space, a, b, name="space", is_leaf=is_space)


def pull_back(space: PyTree, position: PyTree, gradient: PyTree) -> PyTree:
    """Turn a gradient with respect to the position into one with respect to displacements, leaf by leaf."""
    return tree.prefix_map(lambda s, x, g: s.pull_back(x, g), space, position, gradient, name="space", is_leaf=is_space)
