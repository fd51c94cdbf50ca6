r"""The Laplace approximation of a network, with the Gauss-Newton matrix in place of the Hessian.

$$ H = \sum_i J_i^T \Lambda_i J_i - \nabla^2 \ln p(\theta), \qquad J_i = \partial f(x_i; \theta)/\partial \theta, \quad
\Lambda_i = -\partial^2 \ln p(y_i \mid f)/\partial f^2 $$

Unlike the Hessian it has no negative eigenvalues for the usual likelihoods, also where a training has not ended at a
mode. It is the Hessian of a network that is linear in its parameters.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._target import Target
from treedyn.montecarlo import Laplace
from treedyn.networks import prior as prior_of
from treedyn.networks._posterior import NegativeLogPosterior
from treedyn.tree import PyTree
from treedyn.tree._vector import flatten, unflatten


def laplace(target: Target, position: PyTree, env: PyTree, *, at_once: int = 64) -> Laplace:
    r"""Approximate the posterior of a network by a normal density, with the Gauss-Newton matrix at a position.

    $$ H = \sum_i J_i^T \Lambda_i J_i - \nabla^2 \ln p(\theta) $$

    The matrix is dense: use it for up to some thousand parameters, or for the last layer alone.

    Args:
        target: what `networks.posterior` returns.
        position: the parameters after a training, the mean of the density.
        env: environment with all data.
        at_once: number of data whose Jacobians are computed at once.

    Returns:
        `mean`, `covariance`, `scales`, `log_evidence` and `draws(key, count)`, like `td.laplace`.

    Raises:
        ValueError: the target is not a posterior of a network, or the matrix is not positive definite.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> noise, prior = networks.likelihood.bernoulli(), networks.prior.gaussian()
        >>> target = networks.posterior(lambda w, x: w["scale"] * jnp.tanh(w["slope"] * x), noise, prior)
        >>> data = jnp.array([-2.0, -1.0, 1.0, 2.0]), jnp.array([0, 0, 1, 1])
        >>> found = networks.laplace(target, {"scale": jnp.array(1.0), "slope": jnp.array(1.0)}, data)
        >>> print(found.scales["scale"] < 1)  # narrower than the prior
        True

    Reference:
        Immer, Korzepa, Bauer, AISTATS 24, 703 (2021), arXiv:2008.08400; Daxberger et al., NeurIPS 34, 20089 (2021),
        arXiv:2106.14806.
    """
    energy = getattr(target, "function", None)
    if not isinstance(energy, NegativeLogPosterior):
        raise ValueError(f"target: expected what networks.posterior returns, got {check.brief(target)}.")
    boxed = tree.box(position, "position")
    at_once = check.integer("at_once", at_once, 1)
    value = target(boxed, env).energy
    assert value is not None
    matrix = _matrix(energy, boxed, tree.traceable(env), at_once)
    factor = jnp.linalg.cholesky(matrix)
    if not jnp.all(jnp.isfinite(factor)):
        raise ValueError(
            "prior: expected one with which the Gauss-Newton matrix is positive definite, got a matrix that is not. "
            "Use prior.gaussian(...) for the leaves that the data do not determine."
        )
    return Laplace(mean=tree.unbox(boxed), energy=value, factor=factor)


@partial(jax.jit, static_argnums=3)
def _matrix(energy: NegativeLogPosterior, position: PyTree, env: PyTree, at_once: int) -> jax.Array:
    """Return the Gauss-Newton matrix over all elements."""
    part = tree.moving(position)
    inputs, labels, scale = energy.seen(tree.unbox(env))
    here = flatten(part)

    def predicted(vector: jax.Array, x: PyTree) -> PyTree:
        """Return the prediction for one datum."""
        parameters = tree.unbox(tree.merge(unflatten(vector, part), position))
        batch = jax.tree.map(lambda leaf: leaf[None], x)
        return jax.tree.map(lambda leaf: leaf[0], energy.apply(parameters, batch))

    def one(datum: Any) -> jax.Array:
        x, y = datum
        like = predicted(here, x)

        def log_density(f: jax.Array) -> jax.Array:
            batch, label = jax.tree.map(lambda leaf: leaf[None], (unflatten(f, like), y))
            return energy.likelihood.log_density(batch, label)[0]

        jacobian = jax.jacrev(lambda vector: flatten(predicted(vector, x)))(here)
        curvature = -jax.hessian(log_density)(flatten(like))
        return jacobian.T @ tree.cast(curvature, jacobian) @ jacobian

    count = next(jnp.shape(x)[0] for x in jax.tree.leaves(labels))
    data = jax.tree.map(jnp.asarray, (inputs, labels))
    zero = jnp.zeros((here.size, here.size), here.dtype)

    def add(total: jax.Array, rows: jax.Array) -> tuple[jax.Array, None]:
        some = jax.vmap(one)(jax.tree.map(lambda x: x[rows], data))
        return total + jnp.sum(some, axis=0), None

    size = min(at_once, count)
    whole = count // size * size
    total, _ = jax.lax.scan(add, zero, jnp.arange(whole, dtype=jnp.int32).reshape(-1, size))
    if whole < count:
        total, _ = add(total, jnp.arange(whole, count, dtype=jnp.int32))

    def slope(vector: jax.Array) -> jax.Array:
        def of(part: PyTree) -> jax.Array:
            return prior_of.log_density(energy.prior, tree.unbox(tree.merge(part, position)))

        return -flatten(jax.grad(of)(unflatten(vector, part)))

    curvature = jax.vmap(lambda unit: jax.jvp(slope, (here,), (unit,))[1])(jnp.eye(here.size, dtype=here.dtype))
    return scale * total + curvature
