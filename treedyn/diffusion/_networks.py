"""Denoisers from networks, whatever they were trained to predict."""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function, static
from treedyn.diffusion._denoiser import Denoiser, Prediction, over, ratio, sum_of
from treedyn.diffusion._process import Level, is_level
from treedyn.tree import PyTree

PREDICTS = {
    "noise": "epsilon",
    "denoised": "x0",
    "score": "the gradient of log p",
    "v": "alpha epsilon - sigma x0",
    "velocity": "epsilon - x0",
}


class Kind(Struct):
    """What a network predicts, as a node of a prefix tree."""

    name: str = static()


def _factors(name: str, level: Level) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return the factors of position and prediction in the data, and in the noise."""
    alpha, sigma = level.alpha, level.sigma
    size = alpha + sigma if name == "velocity" else alpha**2 + sigma**2
    return {
        "noise": ((1 / alpha, -sigma / alpha), (0.0, 1.0)),
        "denoised": ((0.0, 1.0), (ratio(1.0, sigma), -ratio(alpha, sigma))),
        "score": ((1 / alpha, sigma**2 / alpha), (0.0, -sigma)),
        "v": ((alpha / size, -sigma / size), (sigma / size, alpha / size)),
        "velocity": ((1 / size, -sigma / size), (1 / size, alpha / size)),
    }[name]


class Network(Denoiser):
    r"""A denoiser from a network.

    | `predicts` | the network returns | D | E |
    |---|---|---|---|
    | "noise" | $\varepsilon$ | $(x - \sigma q)/\alpha$ | $q$ |
    | "denoised" | $x_0$ | $q$ | $(x - \alpha q)/\sigma$ |
    | "score" | $\nabla \log p$ | $(x + \sigma^2 q)/\alpha$ | $-\sigma q$ |
    | "v" | $\alpha \varepsilon - \sigma x_0$ | $(\alpha x - \sigma q)/n$ | $(\sigma x + \alpha q)/n$ |
    | "velocity" | $\varepsilon - x_0$ | $(x - \sigma q)/(\alpha + \sigma)$ | $(x + \alpha q)/(\alpha + \sigma)$ |

    with $n = \alpha^2 + \sigma^2$. Without noise the network is not asked: D is the position and E is 0.

    Attributes:
        function: `function(params, position, level)` or `function(params, position, level, env)`.
        params: parameters of the network.
        predicts: what it predicts, a prefix tree.
    """

    function: Callable[..., Any] = function()
    params: PyTree
    predicts: PyTree

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        part = tree.moving(tree.box(position))

        def asked(level: PyTree) -> Prediction:
            extra = (env,) if _takes(self.function, 4) else ()
            output = like_position(self.function(self.params, position, level, *extra), position)
            kinds = tree.prefix_map(lambda kind, _: kind, self.predicts, part, name="predicts", is_leaf=_is_kind)

            def known(which: int) -> PyTree:
                def one(level: Level, x: jax.Array, q: jax.Array, kind: Kind) -> jax.Array:
                    own, other = _factors(kind.name, level)[which]
                    return sum_of(x, (own, x), (other, q))

                return over(one, [level], part, output, kinds)

            return Prediction(denoised=known(0), noise=known(1))

        return where_noisy(asked, level, part)


def where_noisy(asked: Callable[[PyTree], Prediction], level: PyTree, part: PyTree) -> Prediction:
    """Return `asked(level)`, and the position itself where there is no noise in any leaf.

    Networks are not trained without noise.
    """
    sigmas = [jnp.max(own.sigma) for own in jax.tree.leaves(level, is_leaf=is_level)]
    noisy = jnp.max(jnp.stack(sigmas)) > 0
    # under vmap both branches are computed, and derivatives of the unused one have to be finite, too
    safe = jax.tree.map(lambda x: jnp.where(noisy, x, 1), level)

    def clean() -> Prediction:
        denoised = over(lambda level, x: sum_of(x, (1 / level.alpha, x)), [level], part)
        return Prediction(denoised=denoised, noise=tree.zeros_like(part))

    return jax.lax.cond(noisy, lambda: asked(safe), clean)


def _is_kind(x: object) -> bool:
    return isinstance(x, Kind)


def _takes(function: Callable[..., Any], count: int) -> bool:
    """Tell whether a function can be called with `count` arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except (TypeError, ValueError):
        return False
    return True


def like_position(value: PyTree, position: PyTree) -> PyTree:
    """Return the output of a network in the dtypes of the position.

    Raises:
        ValueError: its tree or its shapes are others.
    """
    part, found = tree.moving(tree.box(position)), tree.moving(tree.box(value, "the output of the network"))
    same = jax.tree.structure(found) == jax.tree.structure(part)
    if not same or any(q.shape != x.shape for q, x in zip(jax.tree.leaves(found), jax.tree.leaves(part), strict=True)):
        shapes = [[tuple(leaf.shape) for leaf in jax.tree.leaves(one)] for one in (part, found)]
        raise ValueError(
            f"apply: expected a tree like the position, {tree.describe(part)} of shapes {shapes[0]}, got "
            f"{tree.describe(found)} of shapes {shapes[1]}. Return one prediction for every element that has noise."
        )
    return jax.tree.map(tree.cast, found, part)


