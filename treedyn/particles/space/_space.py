"""The boxes that particles live in: free, periodic, triclinic, with any axes open, in any dimension.

A leaf holds points: its last axis has the coordinates. Next to the `shift` and `displacement` of every space these have
`separation`, the displacement *component by component*: pair kernels keep x, y and z in arrays of their own, because
stacking them inside a fused loop costs a factor of 2 to 5.

Minimum image is exact for every pair closer than half of the smallest height of the cell. `check_cutoff` refuses a
cutoff beyond that.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import _check as check
from treedyn._struct import static
from treedyn.space import FunctionSpace, Space, as_space
from treedyn.tree import known

Components = tuple[jax.Array, ...]


class ParticleSpace(Space):
    """Hold what all boxes share."""

    point_ndim: ClassVar[int] = 1
    translation_invariant: ClassVar[bool] = True
    flat: ClassVar[bool] = True

    @abstractmethod
    def separation(self, a: Components, b: Components) -> Components:
        """Return the displacement from `b` to `a`, every component an array of its own."""

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the shortest vector that leads from `b` to `a`, in real coordinates; `[..., d]`."""
        return jnp.stack(self.separation(unstack(a), unstack(b)), axis=-1)

    def distance(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the distance between `a` and `b`; its gradient is zero, not NaN, where they coincide; `[...]`."""
        square = jnp.sum(self.displacement(a, b) ** 2, axis=-1)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)

    @abstractmethod
    def cell(self, dimension: int) -> jax.Array | None:
        """Return the cell, one lattice vector a row, `[d, d]`; `None` where there is none."""

    @abstractmethod
    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        """Tell for every lattice vector whether the space repeats along it."""

    @abstractmethod
    def fractional(self, position: jax.Array) -> jax.Array:
        """Return coordinates in units of the lattice vectors; `[..., d]`."""

    def heights(self, dimension: int) -> jax.Array | None:
        """Return the distance between opposite faces of the cell for every axis, `[d]`; infinite where it is open."""
        cell = self.cell(dimension)
        if cell is None:
            return None
        height = 1 / jnp.linalg.norm(jnp.linalg.inv(cell), axis=0)
        return jnp.where(jnp.asarray(self.periodic_axes(dimension)), height, jnp.inf)

    def volume(self, dimension: int) -> jax.Array:
        """Return the volume of the cell (area in two dimensions)."""
        cell = self.cell(dimension)
        if cell is None:
            raise ValueError("volume: a free space has none; use tp.periodic(box) or pass volume yourself")
        return jnp.abs(jnp.linalg.det(cell))


class Free(ParticleSpace):
    """Hold particles in open space."""

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position + displacement`."""
        return position + displacement

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return `gradient`."""
        return gradient

    def separation(self, a: Components, b: Components) -> Components:
        """Return `a - b`."""
        return tuple(x - y for x, y in zip(a, b, strict=True))

    def cell(self, dimension: int) -> None:
        """Return `None`."""
        return None

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        """Return `False` for every axis."""
        return (False,) * dimension

    def fractional(self, position: jax.Array) -> jax.Array:
        """Return `position`: the unit vectors serve as lattice vectors."""
        return position


class Periodic(ParticleSpace):
    """Hold particles in a rectangular box that repeats along some or all axes.

    Attributes:
        box: side length, a scalar or `[d]`; a leaf, so energies can be differentiated with respect to it.
        axes: which axes repeat; `None` for all.
    """

    box: jax.Array | float
    axes: tuple[bool, ...] | None = static(default=None)

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        """Tell for every axis whether it repeats."""
        return _axes(self.axes, dimension)

    def sides(self, like: jax.Array, dimension: int) -> Components:
        """Return the side length along every axis in the dtype of `like`."""
        return unstack(jnp.broadcast_to(jnp.asarray(self.box).astype(like.dtype), (dimension,)))

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position + displacement`, wrapped into `[0, box)` along the periodic axes."""
        moved = position + displacement
        side = jnp.broadcast_to(jnp.asarray(self.box).astype(moved.dtype), moved.shape)
        return jnp.where(self._mask(moved), _wrap(moved, side), moved)

    def _mask(self, x: jax.Array) -> np.ndarray:
        return np.array(self.periodic_axes(x.shape[-1]))

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return `gradient`."""
        return gradient

    def separation(self, a: Components, b: Components) -> Components:
        """Return `a - b` with the nearest image of `b` along every periodic axis."""
        sides = self.sides(a[0], len(a))
        return tuple(
            _nearest(x - y, side) if periodic else x - y
            for x, y, side, periodic in zip(a, b, sides, self.periodic_axes(len(a)), strict=True)
        )

    def cell(self, dimension: int) -> jax.Array:
        """Return the diagonal matrix of the sides."""
        return jnp.diag(jnp.broadcast_to(jnp.asarray(self.box), (dimension,)))

    def heights(self, dimension: int) -> jax.Array:
        """Return the sides, infinite where the axis is open."""
        box = jnp.broadcast_to(jnp.asarray(self.box), (dimension,))
        return jnp.where(jnp.asarray(self.periodic_axes(dimension)), box, jnp.inf)

    def fractional(self, position: jax.Array) -> jax.Array:
        """Return coordinates in units of the sides."""
        return position / jnp.broadcast_to(jnp.asarray(self.box).astype(position.dtype), position.shape)


class Triclinic(ParticleSpace):
    """Hold particles in a cell of any shape that repeats along some or all of its lattice vectors.

    Attributes:
        matrix: one lattice vector a row, `[d, d]`, as in ASE; any orientation. A leaf.
        axes: which lattice vectors repeat; `None` for all.
        is_fractional: whether positions are stored in units of the lattice vectors. Displacements, forces and momenta
            are real either way.
    """

    matrix: jax.Array
    axes: tuple[bool, ...] | None = static(default=None)
    is_fractional: bool = static(default=False)

    def periodic_axes(self, dimension: int) -> tuple[bool, ...]:
        """Tell for every lattice vector whether the space repeats along it."""
        return _axes(self.axes, dimension)

    def _matrices(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        matrix = jnp.asarray(self.matrix)
        return matrix.astype(like.dtype), jnp.linalg.inv(matrix).astype(like.dtype)

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position` moved by a real displacement, wrapped into the cell along the periodic axes."""
        matrix, inverse = self._matrices(position)
        fraction = position if self.is_fractional else _matmul(position, inverse)
        moved = fraction + _matmul(displacement, inverse)
        mask = np.array(self.periodic_axes(position.shape[-1]))
        wrapped = jnp.where(mask, _wrap(moved, jnp.ones((), moved.dtype)), moved)
        if self.is_fractional:
            return wrapped
        # Adding whole lattice vectors keeps a particle that did not cross a face exactly where arithmetic put it.
        return position + displacement + _matmul(jnp.round(wrapped - moved), matrix)

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return the gradient with respect to a real displacement."""
        return _matmul(gradient, self._matrices(position)[1].T) if self.is_fractional else gradient

    def separation(self, a: Components, b: Components) -> Components:
        """Return the real displacement from the nearest image of `b` to `a`."""
        matrix, inverse = self._matrices(a[0])
        delta = tuple(x - y for x, y in zip(a, b, strict=True))
        fraction = delta if self.is_fractional else _product(delta, inverse)
        wound = tuple(jnp.round(f) if p else None for f, p in zip(fraction, self.periodic_axes(len(a)), strict=True))
        if self.is_fractional:
            return _product(tuple(f if w is None else f - w for f, w in zip(fraction, wound, strict=True)), matrix)
        return tuple(
            d - sum(w * matrix[i, k] for i, w in enumerate(wound) if w is not None) for k, d in enumerate(delta)
        )

    def cell(self, dimension: int) -> jax.Array:
        """Return the matrix of lattice vectors."""
        return jnp.asarray(self.matrix)

    def fractional(self, position: jax.Array) -> jax.Array:
        """Return coordinates in units of the lattice vectors."""
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


def periodic(box: Any, *, axes: Sequence[bool] | None = None) -> Periodic:
    """Return a rectangular periodic box, in any dimension.

    Args:
        box: side length, a scalar or `[d]`; length units.
        axes: which axes repeat, `d` booleans; all by default. Along the others the space is open.

    Returns:
        A space. Positions are wrapped into `[0, box)`.

    Raises:
        ValueError: a side is not positive, or the shapes do not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.periodic(10.0)
        >>> print(space.displacement(jnp.array([9.5, 1.0]), jnp.array([0.5, 1.0])))
        [-1.  0.]
    """
    wanted = "a side length or one per axis (a matrix goes to tp.triclinic(cell), and open axes are named by axes=)"
    sides = check.floats(check.array("box", box, wanted, (0, 1), positive=True))
    if np.shape(sides) == (0,):
        raise ValueError(f"box: expected {wanted}, got none")
    return Periodic(box=sides, axes=_checked_axes(axes, np.shape(sides)[0] if np.ndim(sides) else None))


def triclinic(cell: Any, *, axes: Sequence[bool] | None = None, fractional: bool = False) -> Triclinic:
    """Return a periodic cell of any shape.

    Args:
        cell: one lattice vector a row, `[d, d]`, any orientation, as in ASE.
        axes: which lattice vectors repeat, `d` booleans; all by default. Open ones still need a vector, any that makes
            the matrix invertible.
        fractional: store positions in units of the lattice vectors. Displacements, forces and momenta stay real.

    Returns:
        A space. Positions are wrapped into the cell.

    Raises:
        ValueError: the matrix is not square or not invertible.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import particles as tp
        >>> space = tp.triclinic([[4.0, 0.0], [2.0, 4.0]])
        >>> print(space.displacement(jnp.array([2.0, 3.5]), jnp.array([0.5, 0.0])))
        [-0.5 -0.5]
    """
    matrix = check.floats(check.array("cell", cell, "a square matrix, one lattice vector a row", (2,)))
    if matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(f"cell: expected a square matrix, one lattice vector a row, got shape {matrix.shape}")
    if (numbers := known(matrix)) is not None and not abs(np.linalg.det(numbers)) > 0:
        raise ValueError(
            f"cell: the lattice vectors must span a volume, got\n{numbers}\nGive open axes any vector "
            "that is not in the plane of the others, and name them by axes="
        )
    return Triclinic(
        matrix=matrix,
        axes=_checked_axes(axes, matrix.shape[0]),
        is_fractional=check.flag("fractional", fractional),
    )


def separation(space: Any, a: Components, b: Components) -> Components:
    """Return the displacement from `b` to `a` component by component, in any space.

    A space of the library does it without ever stacking the components; a user's own pair of functions is called on
    stacked vectors, which is slower and just as right.
    """
    space = as_space(space)
    if isinstance(space, ParticleSpace):
        return space.separation(a, b)
    first, second = jnp.broadcast_arrays(jnp.stack(a, axis=-1), jnp.stack(b, axis=-1))
    one = space.displacement
    for _ in range(first.ndim - 1):
        # A user's function is written for one pair of points.
        one = jax.vmap(one) if isinstance(space, FunctionSpace) else one
    return unstack(one(first, second))


def check_cutoff(space: Any, cutoff: Any, dimension: int) -> jax.Array:
    """Refuse a cutoff that minimum image does not allow.

    Args:
        space: a space.
        cutoff: the largest distance at which pairs interact; infinity where there is no cutoff.
        dimension: number of coordinates of a point.

    Returns:
        Whether the cutoff is allowed: for traced boxes, whose numbers are not known yet.

    Raises:
        ValueError: box and cutoff are known, and the cutoff is beyond half of the smallest height of the cell.
    """
    if not isinstance(space, ParticleSpace) or space.cell(dimension) is None:
        return jnp.asarray(True)
    if any(known(x) is None for x in (*jax.tree.leaves(space), cutoff)):
        heights = space.heights(dimension)
        assert heights is not None
        return jnp.asarray(cutoff).astype(heights.dtype) <= jnp.min(heights) / 2
    # inside jit, too, a box that is known now is checked now
    with jax.ensure_compile_time_eval():
        heights = np.asarray(space.heights(dimension))
    half, allowance = float(np.min(heights)) / 2, 1 + 4 * float(np.finfo(heights.dtype).eps)
    if not float(cutoff) <= half * allowance:
        raise ValueError(
            f"cutoff: minimum image allows at most half of the smallest box height, {half:.6g}, got "
            f"{float(cutoff):.6g}. Use a larger box, replicate the cell, or truncate the potential at a smaller "
            "cutoff, e.g. tp.shifted(u, cutoff=...)"
        )
    return jnp.asarray(True)


def unstack(x: jax.Array) -> Components:
    """Return the last axis of an array as separate arrays."""
    return tuple(x[..., k] for k in range(x.shape[-1]))


def _nearest(delta: jax.Array, side: jax.Array) -> jax.Array:
    # one division for all pairs; were there one for each, the compiler would write its result down for every one
    return delta - side * jnp.round(delta * (1 / side))


def _wrap(x: jax.Array, side: jax.Array) -> jax.Array:
    # x - floor(x / side) * side can round up to side itself for a tiny negative x
    wrapped = x - side * jnp.floor(x / side)
    return jnp.where(wrapped >= side, wrapped - side, wrapped)


def _matmul(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    # accelerators would otherwise round coordinates to fewer digits than their dtype has
    return jnp.matmul(vectors, matrix, precision=jax.lax.Precision.HIGHEST)


def _product(vector: Components, matrix: jax.Array) -> Components:
    rows = range(len(vector))
    return tuple(sum((vector[i] * matrix[i, k] for i in rows[1:]), vector[0] * matrix[0, k]) for k in rows)


def _axes(axes: tuple[bool, ...] | None, dimension: int) -> tuple[bool, ...]:
    if axes is None:
        return (True,) * dimension
    if len(axes) != dimension:
        raise ValueError(f"axes: {len(axes)} axes were declared, but the points have {dimension} coordinates")
    return axes


def _checked_axes(axes: Any, dimension: int | None) -> tuple[bool, ...] | None:
    if axes is None:
        return None
    given = tuple(axes) if isinstance(axes, list | tuple | np.ndarray) else ()
    if not given or not all(isinstance(axis, bool | np.bool_) for axis in given) or dimension not in (None, len(given)):
        raise ValueError(f"axes: expected {dimension or 'one boolean per axis, all'} booleans, got {axes!r}")
    return given


__all__ = ["Free", "ParticleSpace", "Periodic", "Triclinic", "free", "periodic", "triclinic"]
