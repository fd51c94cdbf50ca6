"""Whether chains agree, from their streams."""

from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn._target import observing
from treedyn.stream._average import Average, is_average
from treedyn.stream._count import Count
from treedyn.stream._moments import Variance, share
from treedyn.stream._reducer import Carry, Reducer
from treedyn.tree import PyTree


class RHat(Variance):
    """The potential scale reduction of the members of an ensemble.

    `within` is the mean square of the distance from the mean of the own chain, and `product` of that from the mean of
    all.
    """

    entries: ClassVar[tuple[str, ...]] = ("count", "mean", "product", "within", "chains")

    def _empty(self, shapes: PyTree) -> Carry:
        carry = super()._empty(shapes)
        return {**carry, "within": carry["product"], "chains": Count.zero() + 1}

    def _add(self, carry: Carry, values: PyTree) -> Carry:
        new = super()._add({name: carry[name] for name in Variance.entries}, values)
        return {**new, "within": new["product"], "chains": carry["chains"]}

    def merge(self, a: Carry, b: Carry) -> Carry:
        """Return the carry of both chains."""

        def join(x: Average, y: Average) -> Average:
            return x.joined(y, share(a["count"], b["count"], x.dtype))

        within = jax.tree.map(join, a["within"], b["within"], is_leaf=is_average)
        return {**super().merge(a, b), "within": within, "chains": a["chains"] + b["chains"]}

    def _summary(self, carry: Carry) -> PyTree:
        def one(total: Average, within: Average) -> jax.Array:
            chains = carry["chains"].to(total.dtype)
            n = carry["count"].to(total.dtype) / chains
            w = within.value * n / (n - 1)
            between = (total.value - within.value) * chains / (chains - 1)
            known = (chains > 1) & (n > 1) & (w > 0)
            return jnp.where(known, jnp.sqrt(((n - 1) / n * w + between) / jnp.where(known, w, 1)), jnp.nan)

        return jax.tree.map(one, carry["product"], carry["within"], is_leaf=is_average)


def r_hat(of: Callable[..., Any]) -> Reducer:
    r"""Build a reducer for the potential scale reduction of the members of an ensemble, element by element.

    $$ \hat R^2 = \frac{\frac{n - 1}{n} W + \frac{B}{n}}{W}, $$

    with the mean W of the variances of the m chains of n observations, and the variance B/n of their means. It is close
    to 1 if the chains agree. It does not compare the halves of a chain and takes no ranks, which `td.r_hat` does with
    stored draws.

    Args:
        of: `of(state)` or `of(state, env)`, returns any PyTree of real numbers.

    Returns:
        A reducer with one result for all members. It is a tree like the observable; NaN for one chain, for fewer than
        two observations, and for constant chains.

    Raises:
        ValueError: `of` is not a function; when initialized, the observable is complex.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.hmc(lambda x: jnp.sum(x**2) / 2, dt=0.5, steps=3), members=4)
        >>> agree = td.stream.r_hat(lambda state: state.position)
        >>> out = td.run(chains, chains.init(jax.random.key(0), jnp.zeros(2)), steps=1000, reduce=agree)
        >>> print(out.reduced.round(1))
        [1. 1.]

    Reference:
        Gelman, Rubin, Stat. Sci. 7, 457 (1992), doi:10.1214/ss/1177011136.
    """
    return RHat(of=observing("of", of), pooled=True)