def network(apply: Callable[..., Any], params: PyTree, *, predicts: PyTree = "noise") -> Network:
    r"""Build a denoiser from a network.

    Args:
        apply: `apply(params, position, level)` or `apply(params, position, level, env)`: returns a tree like the
            position. Networks read `level.time`, `level.sigma` or `level.alpha`, as they were trained; with a tree of
            levels, `level` is that tree.
        params: parameters of the network; they remain leaves.
        predicts: "noise" ($\varepsilon$), "denoised" ($x_0$), "score", "v" ($\alpha\varepsilon - \sigma x_0$) or
            "velocity" ($\varepsilon - x_0$, towards noise; negate a network that goes towards data). One name, or a
            prefix tree of names.

    Raises:
        ValueError: the name of a prediction is unknown, or `apply` does not take the arguments.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> apply = lambda params, x, level: params["w"] * x / (1 + level.sigma**2)
        >>> model = diffusion.network(apply, {"w": 1.0}, predicts="denoised")
        >>> found = model.at(diffusion.VarianceExploding().at(1.0))(jnp.array([2.0]))
        >>> print(found.force, found.aux)
        [-1.] [1.]
    """
    check.function("apply", apply, "(params, position, level)", 4 if _takes(apply, 4) else 3)
    kinds = jax.tree.map(lambda name: Kind(name=check.choice("predicts", name, PREDICTS)), predicts)
    return Network(function=apply, params=params, predicts=kinds)


class Preconditioned(Denoiser):
    r"""A network F with the scaling of EDM, $D(x) = c_{skip} y + c_{out} F(c_{in} y, c_{noise})$, for $y = x/\alpha$.

    With $s = \sigma/\alpha$ and $r^2 = s^2 + s_{data}^2$: $c_{skip} = s_{data}^2/r^2$, $c_{out} = s\, s_{data}/r$,
    $c_{in} = 1/r$ and $c_{noise} = \log(s)/4$. The noise is $E = s\,y/r^2 - s_{data} F/r$, which is exact at small s.

    Attributes:
        function: `function(params, scaled, noise)` or `function(params, scaled, noise, env)`.
        params: parameters of the network.
        sigma_data: standard deviation of the data, a prefix tree.
    """

    function: Callable[..., Any] = function()
    params: PyTree
    sigma_data: PyTree

    def predict(self, position: PyTree, level: PyTree, env: PyTree = None) -> Prediction:
        boxed = tree.box(position)
        part = tree.moving(boxed)
        size = tree.broadcast(self.sigma_data, part, "sigma_data")

        def asked(level: PyTree) -> Prediction:
            def scaled(level: Level, x: jax.Array, own: jax.Array) -> jax.Array:
                _, r = _sizes(level, x, own)
                return x / (tree.cast(level.alpha, x) * r)

            inner = tree.unbox(tree.merge(over(scaled, [level], part, size), boxed))
            noise = jax.tree.map(lambda own: jnp.log(own.ratio) / 4, level, is_leaf=is_level)
            extra = (env,) if _takes(self.function, 4) else ()
            output = like_position(self.function(self.params, inner, noise, *extra), position)

            def denoised(level: Level, x: jax.Array, q: jax.Array, own: jax.Array) -> jax.Array:
                s, r = _sizes(level, x, own)
                return own**2 / r**2 * (x / tree.cast(level.alpha, x)) + s * own / r * q

            def noise_of(level: Level, x: jax.Array, q: jax.Array, own: jax.Array) -> jax.Array:
                s, r = _sizes(level, x, own)
                return s / r**2 * (x / tree.cast(level.alpha, x)) - own / r * q

            known = (over(f, [level], part, output, size) for f in (denoised, noise_of))
            return Prediction(denoised=next(known), noise=next(known))

        return where_noisy(asked, level, part)


def _sizes(level: Level, x: jax.Array, own: jax.Array) -> tuple[jax.Array, jax.Array]:
    s = tree.cast(level.ratio, x)
    return s, jnp.sqrt(s**2 + own**2)


def preconditioned(apply: Callable[..., Any], params: PyTree, *, sigma_data: PyTree = 0.5) -> Preconditioned:
    """Build a denoiser from a network with the scaling of EDM, whose input and output have unit variance.

    Args:
        apply: `apply(params, scaled, noise)` or `apply(params, scaled, noise, env)`: returns a tree like the position;
            `noise` is log(sigma/alpha)/4, or a tree of those.
        params: parameters of the network; they remain leaves.
        sigma_data: standard deviation of the data: a number or prefix tree.

    Raises:
        ValueError: `apply` does not take the arguments, or `sigma_data` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import diffusion
        >>> model = diffusion.preconditioned(lambda params, x, noise: params * x, 0.0, sigma_data=0.5)
        >>> print(model.at(diffusion.VarianceExploding().at(0.5))(jnp.array([2.0])).aux.round(3))
        [1.]

    Reference:
        Karras et al., NeurIPS (2022), arXiv:2206.00364.
    """
    check.function("apply", apply, "(params, scaled, noise)", 4 if _takes(apply, 4) else 3)
    size = jax.tree.map(lambda x: check.array("sigma_data", x, "deviations", positive=True), sigma_data)
    return Preconditioned(function=apply, params=params, sigma_data=size)
