r"""The Laplace approximation: the normal density with the mode and the curvature of another one."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import tree
from treedyn._state import State
from treedyn.minimize import converged, lbfgs
from treedyn.montecarlo._normal import Normal
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


class Laplace(Normal):
    """A normal density over a tree, with the mode of another one as its mean.

    Attributes:
        energy: the energy of the mode.
        factor: the lower Cholesky factor of the Hessian, `[d, d]` for d moving elements in the order of the leaves.
    """

    energy: Float[Array, ""]
    factor: Float[Array, "d d"]

    @property
    def covariance(self) -> Float[Array, "d d"]:
        """Return the covariance matrix, the inverse of the Hessian."""
        return jax.scipy.linalg.cho_solve((self.factor, True), jnp.eye(len(self.factor), dtype=self.factor.dtype))

    @property
    def log_evidence(self) -> Float[Array, ""]:
        r"""Return the logarithm of the integral of exp(-U), -U + d/2 log 2 pi - 1/2 log det H."""
        half_log_det = jnp.sum(jnp.log(jnp.diag(self.factor)))
        return tree.cast(-self.energy, self.factor) + len(self.factor) / 2 * math.log(2 * math.pi) - half_log_det

    def spread(self, white: jax.Array) -> jax.Array:
        return jax.scipy.linalg.solve_triangular(self.factor, white, lower=True, trans=1)

    def variances(self) -> jax.Array:
        return jnp.diag(self.covariance)


def laplace(
    target: Callable[..., Any], position: PyTree, env: PyTree = None, *, steps: int = 1000, force: float | None = None
) -> Laplace:
    r"""Approximate exp(-U) by the normal density N(x*, H^-1), with the mode x* and the Hessian H of U there.

    The mode is found by `td.lbfgs`. The Hessian is a dense matrix, and takes one gradient per element.

    Args:
        target: a `Target`, or a function of `position` or `(position, env)` that returns an energy.
        position: where the search begins.
        env: environment.
        steps: largest number of steps of the search.
        force: largest element of the force at the mode; by default the square root of the rounding error.

    Returns:
        `mean`, `covariance`, `scales`, `log_evidence` and `draws(key, count)`.

    Raises:
        ValueError: no mode was found, or the energy does not curve upwards in all directions there.

    Example:
        >>> import jax.numpy as jnp, treedyn as td
        >>> energy = lambda x: (x["a"] - 1) ** 2 / 2 + jnp.sum(x["b"] ** 2) / 8
        >>> found = td.laplace(energy, {"a": 0.0, "b": jnp.ones(2)})
        >>> print(found.scales["b"].round(3))
        [2. 2.]

    Reference:
        Tierney, Kadane, J. Am. Stat. Assoc. 81, 82 (1986), doi:10.1080/01621459.1986.10478240.
    """
    search = lbfgs(target, space=EUCLIDEAN)
    # a minimizer has a key like every dynamics, and draws nothing from it
    state = search.init(jax.random.key(0), position, env)
    bound = float(jnp.finfo(tree.dtype(state.moving)).eps) ** 0.5 if force is None else force
    until, most = converged(force=bound), check.integer("steps", steps, 1)

    @jax.jit
    def descend(state: State, env: PyTree) -> State:
        return jax.lax.while_loop(
            lambda now: ~until(now) & (now.step < most) & (now.status == 0),
            lambda now: search.step(now, tree.unbox(env)),
            state,
        )

    mode = descend(state, tree.traceable(env))
    if not until(mode):
        raise ValueError(
            f"target: found no mode in {steps} steps, the largest element of the force is "
            f"{float(tree.max_abs(mode.force)):.3g}, expected less than {bound:.3g}. Pass more steps or a larger force."
        )

    def slope(part: PyTree) -> PyTree:
        there = target_of.evaluate(target, tree.merge(part, mode.boxed), env, EUCLIDEAN)
        return jax.tree.map(jnp.negative, there.force)

    assert mode.energy is not None  # a search needs an energy
    factor = jnp.linalg.cholesky(_matrix(slope, mode.moving))
    if not jnp.all(jnp.isfinite(factor)):
        raise ValueError(
            "target: the energy does not curve upwards in all directions at the mode, so exp(-U) has no normal "
            "approximation there. Fix or constrain what the energy does not depend on."
        )
    return Laplace(mean=mode.position, energy=mode.energy, factor=factor)


def _matrix(slope: Callable[[PyTree], PyTree], part: PyTree) -> jax.Array:
    """Return the derivative of a gradient, with a row and a column for every element."""
    kind = tree.dtype(part)

    def row(unit: jax.Array) -> jax.Array:
        return flatten(jax.jvp(slope, (part,), (unflatten(unit, part),))[1])

    # jax.hessian does not take leaves of different dtypes under strict promotion
    return jax.jit(jax.vmap(row))(jnp.eye(tree.size(part), dtype=kind))
