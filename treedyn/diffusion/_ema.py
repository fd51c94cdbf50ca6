r"""Power-function averages of parameters, and averages of other lengths after the training.

The average after t steps is $\hat\theta_t = \beta_t \hat\theta_{t-1} + (1 - \beta_t)\, \theta_t$ with
$\beta_t = (1 - 1/t)^{\gamma + 1}$, which weights step u by $u^\gamma$. Its relative length is the standard deviation of
u under this weight, over t.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Real

from treedyn import _check as check
from treedyn import tree
from treedyn._target import observing
from treedyn.stream import Reducer
from treedyn.stream._reducer import Accumulator, Carry
from treedyn.tree import PyTree


class PowerAverage(Accumulator):
    r"""A power-function average of an observable.

    Attributes:
        gamma: the exponent.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "mean")
    gamma: Real[ArrayLike, ""]

    def _empty(self, shapes: PyTree) -> Carry:
        return {"count": jnp.int32(0), "mean": jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        count = carry["count"] + 1
        part, mean = tree.moving(values), tree.moving(carry["mean"])

        def one(m: jax.Array, x: jax.Array) -> jax.Array:
            t = count.astype(x.dtype)
            return x + ((1 - 1 / t) ** (tree.cast(self.gamma, x) + 1)) * (m - x)

        return {"count": count, "mean": tree.merge(jax.tree.map(one, mean, part), values)}

    def _summary(self, carry: Carry) -> PyTree:
        return carry["mean"]


def _position(state: Any) -> PyTree:
    return state.position


def exponent_of(length: float) -> float:
    r"""Return the exponent $\gamma$ of an average of relative length $\sqrt{(\gamma + 1)/(\gamma + 3)}/(\gamma + 2)$.

    Args:
        length: relative length, between 0 and 0.28.

    Example:
        >>> from treedyn.diffusion import exponent_of
        >>> round(exponent_of(0.1), 2)
        6.94
    """
    found = float(check.number("length", length, positive=True))
    # (g + 2)^2 (g + 3) length^2 = g + 1
    roots = np.roots([1.0, 7.0, 16.0 - found**-2, 12.0 - found**-2])
    best = max((float(root.real) for root in roots if abs(root.imag) < 1e-9), default=-1.0)
    if best <= 0:
        raise ValueError(f"length: expected a relative length between 0 and 0.288, got {length}.")
    return best


def power_average(length: float = 0.1, of: Callable[..., Any] = _position) -> Reducer:
    r"""Build a reducer for the average of the parameters during a training, for `td.run(reduce=)`.

    Args:
        length: length of the average as a fraction of the training, below 0.28.
        of: `of(state)`, what is averaged; by default the position.

    Returns:
        A reducer whose result is a tree like the parameters. Give `every=1`, so that it sees every step.

    Raises:
        ValueError: an argument does not fit.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import diffusion
        >>> descent = td.gradient_descent(lambda x: jnp.sum(x**2) / 2, rate=0.1)
        >>> state = descent.init(jax.random.key(0), jnp.ones(2))
        >>> out = td.run(descent, state, steps=100, every=1, reduce=diffusion.power_average(0.1))
        >>> print(out.reduced.round(3))
        [0. 0.]

    Reference:
        Karras et al., CVPR (2024), arXiv:2312.02696.
    """
    return PowerAverage(of=observing("of", of), gamma=exponent_of(length))


def combined_average(
    averages: Sequence[PyTree], ends: Sequence[int], lengths: Sequence[float], length: float, end: int
) -> PyTree:
    r"""Return an average of another length after the training, from averages that were kept on the way.

    The weights $u^\gamma$ of the kept averages are combined to come closest to those of the wanted one.

    Args:
        averages: kept averages of the parameters.
        ends: after how many steps each was kept.
        lengths: relative length of each.
        length: the wanted relative length.
        end: after how many steps the wanted average ends.

    Raises:
        ValueError: the numbers of arguments differ.

    Example:
        >>> from treedyn import diffusion
        >>> print(diffusion.combined_average([2.0, 4.0], [10, 10], [0.05, 0.1], length=0.1, end=10).round(3))
        4.0

    Reference:
        Karras et al., CVPR (2024), arXiv:2312.02696.
    """
    if not len(averages) == len(ends) == len(lengths) or not averages:
        raise ValueError(
            f"averages: expected one end and one length for each, got {len(averages)}, {len(ends)} and {len(lengths)}."
        )
    gammas, times = np.array([exponent_of(x) for x in lengths]), np.asarray(ends, dtype=float)
    wanted = exponent_of(length)
    overlap = _overlap(times[:, None], gammas[:, None], times[None, :], gammas[None, :])
    shares = np.linalg.lstsq(overlap, _overlap(times, gammas, np.asarray(float(end)), np.asarray(wanted)), rcond=None)[
        0
    ]
    boxed = [tree.box(one) for one in averages]

    def one(*leaves: jax.Array) -> jax.Array:
        return sum(
            (jnp.asarray(s, x.dtype) * x for s, x in zip(shares[1:], leaves[1:], strict=True)),
            start=jnp.asarray(shares[0], leaves[0].dtype) * leaves[0],
        )

    mean = jax.tree.map(one, *map(tree.moving, boxed))
    return tree.unbox(tree.merge(mean, boxed[0]))


def _overlap(t: np.ndarray, a: np.ndarray, u: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the inner products of two weights, (a + 1) x^a / t^(a + 1) up to t."""
    least = np.minimum(t, u)
    return (a + 1) * (b + 1) / (a + b + 1) * (least / t) ** (a + 1) * (least / u) ** (b + 1) / least
