"""The noise of forces from minibatches."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import _target as target_of
from treedyn import tree
from treedyn._target import Target
from treedyn.networks._batches import Batches, Independent, Rows
from treedyn.space import EUCLIDEAN
from treedyn.tree import PyTree
from treedyn.tree._structure import map_nodes, nodes
from treedyn.tree._vector import flatten


def gradient_noise(
    target: Callable[..., Any], position: PyTree, env: PyTree, *, matrix: bool = False, at_once: int = 256
) -> PyTree:
    r"""Return the covariance of the force from a minibatch, at one position.

    With the force $F_i$ of a minibatch of the datum i alone, and the mean square $S^2$ of its distance from the mean
    over the N data,

    $$ V = \frac{S^2}{n} \quad \text{(independent rows)}, \qquad V = \frac{S^2}{n}\,\frac{N - n}{N - 1} \quad
    \text{(rows that occur once)}. $$

    It is computed from all data, not estimated. Successive minibatches of an epoch are not independent; V is that of
    each of them.

    Args:
        target: a target that sees minibatches, such as `networks.posterior(...)`.
        position: the parameters, best those of the mode.
        env: environment with one `networks.batches(...)`.
        matrix: whether to return the covariance matrix of all elements, `[d, d]`, instead of the variances.
        at_once: number of data whose forces are computed at once.

    Returns:
        A tree of variances like the floating-point leaves of the position, or a matrix; for `td.certify`,
        `td.error_budget` and `networks.sghmc`.

    Raises:
        ValueError: the environment does not have one part with minibatches.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import networks
        >>> noise, prior = networks.likelihood.gaussian(1.0), networks.prior.gaussian()
        >>> target = networks.posterior(lambda w, x: w * x, noise, prior)
        >>> env = networks.batches(jax.random.key(0), (jnp.ones(4), jnp.array([0.0, 1.0, 2.0, 3.0])), size=2)
        >>> print(f"{networks.gradient_noise(target, jnp.array(1.5), env):.3f}")  # 4^2 1.25/2 2/3
        6.667
    """
    found = [x for x in nodes(Batches, env) if nodes(Rows, x)]
    if len(found) != 1 or not isinstance(found[0].rows, Rows):
        raise ValueError(f"env: expected one networks.batches(...), shared by all members, got {len(found)}.")
    boxed = tree.box(position, "position")
    at_once = min(check.integer("at_once", at_once, 1), found[0].total)
    known = target_of.resolve(target, boxed, env)
    return _covariance(known, boxed, tree.traceable(env), check.flag("matrix", matrix), at_once)


@partial(jax.jit, static_argnums=(3, 4))
def _covariance(target: Target, position: PyTree, env: PyTree, matrix: bool, at_once: int) -> PyTree:
    env = tree.unbox(env)
    (rows,) = nodes(Rows, env)
    total, size = rows.total, rows.rows.shape[1]

    def force(row: jax.Array) -> PyTree:
        alone = map_nodes(lambda x: x.replace(rows=rows.replace(rows=row[None, None])), Batches, env)
        return target_of.evaluate(target, position, alone, EUCLIDEAN).force

    forces = jax.lax.map(force, jnp.arange(total, dtype=jnp.int32), batch_size=at_once)
    share = (1.0 if isinstance(rows, Independent) else (total - size) / max(total - 1, 1)) / size
    if not matrix:
        return jax.tree.map(lambda x: jnp.var(x, axis=0) * share, forces)
    flat = jax.vmap(flatten)(forces)
    flat = flat - jnp.mean(flat, axis=0, keepdims=True)
    return flat.T @ flat * (share / total)
