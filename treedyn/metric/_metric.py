"""The `Metric` contract, the diagonal metric, and functions of trees of metrics."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

from treedyn import schedule, tree
from treedyn import space as space_of
from treedyn._struct import Struct
from treedyn.space import Manifold, Space
from treedyn.tree import PyTree


class Metric(Struct):
    """The kinetic energy of one leaf as a function of its momentum.

    It must not depend on the position, because no operator adds the resulting force; `init` checks that. On a
    `Manifold`, velocities and momenta are tangent at the position.
    """

    @abstractmethod
    def velocity(self, position: Float[Array, "..."], momentum: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return the velocity of a momentum, M^-1 p."""

    @abstractmethod
    def twice_kinetic(self, position: Float[Array, "..."], momentum: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return an array that sums to twice the kinetic energy, p M^-1 p."""

    @abstractmethod
    def thermal(
        self, position: Float[Array, "..."], noise: Float[Array, "..."], kT: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Return a momentum of the Maxwell-Boltzmann distribution from standard normal noise; `kT` broadcasts."""

    @abstractmethod
    def degrees(self, position: Float[Array, "..."]) -> Real[ArrayLike, ""]:
        """Return the number of degrees of freedom: the directions in which the leaf can move."""


class Diagonal(Metric):
    """One mass for every element of a leaf.

    Attributes:
        mass: masses in a shape that broadcasts against the leaf; infinite where an element cannot move.
    """

    mass: Float[Array, "..."]

    def velocity(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        return momentum / self.mass

    def twice_kinetic(self, position: jax.Array, momentum: jax.Array) -> jax.Array:
        # in half precision p^2 overflows long before the energy does
        wide = momentum.astype(tree.dtype(momentum))
        return wide * wide / self.mass.astype(wide.dtype)

    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        """Return sqrt(m kT) xi; the momentum of an infinite mass is zero."""
        finite = jnp.isfinite(self.mass)
        return jnp.where(finite, jnp.sqrt(jnp.where(finite, self.mass, 1) * kT) * noise, 0)

    def degrees(self, position: jax.Array) -> ArrayLike:
        return jnp.sum(self.mobile(position))

    def mobile(self, position: jax.Array) -> jax.Array:
        """Tell for every element whether its mass is finite."""
        return jnp.broadcast_to(jnp.isfinite(self.mass), position.shape)


class PointMass(Diagonal):
    """One mass for every point on a manifold.

    Attributes:
        mass: masses in a shape that broadcasts against the leaf, the same for all coordinates of a point.
        space: the manifold.
    """

    space: Manifold

    def thermal(self, position: jax.Array, noise: jax.Array, kT: jax.Array) -> jax.Array:
        return self.space.project(position, super().thermal(position, noise, kT))

    def degrees(self, position: jax.Array) -> ArrayLike:
        return self.space.degrees(self.mobile(position))


def is_metric(value: object) -> bool:
    """Tell whether `value` is a metric."""
    return isinstance(value, Metric)


def numbers(mass: PyTree) -> PyTree:
    """Check the argument `mass`: numbers, schedules, metrics, or a prefix tree of those.

    Args:
        mass: positive numbers, in units of mass.

    Returns:
        The same tree, with integers as floats and functions as `Schedule` nodes.

    Raises:
        ValueError: a leaf is none of these, or a number is not positive.
    """

    def one(value: Any) -> Any:
        return value if is_metric(value) else schedule.numbers("mass", value, positive=True)

    if mass is None:
        return one(mass)
    return jax.tree.map(one, mass, is_leaf=lambda x: is_metric(x) or schedule.is_schedule(x))


def of_leaves(mass: PyTree, space: PyTree, step: jax.Array, part: PyTree) -> PyTree:
    """Return the metric of every leaf at one step, in a tree like `part`.

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
                "geodesics, as the drift does. Pass one mass per point."
            )
        coordinates = metric.mass.shape[max(metric.mass.ndim - space.point_ndim, 0) :]
        if any(n != 1 for n in coordinates):
            raise ValueError(
                "mass: expected one number per point of a manifold, of shape "
                f"{leaf.shape[: leaf.ndim - space.point_ndim]}, got shape {metric.mass.shape}"
            )
        return PointMass(mass=metric.mass, space=space)

    metrics = tree.prefix_map(diagonal, schedule.at(mass, step), part, name="mass", is_leaf=is_metric)
    return jax.tree.map(placed, metrics, space_of.of_leaves(space, part), part, is_leaf=is_metric)


def velocity(metric: PyTree, position: PyTree, momentum: PyTree) -> PyTree:
    """Return the velocity of every leaf, v = M^-1 p."""
    return _each(lambda m, x, p: m.velocity(x, p), metric, position, momentum)


def twice_kinetic(metric: PyTree, position: PyTree, momentum: PyTree) -> PyTree:
    """Return a tree of arrays whose elements sum to twice the kinetic energy."""
    return _each(lambda m, x, p: m.twice_kinetic(x, p), metric, position, momentum)


def kinetic(metric: PyTree, position: PyTree, momentum: PyTree) -> Float[Array, ""]:
    """Return the kinetic energy, sum p M^-1 p / 2."""
    return tree.total(twice_kinetic(metric, position, momentum)) / 2


@jax.jit
def thermal(metric: PyTree, position: PyTree, noise: PyTree, kT: PyTree) -> PyTree:
    """Return momenta of the Maxwell-Boltzmann distribution, p ~ N(0, kT M), from standard normal noise."""
    return _each(lambda m, x, xi, kT: m.thermal(x, xi, kT), metric, position, noise, kT)


def degrees(metric: PyTree, position: PyTree) -> PyTree:
    """Return the number of degrees of freedom of every leaf."""
    return _each(lambda m, x: jnp.asarray(m.degrees(x)).astype(tree.dtype(x)), metric, position)


def check(metric: PyTree, position: PyTree) -> None:
    """Check that the operators can move the metrics of a user.

    Raises:
        ValueError: a velocity does not have the shape of the leaf, or the kinetic energy depends on the position.
    """
    metrics = jax.tree.leaves(metric, is_leaf=is_metric)
    for own, path, leaf in zip(metrics, tree.paths(position), jax.tree.leaves(position), strict=True):
        if isinstance(own, Diagonal):
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
                f"{name} depends on the position, and no operator adds the gradient of such a kinetic energy to the "
                "forces. Use a metric that is the same everywhere, or coordinates in which it is."
            )


def masses(metric: PyTree, name: str) -> PyTree:
    """Return the masses of every leaf, in a shape that broadcasts; `name` is the method that needs them.

    Raises:
        ValueError: a metric is not diagonal.
    """

    def one(m: Metric) -> jax.Array:
        if not isinstance(m, Diagonal):
            raise ValueError(f"{name}: needs a mass for every element, got a {type(m).__name__}. Leave {name} out.")
        return m.mass

    return jax.tree.map(one, metric, is_leaf=is_metric)


def _each(f: Callable[..., Any], metric: PyTree, *rest: PyTree) -> PyTree:
    return tree.prefix_map(f, metric, *rest, name="mass", is_leaf=is_metric)
