r"""What a momentum means: the `Metric` contract, the diagonal one that `mass=` stands for, and metrics by prefix tree.

A metric acts on one leaf. It says how fast a momentum moves the position, $v = M^{-1} p$, what kinetic energy it has,
$K = \frac12 p \cdot M^{-1} p$, how it is distributed in a heat bath, $p \sim N(0, kT M)$, and which elements can move
at all. Like spaces, metrics compose: `mass={"a": 2.0, "b": my_metric}`.
"""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import schedule, tree
from treedyn import space as space_of
from treedyn._struct import Struct
from treedyn.space import Manifold, Space
from treedyn.tree import PyTree


class Metric(Struct):
    """The kinetic energy of one leaf as a function of its momentum, and what follows from it.

    It must not depend on where the leaf is, which would push on it: `init` checks that. On a `Manifold`, velocities and
    momenta are tangent at the position.
    """

    @abstractmethod
    def velocity(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return the velocity that belongs to a momentum."""

    @abstractmethod
    def twice_kinetic(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return an array whose sum is twice the kinetic energy."""

    @abstractmethod
    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        """Return a momentum of the Maxwell-Boltzmann distribution from standard normal noise; `kT` broadcasts."""

    @abstractmethod
    def degrees(self, position: jax.Array) -> jax.Array:
        """Return the number of degrees of freedom: the directions in which the leaf can move."""


class Diagonal(Metric):
    """A mass for every element of a leaf in a flat space.

    Attributes:
        mass: shaped to broadcast against the leaf; infinite for what does not move.
    """

    mass: jax.Array

    def velocity(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return p/m."""
        return momentum / self.mass

    def twice_kinetic(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return p^2/m, element by element."""
        # in half precision p^2 overflows where the energy is far from it
        wide = momentum.astype(tree.dtype(momentum))
        return wide * wide / self.mass.astype(wide.dtype)

    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        """Return sqrt(m kT) xi; an infinite mass has no momentum, so its velocity p/m is zero whatever pushes on it."""
        finite = jnp.isfinite(self.mass)
        return jnp.where(finite, jnp.sqrt(jnp.where(finite, self.mass, 1) * kT) * noise, 0)

    def degrees(self, position: jax.Array) -> jax.Array:
        """Return the number of elements of finite mass."""
        return jnp.sum(self.mobile(position))

    def mobile(self, position: jax.Array) -> jax.Array:
        """Tell for every element whether its mass is finite."""
        return jnp.broadcast_to(jnp.isfinite(self.mass), position.shape)


class PointMass(Metric):
    """A mass for every point on a manifold.

    Attributes:
        masses: those of the coordinates, the same for all coordinates of a point.
        space: the manifold.
    """

    masses: Diagonal
    space: Manifold

    def velocity(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return p/m."""
        return self.masses.velocity(position, momentum)

    def twice_kinetic(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        """Return p^2/m, element by element."""
        return self.masses.twice_kinetic(position, momentum)

    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        """Return the tangent part of sqrt(m kT) xi."""
        return self.space.project(position, self.masses.thermal(position, noise, kT))

    def degrees(self, position: jax.Array) -> jax.Array:
        """Return the degrees of freedom of all points of finite mass."""
        return self.space.degrees(self.masses.mobile(position))


def is_metric(value: Any) -> bool:
    """Tell whether `value` is a metric."""
    return isinstance(value, Metric)


def numbers(mass: PyTree) -> PyTree:
    """Check and return what a user gave as `mass`: numbers, schedules, metrics, or a prefix tree of those.

    Raises:
        ValueError: something is none of these, or not positive.
    """

    def one(value: Any) -> Any:
        return value if is_metric(value) else schedule.numbers("mass", value, positive=True)

    return one(mass) if mass is None else jax.tree.map(one, mass, is_leaf=_is_one)


def _is_one(value: Any) -> bool:
    return is_metric(value) or schedule.is_schedule(value)


def of_leaves(mass: PyTree, space: PyTree, step: jax.Array, part: PyTree) -> PyTree:
    """Return the metric of every leaf at one step, in a tree like `part`.

    Args:
        mass: what `numbers` returned.
        space: a space, or a prefix tree of spaces.
        step: step counter, for schedules.
        part: moving part of the position.

    Raises:
        ValueError: a tree or a shape does not fit the position.
    """

    def diagonal(mass: Any, leaf: jax.Array) -> Metric:
        return mass if is_metric(mass) else Diagonal(mass=tree.align(mass, leaf, "mass"))

    def placed(metric: Metric, space: Space, leaf: jax.Array) -> Metric:
        if not isinstance(space, Manifold):
            return metric
        if not isinstance(metric, Diagonal):
            raise ValueError(
                f"mass: a {type(metric).__name__} on a {type(space).__name__} would not move freely along its "
                "geodesics, as the drift does; give one mass per point"
            )
        coordinates = metric.mass.shape[max(metric.mass.ndim - space.point_ndim, 0) :]
        if any(n != 1 for n in coordinates):
            raise ValueError(
                "mass: expected one number per point of a manifold, of shape "
                f"{leaf.shape[: leaf.ndim - space.point_ndim]}, got shape {metric.mass.shape}"
            )
        return PointMass(masses=metric, space=space)

    metrics = tree.prefix_map(diagonal, schedule.at(mass, step), part, name="mass", is_leaf=is_metric)
    return jax.tree.map(placed, metrics, space_of.of_leaves(space, part), part, is_leaf=is_metric)


def velocity(metric: PyTree, position: PyTree, momentum: PyTree) -> PyTree:
    """Return the velocity of every leaf, v = M^-1 p."""
    return _each(lambda m, x, p: m.velocity(x, p), metric, position, momentum)


def twice_kinetic(metric: PyTree, position: PyTree, momentum: PyTree) -> PyTree:
    """Return a tree of arrays whose elements add up to twice the kinetic energy."""
    return _each(lambda m, x, p: m.twice_kinetic(x, p), metric, position, momentum)


def kinetic(metric: PyTree, position: PyTree, momentum: PyTree) -> jax.Array:
    """Return the kinetic energy, sum p M^-1 p / 2."""
    return tree.total(twice_kinetic(metric, position, momentum)) / 2


@jax.jit
def thermal(metric: PyTree, position: PyTree, noise: PyTree, kT: PyTree) -> PyTree:
    """Return momenta of the Maxwell-Boltzmann distribution from standard normal noise.

    Args:
        metric: the metric of every leaf.
        position: moving part of the position.
        noise: standard normal numbers, a tree like it.
        kT: the temperature of every leaf.
    """
    return _each(lambda m, x, xi, kT: m.thermal(x, xi, kT), metric, position, noise, kT)


def degrees(metric: PyTree, position: PyTree) -> PyTree:
    """Return the degrees of freedom of every leaf."""
    return _each(lambda m, x: jnp.asarray(m.degrees(x)).astype(tree.dtype(x)), metric, position)


def check(metric: PyTree, position: PyTree) -> None:
    """Refuse metrics of a user's own that no operator here can move.

    Raises:
        ValueError: a velocity has not the shape of the leaf, or the kinetic energy depends on the position.
    """
    metrics = jax.tree.leaves(metric, is_leaf=is_metric)
    for own, path, leaf in zip(metrics, tree.paths(position), jax.tree.leaves(position), strict=True):
        if isinstance(own, Diagonal | PointMass):
            continue
        name = f"mass: the velocity of a {type(own).__name__} at position{path}"
        shape = jnp.shape(jax.eval_shape(own.velocity, leaf, leaf))
        if shape != leaf.shape:
            raise ValueError(f"{name} must have the shape of the leaf, {leaf.shape}, got {shape}")

        with jax.ensure_compile_time_eval():
            point, momentum = (tree.made_up(leaf) for _ in range(2))
            own = jax.tree.map(lambda x: tree.made_up(x) if tree.known(x) is None else x, own)

            def energy(x: jax.Array, own: Metric = own, momentum: jax.Array = momentum) -> jax.Array:
                return jnp.sum(own.twice_kinetic(x, momentum))

            value, push = jax.value_and_grad(energy)(point)
            allowed = max(1e-3, 16 * float(jnp.finfo(leaf.dtype).eps))
            pushes = float(tree.max_abs(push)) > allowed * abs(float(value))
        if pushes:
            raise ValueError(
                f"{name} depends on the position, and so does the kinetic energy, whose gradient no operator adds to "
                "the forces; use a metric that is the same everywhere, or coordinates in which it is"
            )


def masses(metric: PyTree, name: str) -> PyTree:
    """Return the masses of every leaf, shaped to broadcast.

    Raises:
        ValueError: a metric is not diagonal; `name` is what needs masses.
    """

    def one(m: Metric) -> jax.Array:
        m = m.masses if isinstance(m, PointMass) else m
        if not isinstance(m, Diagonal):
            raise ValueError(f"{name}: needs a mass for every element, got a {type(m).__name__}; leave {name} out")
        return m.mass

    return jax.tree.map(one, metric, is_leaf=is_metric)


def _each(f: Any, metric: PyTree, *rest: PyTree) -> PyTree:
    return tree.prefix_map(f, metric, *rest, name="mass", is_leaf=is_metric)


__all__ = ["Diagonal", "Metric", "PointMass", "is_metric", "kinetic", "thermal", "velocity"]
