"""The boxes of particles: free, periodic and triclinic space in any dimension, with any axes open.

The last axis of a position holds the coordinates. Besides `shift` and `displacement`, which every space has, a particle
space has `separation`: the displacement component by component. Pair kernels keep x, y and z in separate arrays, since
stacking them inside a fused loop costs a factor of 2 to 5.

Pair kernels use `separation`, which rounds to the nearest image: exact for every pair closer than half the smallest
height of the cell. `check_cutoff` refuses a longer cutoff. `displacement` and `distance` are exact for every pair.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Real

from treedyn import _check as check
from treedyn._struct import static
from treedyn.particles.space._components import Components as Components
from treedyn.particles.space._components import dot as dot
from treedyn.particles.space._components import product as product
from treedyn.particles.space._components import unstack as unstack
from treedyn.particles.space._shortest import shortest
from treedyn.space import FunctionSpace, Space, as_space
from treedyn.tree import known

Vectors = Float[Array, "... dimensions"]
# a space, or the functions `displacement(a, b)` and `shift(position, displacement)`
SpaceLike = Space | tuple[Callable[..., jax.Array], Callable[..., jax.Array]]


class ParticleSpace(Space):
    """A space of points: the contract of all boxes."""

    point_ndim: ClassVar[int] = 1
    translation_invariant: ClassVar[bool] = True
    flat: ClassVar[bool] = True

    @abstractmethod
    def separation(self, a: Components, b: Components) -> Components:
        """Return the displacement from `b` to `a`, one array per component.

        It is the shortest one up to half the smallest height of the cell, and never shorter than that beyond.
        """

    def shortest(self, delta: Components) -> Components:
        """Return the shortest image of a `separation`, also beyond half the smallest height of the cell."""
        return delta

    @final
    def displacement(self, a: Vectors, b: Vectors) -> Vectors:
        """Return the shortest vector from `b` to `a` in real coordinates."""
        return jnp.stack(self.shortest(self.separation(unstack(a), unstack(b))), axis=-1)

    @final
    def distance(self, a: Vectors, b: Vectors) -> Float[Array, "..."]:
        """Return the distance between `a` and `b`. Its gradient is zero, not NaN, where they coincide."""
        square = jnp.sum(self.displacement(a, b) ** 2, axis=-1)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    @abstractmethod
    def cell(self, dimension: int) -> Float[Array, "dimensions dimensions"] | None:
        """Return the cell, one lattice vector per row, or `None` in free space."""

    @abstractmethod
    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        """Return for every lattice vector whether the space repeats along it."""

    @abstractmethod
    def fractional(self, position: Vectors) -> Vectors:
        """Return coordinates in units of the lattice vectors."""

    def heights(self, dimension: int) -> Float[Array, "dimensions"] | None:
        """Return the distances between opposite faces of the cell, infinite along open axes; `None` in free space."""
        cell = self.cell(dimension)
        if cell is None:
            return None
        height = 1 / jnp.linalg.norm(jnp.linalg.inv(cell), axis=0)
        return jnp.where(jnp.asarray(self.periodic_axes(dimension)), height, jnp.inf)

    def volume(self, dimension: int) -> Float[Array, ""]:
        """Return the volume of the cell: an area in two dimensions.

        Raises:
            ValueError: the space is open along an axis.
        """
        cell, periodic_axes = self.cell(dimension), self.periodic_axes(dimension)
        if cell is None or not all(periodic_axes):
            raise ValueError(
                f"volume: expected a space that repeats along every axis, got periodic axes {periodic_axes}. Pass "
                "volume=..., e.g. the area of a slab times its thickness."
            )
        return jnp.abs(jnp.linalg.det(cell))


class Free(ParticleSpace):
    """Open space without a box."""

    def shift(self, position: Vectors, displacement: Vectors) -> Vectors:
        return position + displacement

    def pull_back(self, position: Vectors, gradient: Vectors) -> Vectors:
        return gradient

    def separation(self, a: Components, b: Components) -> Components:
        return tuple(x - y for x, y in zip(a, b, strict=True))

    def cell(self, dimension: int) -> None:
        return None

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        return (False,) * dimension

    def fractional(self, position: Vectors) -> Vectors:
        return position


class Periodic(ParticleSpace):
    """A rectangular box that repeats along some or all axes.

    Attributes:
        box: side length, one number or one per axis; a leaf, so energies can be differentiated with respect to it.
        axes: which axes repeat; `None` for all.
    """

    box: Float[Array, ""] | Float[Array, "dimensions"] | float
    axes: tuple[bool, ...] | None = static(default=None)

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        return _axes(self.axes, dimension)

    def sides(self, like: jax.Array, dimension: int) -> Components:
        """Return the side length along every axis in the dtype of `like`."""
        return unstack(jnp.broadcast_to(jnp.asarray(self.box).astype(like.dtype), (dimension,)))

    def shift(self, position: Vectors, displacement: Vectors) -> Vectors:
        moved = position + displacement
        side = jnp.broadcast_to(jnp.asarray(self.box).astype(moved.dtype), moved.shape)
        return jnp.where(np.array(self.periodic_axes(moved.shape[-1])), _wrap(moved, side), moved)

    def pull_back(self, position: Vectors, gradient: Vectors) -> Vectors:
        return gradient

    def separation(self, a: Components, b: Components) -> Components:
        sides = self.sides(a[0], len(a))
        return tuple(
            _nearest(x - y, side) if periodic else x - y
            for x, y, side, periodic in zip(a, b, sides, self.periodic_axes(len(a)), strict=True)
        )

    def cell(self, dimension: int) -> Float[Array, "dimensions dimensions"]:
        return jnp.diag(jnp.broadcast_to(jnp.asarray(self.box), (dimension,)))

    def heights(self, dimension: int) -> Float[Array, "dimensions"]:
        box = jnp.broadcast_to(jnp.asarray(self.box), (dimension,))
        return jnp.where(jnp.asarray(self.periodic_axes(dimension)), box, jnp.inf)

    def fractional(self, position: Vectors) -> Vectors:
        return position / jnp.broadcast_to(jnp.asarray(self.box).astype(position.dtype), position.shape)


class Triclinic(ParticleSpace):
    """A cell of any shape that repeats along some or all of its lattice vectors.

    Attributes:
        matrix: one lattice vector per row, in any orientation, as in ASE; a leaf.
        axes: which lattice vectors repeat; `None` for all.
        is_fractional: whether positions are stored in units of the lattice vectors. Displacements, forces and momenta
            are always real.
    """

    matrix: Float[Array, "dimensions dimensions"]
    axes: tuple[bool, ...] | None = static(default=None)
    is_fractional: bool = static(default=False)

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        return _axes(self.axes, dimension)

    def _matrices(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        matrix = jnp.asarray(self.matrix)
        return matrix.astype(like.dtype), jnp.linalg.inv(matrix).astype(like.dtype)

    def shift(self, position: Vectors, displacement: Vectors) -> Vectors:
        matrix, inverse = self._matrices(position)
        fraction = position if self.is_fractional else _matmul(position, inverse)
        moved = fraction + _matmul(displacement, inverse)
        mask = np.array(self.periodic_axes(position.shape[-1]))
        wrapped = jnp.where(mask, _wrap(moved, jnp.ones((), moved.dtype)), moved)
        if self.is_fractional:
            return wrapped
        # adding whole lattice vectors leaves the coordinates of a particle that crossed no face unrounded
        return position + displacement + _matmul(jnp.round(wrapped - moved), matrix)

    def pull_back(self, position: Vectors, gradient: Vectors) -> Vectors:
        return _matmul(gradient, self._matrices(position)[1].T) if self.is_fractional else gradient

    def separation(self, a: Components, b: Components) -> Components:
        matrix, inverse = self._matrices(a[0])
        delta = tuple(x - y for x, y in zip(a, b, strict=True))
        fraction = delta if self.is_fractional else product(delta, inverse)
        wound = tuple(jnp.round(f) if p else None for f, p in zip(fraction, self.periodic_axes(len(a)), strict=True))
        if self.is_fractional:
            return product(tuple(f if w is None else f - w for f, w in zip(fraction, wound, strict=True)), matrix)
        return tuple(
            d - sum(w * matrix[i, k] for i, w in enumerate(wound) if w is not None) for k, d in enumerate(delta)
        )

    def shortest(self, delta: Components) -> Components:
        repeats = np.flatnonzero(self.periodic_axes(len(delta)))
        return shortest(delta, jnp.asarray(self.matrix)[repeats].astype(delta[0].dtype)) if repeats.size else delta

    def cell(self, dimension: int) -> Float[Array, "dimensions dimensions"]:
        return jnp.asarray(self.matrix)

    def fractional(self, position: Vectors) -> Vectors:
        return position if self.is_fractional else _matmul(position, self._matrices(position)[1])


def free() -> Free:
    """Return open space, in any dimension.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> print(tp.free().distance(jnp.zeros(3), jnp.array([0.0, 3.0, 4.0])))
        5.0
    """
    return Free()


def periodic(
    box: Real[ArrayLike, ""] | Real[ArrayLike, "dimensions"] | Sequence[float], *, axes: Sequence[bool] | None = None
) -> Periodic:
    """Return a rectangular periodic box, in any dimension. Positions are wrapped into `[0, box)`.

    Args:
        box: side length, one number or one per axis; length.
        axes: which axes repeat, one boolean per axis; all by default. The space is open along the others.

    Raises:
        ValueError: a side is not positive, or the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.periodic(10.0)
        >>> print(space.displacement(jnp.array([9.5, 1.0]), jnp.array([0.5, 1.0])))
        [-1.  0.]
    """
    wanted = "one side length or one per axis (use tp.triclinic(cell) for a matrix, axes= for open axes)"
    sides = check.floats(check.array("box", box, wanted, (0, 1), positive=True))
    if np.shape(sides) == (0,):
        raise ValueError(f"box: expected {wanted}, got an empty array.")
    return Periodic(box=sides, axes=_checked_axes(axes, np.shape(sides)[0] if np.ndim(sides) else None))


def triclinic(
    cell: Real[ArrayLike, "dimensions dimensions"] | Sequence[Sequence[float]],
    *,
    axes: Sequence[bool] | None = None,
    fractional: bool = False,
) -> Triclinic:
    """Return a periodic cell of any shape. Positions are wrapped into the cell.

    Args:
        cell: one lattice vector per row, in any orientation, as in ASE; length.
        axes: which lattice vectors repeat, one boolean per vector; all by default. An open axis still needs a vector,
            any that makes the matrix invertible.
        fractional: store positions in units of the lattice vectors. Displacements, forces and momenta stay real.

    Raises:
        ValueError: the matrix is not square or not invertible.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.triclinic([[4.0, 0.0], [2.0, 4.0]])
        >>> print(space.displacement(jnp.array([2.0, 3.5]), jnp.array([0.5, 0.0])))
        [-0.5 -0.5]
    """
    wanted = "a square matrix with one lattice vector per row"
    matrix = check.floats(check.array("cell", cell, wanted, (2,)))
    if matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"cell: expected {wanted}, got shape {matrix.shape}.")
    if (numbers := known(matrix)) is not None and not abs(np.linalg.det(numbers)) > 0:
        raise ValueError(
            f"cell: expected lattice vectors that span a volume, got\n{numbers}\nFor an open axis, pass any vector "
            "outside the plane of the others and name the axis by axes=."
        )
    return Triclinic(
        matrix=matrix,
        axes=_checked_axes(axes, matrix.shape[0]),
        is_fractional=check.flag("fractional", fractional),
    )


def check_space(space: SpaceLike) -> Space:
    """Return the one space of a group of particles; refuse a tree of spaces."""
    found = as_space(space)
    if not isinstance(found, Space):
        raise ValueError(
            "space: expected one space, got a tree of spaces. Make one energy per group of particles and add them."
        )
    return found


def separation(space: SpaceLike, a: Components, b: Components, *, far: bool = False) -> Components:
    """Return the displacement from `b` to `a` component by component, in any space.

    A particle space never stacks the components. A user's pair of functions is called on stacked vectors, which is
    slower and equally correct.

    Args:
        space: one space.
        a: points, one array per component.
        b: points, one array per component.
        far: whether displacements beyond half the smallest height of a cell have to be the shortest, too.
    """
    found = as_space(space)
    if isinstance(found, ParticleSpace):
        near = found.separation(a, b)
        return found.shortest(near) if far else near
    first, second = jnp.broadcast_arrays(jnp.stack(a, axis=-1), jnp.stack(b, axis=-1))
    one = found.displacement
    for _ in range(first.ndim - 1):
        # a user's function is written for one pair of points
        one = jax.vmap(one) if isinstance(found, FunctionSpace) else one
    return unstack(one(first, second))


def check_cutoff(space: Space, cutoff: jax.Array | float, dimension: int) -> Bool[Array, ""]:
    """Refuse a cutoff beyond half the smallest height of the cell.

    Returns:
        Whether the cutoff is allowed, for boxes whose numbers are traced. An infinite cutoff means none.
    """
    if not isinstance(space, ParticleSpace) or space.cell(dimension) is None:
        return jnp.asarray(True)
    if any(known(x) is None for x in (*jax.tree.leaves(space), cutoff)):
        heights = space.heights(dimension)
        assert heights is not None
        return jnp.asarray(cutoff).astype(heights.dtype) <= jnp.min(heights) / 2
    # a box that is known inside jit is checked there, too
    with jax.ensure_compile_time_eval():
        heights = np.asarray(space.heights(dimension))
    half, allowance = float(np.min(heights)) / 2, 1 + 4 * float(np.finfo(heights.dtype).eps)
    if not float(cutoff) <= half * allowance:
        raise ValueError(
            f"cutoff: the minimum image allows at most half of the smallest box height, {half:.6g}, got "
            f"{float(cutoff):.6g}. Use a larger box, replicate the cell, or truncate the potential at a smaller "
            "cutoff, e.g. tp.shifted(u, cutoff=...)."
        )
    return jnp.asarray(True)


def volume_of(space: SpaceLike | None, volume: ArrayLike | None, dimension: int) -> ArrayLike:
    """Return the volume that was passed, or else that of the space."""
    if volume is not None:
        return volume
    found = None if space is None else check_space(space)
    if not isinstance(found, ParticleSpace):
        raise ValueError("volume: expected one, since this space has none. Pass volume=...")
    return found.volume(dimension)


def _nearest(delta: jax.Array, side: jax.Array) -> jax.Array:
    # one division for all pairs: the compiler would store the result of a division per pair
    return delta - side * jnp.round(delta * (1 / side))


def _wrap(x: jax.Array, side: jax.Array) -> jax.Array:
    # x - floor(x / side) * side can round up to `side` itself for a tiny negative x
    wrapped = x - side * jnp.floor(x / side)
    return jnp.where(wrapped >= side, wrapped - side, wrapped)


def _matmul(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    # by default, accelerators multiply matrices in a lower precision than that of the dtype
    return jnp.matmul(vectors, matrix, precision=jax.lax.Precision.HIGHEST)


def _axes(axes: tuple[bool, ...] | None, dimension: int) -> tuple[bool, ...]:
    if axes is None:
        return (True,) * dimension
    if len(axes) != dimension:
        raise ValueError(f"axes: expected one boolean per coordinate, {dimension}, got {len(axes)}.")
    return axes


def _checked_axes(axes: Sequence[bool] | None, dimension: int | None) -> tuple[bool, ...] | None:
    if axes is None:
        return None
    given = tuple(axes) if isinstance(axes, list | tuple | np.ndarray) else ()
    if not given or not all(isinstance(axis, bool | np.bool_) for axis in given) or dimension not in (None, len(given)):
        raise ValueError(f"axes: expected {dimension or 'one or more'} booleans, one per axis, got {axes!r}.")
    return given
