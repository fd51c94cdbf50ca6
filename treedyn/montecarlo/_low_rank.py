r"""A metric with correlations between the elements of a leaf, from samples.

With positions X and forces G in units in which the best diagonal metric is 1, the metric A that minimizes the Fisher
divergence between the density and a normal one is the geometric mean of the inverse covariance of the positions and the
covariance of the forces,

$$ A\, C_X A = C_G, \qquad A = C_X^{-1/2} \big(C_X^{1/2} C_G\, C_X^{1/2}\big)^{1/2} C_X^{-1/2}. $$

Its eigenvectors with the eigenvalues furthest from 1 are the directions of the metric.
"""

from typing import ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import metric as metric_of
from treedyn import space as space_of
from treedyn import stream, tree
from treedyn._struct import Struct, static
from treedyn.metric import LowRank
from treedyn.montecarlo._estimator import Estimator
from treedyn.space import Manifold, Space
from treedyn.tree import PyTree

_CUTOFF = 2.0  # directions with an eigenvalue closer to 1 than by this factor are left out
_REGULAR = 1e-7  # covariance that is added to all directions, so that those without samples have the eigenvalue 1


class Samples(Struct):
    """The last samples of a window.

    Attributes:
        position: displacements from a fixed position, a tree with the samples along the first axis.
        force: forces, likewise.
        count: number of samples so far; further ones take the places of the first ones.
    """

    position: PyTree
    force: PyTree
    count: jax.Array


class LowRankEstimator(Estimator):
    """The rule of `low_rank`.

    Attributes:
        rank: largest number of directions of a leaf.
        samples: number of samples to keep for each of the two windows.
    """

    period: ClassVar[int] = 10
    rank: int = static()
    samples: int = static()

    def start(self, metric: PyTree, part: PyTree, space: PyTree) -> PyTree:
        def one(space: Space, mass: jax.Array, x: jax.Array) -> LowRank:
            if isinstance(space, Manifold):
                raise ValueError(
                    f"metric: low_rank expected leaves in flat space, got one on a {type(space).__name__}. Use "
                    "td.montecarlo.fisher()."
                )
            count = min(self.rank, x.size)
            return LowRank(
                mass=jnp.broadcast_to(mass, x.shape),
                directions=jnp.zeros((count, *x.shape), mass.dtype),
                factors=jnp.ones(count, mass.dtype),
            )

        masses, spaces = metric_of.masses(metric, "metric"), space_of.of_leaves(space, part)
        return jax.tree.map(one, spaces, masses, part, is_leaf=space_of.is_space)

    def begin(self, part: PyTree) -> Samples:
        empty = jax.tree.map(lambda x: jnp.zeros((self.samples, *x.shape), stream.sum_dtype(x.dtype)), part)
        return Samples(position=empty, force=empty, count=jnp.zeros((), jnp.int32))

    def add(self, carry: Samples, displacement: PyTree, force: PyTree) -> Samples:
        place = carry.count % self.samples

        def put(kept: jax.Array, x: jax.Array) -> jax.Array:
            return kept.at[place].set(tree.cast(x, kept))

        return Samples(
            position=jax.tree.map(put, carry.position, displacement),
            force=jax.tree.map(put, carry.force, force),
            count=carry.count + 1,
        )

    def mass(self, carries: Samples, old: PyTree, space: PyTree, kT: PyTree) -> PyTree:
        known = jnp.arange(self.samples, dtype=jnp.int32)[None] < carries.count[:, None]

        def one(old: LowRank, x: jax.Array, force: jax.Array) -> LowRank:
            return _fit(old, _centered(x, known), _centered(force, known), jnp.sum(known))

        return jax.tree.map(one, old, carries.position, carries.force, is_leaf=metric_of.is_metric)


