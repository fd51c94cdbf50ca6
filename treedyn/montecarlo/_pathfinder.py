r"""Pathfinder: the best of the normal approximations along the path of a quasi-Newton search.

The last m displacements $S$ of the path and changes $Y$ of the gradient give an inverse Hessian $\Sigma$ for each
of its positions: with a diagonal $\alpha$, $R$ the upper triangle of $S^T Y$, $E$ its diagonal and $B = R^{-1}$,

$$ \Sigma = \alpha + \beta \gamma \beta^T, \qquad \beta = (\alpha Y,\; S), \qquad
\gamma = \begin{pmatrix} 0 & -B \\ -B^T & B^T (E + Y^T \alpha Y)\,B \end{pmatrix}. $$

The search begins in the tails of the density and ends at the mode, which in many dimensions is far from where the
density has its weight. In between is the position x whose normal density with the mean $x - \Sigma \nabla U$ and the
covariance $\Sigma$ is closest to $e^{-U}$.
"""

import math
from collections.abc import Callable
from typing import Any, Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import noise, tree
from treedyn._state import State
from treedyn._struct import Struct
from treedyn.minimize import lbfgs
from treedyn.montecarlo._normal import Normal
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


class Spread(Struct):
    r"""A covariance $\alpha^{1/2} (1 + Q (L L^T - 1) Q^T)\, \alpha^{1/2}$.

    Attributes:
        diagonal: variances $\alpha$, `[d]`.
        frame: orthonormal columns Q, `[d, k]`.
        factor: the lower triangle L, `[k, k]`.
    """

    diagonal: Float[Array, " d"]
    frame: Float[Array, "d k"]
    factor: Float[Array, "k k"]

    def times(self, white: jax.Array) -> jax.Array:
        """Return the root of the covariance times a vector."""
        along = self.frame.T @ white
        return jnp.sqrt(self.diagonal) * (white + self.frame @ (self.factor @ along - along))

    def transposed(self, vector: jax.Array) -> jax.Array:
        """Return the transposed root of the covariance times a vector."""
        wide = jnp.sqrt(self.diagonal) * vector
        along = self.frame.T @ wide
        return wide + self.frame @ (self.factor.T @ along - along)

    @property
    def variances(self) -> Float[Array, " d"]:
        """Return the diagonal of the covariance."""
        more = jnp.sum(jnp.square(self.frame @ self.factor) - jnp.square(self.frame), axis=1)
        return self.diagonal * (1 + more)

    @property
    def log_volume(self) -> Float[Array, ""]:
        """Return half the logarithm of the determinant of the covariance."""
        return jnp.sum(jnp.log(self.diagonal)) / 2 + jnp.sum(jnp.log(jnp.diag(self.factor)))


class Pathfinder(Normal):
    """A normal density over a tree, from a path.

    Attributes:
        covariance: the covariance of the d moving elements.
        elbo: estimate of a lower bound of the logarithm of the integral of exp(-U).
    """

    covariance: Spread
    elbo: Float[Array, ""]

    def spread(self, white: jax.Array) -> jax.Array:
        return self.covariance.times(white)

    def variances(self) -> jax.Array:
        return self.covariance.variances


class Curvature(Struct):
    """The inverse Hessian along a path.

    Attributes:
        steps: the last displacements S, `[m, d]`, the newest one at the end; zero where there is none.
        changes: the changes Y of the gradient, `[m, d]`.
        diagonal: the diagonal alpha, `[d]`.
    """

    steps: Float[Array, "m d"]
    changes: Float[Array, "m d"]
    diagonal: Float[Array, " d"]

    def after(self, step: jax.Array, change: jax.Array) -> Self:
        """Return the curvature after one more displacement; one along which U does not curve upwards says nothing."""
        b = step @ change
        useful = b > jnp.finfo(b.dtype).eps * (change @ change)
        a, c = change @ (self.diagonal * change), step @ (step / self.diagonal)
        inverse = a / (b * self.diagonal) + change**2 / b - a * (step / self.diagonal) ** 2 / (b * c)
        new = self.replace(
            steps=jnp.roll(self.steps, -1, axis=0).at[-1].set(step),
            changes=jnp.roll(self.changes, -1, axis=0).at[-1].set(change),
            diagonal=1 / inverse,
        )
        return tree.where(useful & jnp.all(inverse > 0), new, self)

    def normal(self, x: jax.Array, gradient: jax.Array) -> tuple[jax.Array, Spread]:
        """Return the mean and the covariance of the normal density of a position."""
        products = jnp.triu(self.steps @ self.changes.T)
        empty = jnp.diag(products) == 0
        triangle = jnp.linalg.inv(products + jnp.diag(empty.astype(x.dtype)))
        triangle = jnp.where(empty[:, None] | empty[None], 0, triangle)
        middle = jnp.diag(jnp.diag(products)) + self.changes @ (self.diagonal[:, None] * self.changes.T)
        corner = triangle.T @ middle @ triangle
        gamma = jnp.block([[jnp.zeros_like(corner), -triangle], [-triangle.T, corner]])
        root = jnp.sqrt(self.diagonal)[None]
        frame, upper = jnp.linalg.qr(jnp.concatenate([root * self.changes, self.steps / root]).T)
        factor = jnp.linalg.cholesky(jnp.eye(len(upper), dtype=x.dtype) + upper @ gamma @ upper.T)
        spread = Spread(diagonal=self.diagonal, frame=frame, factor=factor)
        return x - spread.times(spread.transposed(gradient)), spread


