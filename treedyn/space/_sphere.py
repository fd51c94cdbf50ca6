r"""Spheres, and the rotations of rigid bodies as points on a sphere.

A point moves along a great circle. With $\theta = |d|/R$ and the unit vectors $e = d/|d|$ and $n = x/|x|$,

$$ x' = |x| (n \cos\theta + e \sin\theta), \qquad v' = v + (v \cdot e) [(\cos\theta - 1)\, e - \sin\theta\, n]. $$

A unit quaternion is a point on the unit sphere in four dimensions. Moving it by an angle rotates the body by twice that
angle, so rotations are this sphere with R = 2. Lengths are angles of rotation, velocities are angular velocities,
forces are torques, momenta are angular momenta, and masses are moments of inertia.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn._struct import static
from treedyn.space import Manifold


class Sphere(Manifold):
    """Points at a fixed distance from the origin, `[..., d]`.

    Attributes:
        size: distance of the stored points from the origin.
        radius: arc length per angle between two stored points.
        antipodal: whether x and -x are the same point.
    """

    point_ndim: ClassVar[int] = 1
    size: jax.Array | float
    radius: jax.Array | float
    antipodal: bool = static(default=False)

    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        """Return `position` moved along the great circle that starts along `displacement`."""
        size, radius = self._numbers(position)
        cosine, sinc = _cosine_and_sinc(_square(displacement / radius))
        moved = position * cosine + (size / radius) * sinc * displacement
        # normalized, so that rounding errors do not accumulate
        return moved * (size / jnp.sqrt(_square(moved)))

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Return the tangent vector at `b` of the shortest path to `a`."""
        size, radius = self._numbers(a)
        cosine = jnp.sum(a * b, axis=-1, keepdims=True)
        sign = jnp.where(self.antipodal & (cosine < 0), -1, 1).astype(a.dtype)
        a, cosine = sign * a, sign * cosine / size**2
        path = self.project(b, a - b) / size
        square = _square(path)
        apart = square > 0
        sine = jnp.sqrt(jnp.where(apart, square, 1))
        found = radius * path * jnp.where(apart, jnp.arctan2(sine, cosine) / sine, 1)
        # all paths to the opposite point have the same length
        return jnp.where(~apart & (cosine < 0), jnp.asarray(np.pi, a.dtype) * radius * self._any_tangent(b), found)

    def _any_tangent(self, position: jax.Array) -> jax.Array:
        """Return a unit tangent vector, made from the axis closest to the tangent space."""
        axis = jnp.argmin(jnp.abs(position), axis=-1)
        vector = self.project(position, jax.nn.one_hot(axis, position.shape[-1], dtype=position.dtype))
        return vector / jnp.sqrt(_square(vector))

    def pull_back(self, position: jax.Array, gradient: jax.Array) -> jax.Array:
        """Return the tangent part of `gradient`, per arc length."""
        size, radius = self._numbers(position)
        return (size / radius) * self.project(position, gradient)

    def transport(self, position: jax.Array, displacement: jax.Array, vector: jax.Array) -> jax.Array:
        """Return `vector` transported along the great circle."""
        size, radius = self._numbers(position)
        square = _square(displacement / radius)
        _, sinc = _cosine_and_sinc(square)
        _, half = _cosine_and_sinc(square / 4)
        # (cos - 1)/|d|^2 without cancellation
        along = jnp.sum(vector * displacement, axis=-1, keepdims=True) / radius**2
        moved = vector - along * (displacement * half**2 / 2 + (radius / size) * sinc * position)
        return self.project(self.shift(position, displacement), moved)

    def project(self, position: jax.Array, vector: jax.Array) -> jax.Array:
        """Return `vector` without its normal part."""
        return vector - position * (jnp.sum(position * vector, axis=-1, keepdims=True) / _square(position))

    def degrees(self, mobile: jax.Array) -> jax.Array:
        """Return d - 1 for every point that can move."""
        return (mobile.shape[-1] - 1) * jnp.sum(jnp.all(mobile, axis=-1))

    def contains(self, position: jax.Array) -> jax.Array:
        """Tell whether all points are at the distance `size` from the origin."""
        least = 4 if self.antipodal else 2
        if position.ndim == 0 or position.shape[-1] < least or (self.antipodal and position.shape[-1] != least):
            wanted = "unit quaternions [..., 4]" if self.antipodal else "points [..., d] with d >= 2"
            raise ValueError(f"expected {wanted}, got shape {position.shape}. Put the coordinates on the last axis.")
        size, _ = self._numbers(position)
        allowed = 10 * float(jnp.finfo(position.dtype).eps) ** 0.5
        return jnp.all(jnp.abs(jnp.sqrt(_square(position)) / size - 1) < jnp.asarray(allowed, position.dtype))

    def _numbers(self, like: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.asarray(self.size).astype(like.dtype), jnp.asarray(self.radius).astype(like.dtype)


def sphere(radius: Real[ArrayLike, ""] = 1.0) -> Sphere:
    """Build the surface of a sphere in d dimensions, a circle for `d = 2`.

    Positions are `[..., d]`, at the distance `radius` from the origin. Momenta and forces are tangent vectors in the
    same coordinates, and every point has d - 1 degrees of freedom. Masses are one number, or one per point.

    Args:
        radius: radius, positive; units of length.

    Raises:
        ValueError: `radius` is not one positive number.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> north, east = jnp.array([0.0, 0.0, 1.0]), jnp.array([jnp.pi / 2, 0.0, 0.0])
        >>> print(jnp.abs(td.sphere().shift(north, east)).round(6))
        [1. 0. 0.]
    """
    size = check.number("radius", radius, positive=True)
    return Sphere(size=size, radius=size)


def rotations() -> Sphere:
    r"""Build the space of rotations in three dimensions, as unit quaternions `[..., 4]`.

    The length of a displacement is the angle of rotation, so masses are moments of inertia (one per body: a spherical
    top), and the angular momentum in the laboratory is the vector part of $p \bar q$. Since q and -q are the same
    rotation, an energy must be the same for both.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> still = jnp.array([1.0, 0.0, 0.0, 0.0])
        >>> about_x = td.rotations().shift(still, jnp.array([0.0, jnp.pi, 0.0, 0.0]))
        >>> print(jnp.abs(about_x).round(6))
        [0. 1. 0. 0.]
    """
    return Sphere(size=1.0, radius=2.0, antipodal=True)


def _square(vector: jax.Array) -> jax.Array:
    return jnp.sum(vector * vector, axis=-1, keepdims=True)


def _cosine_and_sinc(square: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return cos(t) and sin(t)/t as functions of t^2, with correct derivatives of all orders at 0."""
    small = square < 1e-2
    s = jnp.where(small, square, 0)
    t = jnp.sqrt(jnp.where(small, 1, square))
    cosine = 1 - s / 2 * (1 - s / 12 * (1 - s / 30 * (1 - s / 56 * (1 - s / 90))))
    sinc = 1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110))))
    return jnp.where(small, cosine, jnp.cos(t)), jnp.where(small, sinc, jnp.sin(t) / t)
