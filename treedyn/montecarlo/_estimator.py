r"""Masses from samples: the estimates with which all directions oscillate at the same frequency.

The best mass in a harmonic well is its stiffness. Two estimates of it are

$$ m = \frac{kT}{\mathrm{Var}(x)} \qquad\text{and}\qquad m = \sqrt{\frac{\mathrm{Var}(F)}{\mathrm{Var}(x)}}. $$

The second minimizes the Fisher divergence between the density and a normal one with independent elements. In such a
well, forces are proportional to positions, so two samples give it exactly, however correlated they are.
"""

from abc import abstractmethod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import metric as metric_of
from treedyn import space as space_of
from treedyn import stream, tree
from treedyn._struct import Struct
from treedyn.space import Manifold, Space
from treedyn.tree import PyTree


class Estimator(Struct):
    """A rule for the masses of a tree, from samples of its positions and forces.

    Attributes:
        period: number of steps from one estimate to the next.
    """

    period: ClassVar[int] = 1

    @abstractmethod
    def start(self, metric: PyTree, part: PyTree, space: PyTree) -> PyTree:
        """Return the masses before the first sample, a tree like `part`.

        Args:
            metric: the metric of every leaf at the beginning.
            part: the moving part of a position.
            space: the tree of spaces.
        """

    @abstractmethod
    def begin(self, part: PyTree) -> PyTree:
        """Return the carry of a window without samples, arrays."""

    @abstractmethod
    def add(self, carry: PyTree, displacement: PyTree, force: PyTree) -> PyTree:
        """Return the carry with one more sample: a displacement from a fixed position, and the force there."""

    @abstractmethod
    def mass(self, carries: PyTree, old: PyTree, space: PyTree, kT: PyTree) -> PyTree:
        """Return the masses, and `old` where the samples say nothing.

        Args:
            carries: the carries of several windows, stacked along the first axis.
            old: the masses so far.
            space: the tree of spaces.
            kT: temperature.
        """


class DiagonalEstimator(Estimator):
    """A rule for one mass per element, from the variances of positions and forces."""

    @abstractmethod
    def of(self, wide: jax.Array, stiff: jax.Array, count: jax.Array, kT: jax.Array) -> jax.Array:
        """Return the mass for the variances of a position and of its force, of that many samples."""

    def start(self, metric: PyTree, part: PyTree, space: PyTree) -> PyTree:
        def one(space: Space, mass: jax.Array, x: jax.Array) -> jax.Array:
            coordinates = space.point_ndim if isinstance(space, Manifold) else 0
            return jnp.broadcast_to(mass, x.shape[: x.ndim - coordinates] + (1,) * coordinates)

        masses, spaces = metric_of.masses(metric, "metric"), space_of.of_leaves(space, part)
        return jax.tree.map(one, spaces, masses, part, is_leaf=space_of.is_space)

    def begin(self, part: PyTree) -> PyTree:
        return _VARIANCES.init((part, part))

    def add(self, carry: PyTree, displacement: PyTree, force: PyTree) -> PyTree:
        return _VARIANCES.update(carry, (displacement, force))

    def mass(self, carries: PyTree, old: PyTree, space: PyTree, kT: PyTree) -> PyTree:
        found = _VARIANCES.result(stream.pool(_VARIANCES, carries))
        wide, stiff = found.variance

        def one(space: Space, old: jax.Array, wide: jax.Array, stiff: jax.Array) -> jax.Array:
            if isinstance(space, Manifold):  # one mass for a point
                axes = tuple(range(-space.point_ndim, 0))
                wide, stiff = (jnp.mean(x, axes, keepdims=True) for x in (wide, stiff))
            new = self.of(wide, stiff, found.count.astype(wide.dtype), jnp.asarray(kT, wide.dtype))
            known = jnp.isfinite(new) & (new > 0) & jnp.isfinite(old)
            return jnp.where(known, tree.cast(new, old), old)

        spaces = space_of.of_leaves(space, old)
        return jax.tree.map(one, spaces, old, wide, stiff, is_leaf=space_of.is_space)


class FisherDivergence(DiagonalEstimator):
    """The rule m = sqrt(Var(F)/Var(x))."""

    def of(self, wide: jax.Array, stiff: jax.Array, count: jax.Array, kT: jax.Array) -> jax.Array:
        return jnp.sqrt(stiff / wide)


class InverseVariance(DiagonalEstimator):
    """The rule m = kT/Var(x), with the variance drawn to 0.001 by the weight of five samples."""

    def of(self, wide: jax.Array, stiff: jax.Array, count: jax.Array, kT: jax.Array) -> jax.Array:
        return kT * (count + 5) / (count * wide + 5e-3)


def fisher() -> Estimator:
    r"""Build the rule $m = \sqrt{\mathrm{Var}(F)/\mathrm{Var}(x)}$ for the mass of every element.

    It minimizes the Fisher divergence between the density and a normal one with independent elements.

    Reference:
        Seyboldt, Carlson, Carpenter, arXiv:2603.18845 (2026).
    """
    return FISHER


def variance() -> Estimator:
    r"""Build the rule $m = kT/\mathrm{Var}(x)$ for the mass of every element.

    The variance of n samples is replaced by $(n \mathrm{Var}(x) + 5 \cdot 10^{-3})/(n + 5)$, as in Stan.
    """
    return InverseVariance()


def _pair(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair


_VARIANCES = stream.variance(_pair)
FISHER = FisherDivergence()
