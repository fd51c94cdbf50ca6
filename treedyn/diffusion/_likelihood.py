r"""The log density of data under the probability flow.

In units of the scale c of a level, $y = x/c$, the flow is $dy/du = q(y, u)$ and the log density along it changes by
$-\nabla \cdot q$. So the flow is followed from data to noise, where the density is that of the noise.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from treedyn import _check as check
from treedyn import noise as random
from treedyn import tree
from treedyn.diffusion._denoiser import Denoiser, over, sum_of
from treedyn.diffusion._levels import as_levels, of_each, steps_of
from treedyn.diffusion._process import Level
from treedyn.diffusion._runge_kutta import EULER, HEUN, average
from treedyn.tree import PyTree
from treedyn.tree._vector import unflatten

METHODS = {"euler": EULER, "heun": HEUN}


def log_likelihood(
    denoiser: Denoiser,
    levels: PyTree,
    position: PyTree,
    env: PyTree = None,
    *,
    key: jax.Array | None = None,
    probes: int = 1,
    method: Literal["euler", "heun"] = "heun",
) -> Float[Array, ""]:
    r"""Return the log density of a position, $\log p(x) = \log p_T(x_T) + \int \nabla \cdot v\,dt$ along the flow.

    The function is differentiable, and can be mapped over positions. A last level without noise changes nothing: the
    result is the density at the last level with noise.

    Args:
        denoiser: the denoiser.
        levels: noise levels, or a prefix tree of levels; the flow goes up.
        position: the data, any tree.
        env: environment of the denoiser.
        key: random key of an unbiased estimate of the divergence by Rademacher probes (Hutchinson); by default the
            divergence is exact, by one derivative of the denoiser for every element.
        probes: number of probes.
        method: "euler" or "heun".

    Returns:
        The log density in nats; divide by $-n \log 2$ for bits per dimension.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> found = diffusion.log_likelihood(diffusion.gaussian(std=0.5), diffusion.edm(320), jnp.array([0.7]))
        >>> print(found.round(3))
        -1.205

    Reference:
        Chen et al., NeurIPS (2018), arXiv:1806.07366; Song et al., ICLR (2021), arXiv:2011.13456; Grathwohl et al.,
        ICLR (2019), arXiv:1810.01367.
    """
    check.instance("denoiser", denoiser, Denoiser, "a denoiser")
    rows = METHODS[check.choice("method", method, METHODS)]
    levels, boxed = as_levels(levels), tree.box(position, "position")
    part = tree.moving(boxed)
    count = check.integer("probes", probes, 1)
    kind = tree.dtype(part)

    if key is None:
        rows_of = jnp.eye(tree.size(part), dtype=kind)
        ways, factor = jax.vmap(lambda row: unflatten(row, part))(rows_of), float(tree.size(part))
    else:
        keys = jax.vmap(lambda k: random.at_step(key, k))(jnp.arange(count, dtype=jnp.int32))
        ways, factor = jax.vmap(lambda k: random.draw(jax.random.rademacher, k, part))(keys), 1.0

    def flow(level: PyTree, part: PyTree) -> tuple[PyTree, PyTree]:
        """Return the slope of the flow, and its divergence by y, of every leaf."""

        def slope(part: PyTree) -> PyTree:
            found = denoiser.predict(tree.unbox(tree.merge(part, boxed)), level, env)
            return over(_slope, [level], found.noise, found.denoised)

        here, forward = jax.linearize(slope, part)

        def along(way: PyTree) -> PyTree:
            changed = forward(over(lambda level, w: sum_of(w, (level.scale, w)), [level], way))
            return jax.tree.map(lambda w, c: factor * jnp.sum(w * c), way, changed)

        return here, jax.tree.map(lambda x: jnp.mean(x, axis=0), jax.vmap(along)(ways))

    def step(carry: tuple[PyTree, jax.Array], k: jax.Array) -> tuple[tuple[PyTree, jax.Array], None]:
        part, gained = carry
        here, there = (of_each(lambda own, k=k: own.at(k), levels) for k in (last - k, last - k - 1))
        found = [flow(here, part)]
        for _, weights in rows[:-1]:
            slope, _ = _mean(here, found, weights)
            found.append(flow(there, over(_moved, [here, there], part, slope)))
        slope, divergence = _mean(here, found, rows[-1][1])
        change = over(lambda here, there, d: sum_of(d, (there.noise - here.noise, d)), [here, there], divergence)
        return (over(_moved, [here, there], part, slope), gained + tree.total(change).astype(kind)), None

    last = steps_of(levels)
    (end, gained), _ = jax.lax.scan(step, (part, jnp.zeros((), kind)), jnp.arange(last, dtype=jnp.int32))
    first, final = (of_each(lambda own, k=k: own.at(k), levels) for k in (0, last))
    return gained - tree.total(over(_surprise, [first, final], end)).astype(kind)


def _slope(level: Level, noise: jax.Array, denoised: jax.Array) -> jax.Array:
    return noise - denoised if level.straight else noise


def _moved(here: Level, there: Level, x: jax.Array, q: jax.Array) -> jax.Array:
    factor = there.scale / here.scale
    return sum_of(x, (factor, x), (there.sigma - factor * here.sigma, q))


def _mean(here: PyTree, found: list[tuple[PyTree, PyTree]], weights: tuple[float, ...]) -> tuple[PyTree, PyTree]:
    """Return mean slope and divergence; from a level without noise, where there is no slope, the first ones."""
    slopes, divergences = zip(*found, strict=True)
    return average(here, list(slopes), weights), average(here, list(divergences), weights)


def _surprise(first: Level, last: Level, x: jax.Array) -> jax.Array:
    """Return -log of the density of the noise at the first level, in units of the data at the last."""
    sigma, change = (tree.cast(value, x) for value in (first.sigma, jnp.log(last.scale / first.scale)))
    constant = jnp.asarray(np.log(2 * np.pi), x.dtype) / 2 + jnp.log(sigma) + change
    return jnp.sum((x / sigma) ** 2 / 2 + constant)
