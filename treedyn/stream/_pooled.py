"""One result for all members of an ensemble."""

from typing import Any

import jax

from treedyn import _check as check
from treedyn._joint import is_joint
from treedyn.stream._reducer import Reducer
from treedyn.tree import PyTree


class Pooled(Reducer):
    """A reducer with a carry for every member of an ensemble, and one result for all of them.

    Attributes:
        inner: the reducer of every member.
    """

    inner: Reducer

    def init(self, state: PyTree, env: PyTree = None) -> Any:
        """Return the carry of no observations."""
        return self.inner.init(state, env)

    def update(self, carry: Any, state: PyTree, env: PyTree = None) -> Any:
        """Return the carry with one more observation."""
        return self.inner.update(carry, state, env)

    def result(self, carry: Any) -> PyTree:
        """Return what the observations amount to."""
        return self.inner.result(carry)

    def merge(self, a: Any, b: Any) -> Any:
        """Return the carry of both streams."""
        return self.inner.merge(a, b)


def pooled(reducer: Reducer) -> Pooled:
    """Merge what a reducer saw of the members of an ensemble into one result.

    Args:
        reducer: a reducer whose carries can be merged: means, variances, histograms, extremes, but no correlations.

    Returns:
        A reducer for `td.run` of an ensemble; of one system it is `reducer` itself.

    Raises:
        ValueError: its carries cannot be merged.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> chains = td.ensemble(td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.5, kT=1.0), members=100)
        >>> state = chains.init(jax.random.key(0), jnp.zeros(10))
        >>> square = td.stream.mean(lambda state: jnp.mean(state.position**2))
        >>> reduce = {"each": square, "all": td.stream.pooled(square)}
        >>> out = td.run(chains, state, steps=100, reduce=reduce).reduced
        >>> out["each"].shape, out["all"].shape
        ((100,), ())
    """
    check.instance("reducer", reducer, Reducer, "a reducer such as stream.mean(of)")
    if is_joint(reducer.of):
        raise ValueError("reducer: it sees all members at once and has one result already; leave pooled out")
    if type(reducer).merge is Reducer.merge:
        raise ValueError(
            f"reducer: the carries of a {type(reducer).__name__} cannot be merged; average the results of the members"
        )
    return Pooled(of=reducer.of, inner=reducer)


@jax.jit
def pool(reducer: Reducer, carries: PyTree) -> PyTree:
    """Return the carry that all members have together, from one for each of them."""
    first, rest = (jax.tree.map(lambda x, part=part: x[part], carries) for part in (0, slice(1, None)))
    return jax.lax.scan(lambda total, one: (reducer.merge(total, one), None), first, rest)[0]


__all__ = ["Pooled", "pooled"]