def pathfinder(
    key: jax.Array,
    target: Callable[..., Any],
    position: PyTree,
    env: PyTree = None,
    *,
    steps: int = 100,
    history: int = 6,
    draws: int = 10,
) -> Pathfinder:
    r"""Approximate exp(-U) by the best normal density along a path to its mode.

    It takes no Hessian, and no mode needs to exist: where the energy has no minimum, the best density is far from the
    end of the path. The best one has the largest evidence lower bound,

    $$ \mathrm{ELBO} = -\langle U(x) + \ln q(x) \rangle_{x \sim q}. $$

    Args:
        key: random key for the draws.
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        position: where the path begins: any place, better in the tails than at the mode.
        env: environment.
        steps: length of the path, at least 1.
        history: number of displacements that give a covariance, at least 1.
        draws: number of draws for each estimate of the bound, at least 1.

    Returns:
        `mean`, `scales`, `elbo` and `draws(key, count)`.

    Raises:
        ValueError: no position of the path has a normal density with a finite bound.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: (x["a"] - 1) ** 2 / 2 + jnp.sum(x["b"] ** 2) / 8
        >>> found = td.pathfinder(jax.random.key(0), energy, {"a": 5.0, "b": jnp.full(2, 9.0)})
        >>> print(found.scales["b"].round(1))
        [2. 2.]

    Reference:
        Zhang, Carpenter, Gelman, Vehtari, J. Mach. Learn. Res. 23, 306 (2022), arXiv:2108.03782.
    """
    steps = check.integer("steps", steps, 1)
    search = lbfgs(target, history=check.integer("history", history, 1), space=EUCLIDEAN)
    start = search.init(key, position, env)
    boxed, part, draws = start.boxed, start.moving, check.integer("draws", draws, 1)

    def bound(key: jax.Array, center: jax.Array, spread: Spread, env: PyTree) -> jax.Array:
        """Return the estimate of the evidence lower bound."""
        white = noise.normal(key, jnp.zeros((draws, center.size), center.dtype))

        def energy(xi: jax.Array) -> jax.Array:
            x = tree.merge(unflatten(center + spread.times(xi), part), boxed)
            found = target_of.evaluate(target, x, tree.unbox(env), EUCLIDEAN).energy
            assert found is not None  # a search needs an energy
            return tree.cast(found, xi)

        entropy = spread.log_volume + center.size / 2 * math.log(2 * math.pi) + jnp.mean(jnp.sum(white**2, axis=1)) / 2
        found = entropy - jnp.mean(jax.vmap(energy)(white))
        return jnp.where(jnp.isfinite(found), found, -jnp.inf)

    @jax.jit
    def best(key: jax.Array, start: State, env: PyTree) -> tuple[jax.Array, jax.Array, Spread]:
        def seen(state: State) -> tuple[jax.Array, jax.Array]:
            return flatten(state.moving), -flatten(state.force)

        def one(carry: tuple[Any, ...], key: jax.Array) -> tuple[tuple[Any, ...], None]:
            old, curvature, best = carry
            new = search.step(old, tree.unbox(env))
            (x, gradient), (y, slope) = seen(old), seen(new)
            curvature = curvature.after(y - x, slope - gradient)
            center, spread = curvature.normal(y, slope)
            own = bound(key, center, spread, env), center, spread
            return (new, curvature, tree.where(own[0] > best[0], own, best)), None

        x, gradient = seen(start)
        empty = jnp.zeros((history, x.size), x.dtype)
        curvature = Curvature(steps=empty, changes=empty, diagonal=jnp.ones_like(x))
        worst = jnp.asarray(-jnp.inf, x.dtype), *curvature.normal(x, gradient)
        return jax.lax.scan(one, (start, curvature, worst), jax.random.split(key, steps))[0][2]

    elbo, center, spread = best(key, start, tree.traceable(env))
    if not jnp.isfinite(elbo):
        raise ValueError(
            f"target: found no normal density with a finite bound along {steps} steps from the position. Begin "
            "elsewhere, or take more steps."
        )
    return Pathfinder(mean=tree.unbox(tree.merge(unflatten(center, part), boxed)), covariance=spread, elbo=elbo)