def low_rank(rank: int = 10, *, samples: int = 80) -> Estimator:
    r"""Build the rule for a mass of every element and correlations along a few directions of every leaf.

    It minimizes the Fisher divergence between the density and a normal one, like `fisher`, but for a density with
    correlated elements. A step costs `rank` products of vectors more, and the samples of two windows are in memory.

    Args:
        rank: largest number of directions of a leaf, at least 1.
        samples: number of samples to keep for each of the two windows, at least 2.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: ((x[0] - x[1]) ** 2 / 1e-4 + (x[0] + x[1]) ** 2) / 4  # a narrow diagonal
        >>> chain = td.warm_up(td.nuts(energy, dt=0.01), steps=300, metric=td.montecarlo.low_rank(rank=2))
        >>> state = td.run(chain, chain.init(jax.random.key(0), jnp.zeros(2)), steps=300).state
        >>> width = chain.tuned(state).splitting.mass.velocity(state.position, jnp.eye(2)[0])
        >>> print(width.round(2))  # the first row of the covariance
        [0.5 0.5]

    Reference:
        Seyboldt, Carlson, Carpenter, arXiv:2603.18845 (2026).
    """
    return LowRankEstimator(rank=check.integer("rank", rank, 1), samples=check.integer("samples", samples, 2))


def _centered(x: jax.Array, known: jax.Array) -> jax.Array:
    """Return all samples less their mean, `[samples, elements]`, and zero where there is none."""
    rows = x.reshape(known.size, -1)
    there = known.reshape(-1, 1)
    mean = jnp.sum(jnp.where(there, rows, 0), axis=0, keepdims=True) / jnp.maximum(jnp.sum(there), 1).astype(x.dtype)
    return jnp.where(there, rows - mean, 0)


def _fit(old: LowRank, x: jax.Array, force: jax.Array, count: jax.Array) -> LowRank:
    """Return the metric for centered samples, and `old` where they say nothing."""
    wide, stiff = (jnp.mean(jnp.square(y), axis=0) for y in (x, force))
    before = tree.cast(old.mass.reshape(-1), x)
    mass = jnp.sqrt(stiff / wide)
    known = jnp.isfinite(mass) & (mass > 0) & jnp.isfinite(before)
    mass = jnp.where(known, mass, before)
    root = jnp.where(known, jnp.sqrt(mass), 1)[None]
    x, force = (jnp.where(known[None], y, 0) for y in (x * root, force / root))
    scale = jnp.sqrt(jnp.sum(jnp.square(x)) / jnp.maximum(count * jnp.sum(known), 1).astype(x.dtype))
    x, force = x / scale, force / scale

    # all that the samples know is in the space that they span
    elements, rows = x.shape[1], 2 * x.shape[0]
    basis = jnp.eye(elements, dtype=x.dtype) if elements <= rows else jnp.linalg.qr(jnp.concatenate([x, force]).T)[0]
    x, force = x @ basis, force @ basis
    least = max(_REGULAR, 10 * float(jnp.finfo(x.dtype).eps))
    unit = least * jnp.eye(basis.shape[1], dtype=x.dtype)
    wide, stiff = (y.T @ y / jnp.maximum(count, 1).astype(y.dtype) + unit for y in (x, force))
    value, vector = jnp.linalg.eigh(_geometric_mean(wide, stiff))
    far = jnp.abs(jnp.log(value))
    _, best = jax.lax.top_k(jnp.where(far > jnp.log(_CUTOFF), far, 0), old.factors.size)
    use = far[best] > jnp.log(_CUTOFF)
    directions = jnp.where(use[:, None], (basis @ vector[:, best]).T, 0).reshape(-1, *old.mass.shape)
    new = LowRank(mass=mass.reshape(old.mass.shape), directions=directions, factors=jnp.where(use, value[best], 1))
    good = jnp.all(jnp.isfinite(value)) & jnp.all(value > 0)
    return tree.where(good, jax.tree.map(tree.cast, new, old), old)


def _geometric_mean(wide: jax.Array, stiff: jax.Array) -> jax.Array:
    """Return the symmetric matrix A with A wide A = stiff."""

    def power(matrix: jax.Array, exponent: float) -> jax.Array:
        value, vector = jnp.linalg.eigh(matrix)
        return (vector * value[None] ** exponent) @ vector.T

    root, inverse = power(wide, 0.5), power(wide, -0.5)
    return inverse @ power(root @ stiff @ root, 0.5) @ inverse
