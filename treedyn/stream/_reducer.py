"""The `Reducer` contract: what is wanted of a stream of states, computed while they pass.

A reducer is three pure functions around a carry, a PyTree of arrays whose shapes never change:

    carry = reducer.init(state, env)            # no observations yet
    carry = reducer.update(carry, state, env)   # one more; under jit, scan, vmap
    reducer.result(carry)                       # what it was for

The carry is all there is to remember: saved and read back, it goes on bit by bit as if nothing had happened. Any tree
of reducers is used as one, by the functions of the same names in this module.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from treedyn import _check as check
from treedyn import tree
from treedyn._struct import Struct, function
from treedyn._target import call
from treedyn.tree import PyTree


class Reducer(Struct):
    """Reduce a stream of states to a carry of fixed size.

    A subclass defines `init`, `update` and `result`, and `merge` where two streams can be put together.

    Attributes:
        of: the observable, `of(state)` or `of(state, env)`: returns any PyTree of numbers. Whatever is no number in it
            (the functions inside a network) rides along.
        carries: the type of the carry.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> class Last(stream.Reducer):
        ...     def init(self, state, env=None):
        ...         return jnp.zeros(())
        ...     def update(self, carry, state, env=None):
        ...         return self.observe(state, env)
        ...     def result(self, carry):
        ...         return carry
        >>> last = Last(of=jnp.sum)
        >>> print(last.result(last.update(last.init(jnp.ones(3)), jnp.ones(3))))
        3.0
    """

    carries: ClassVar[type] = object
    of: Callable[..., Any] = function()

    @abstractmethod
    def init(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry of no observations; of `state` and `env` only shapes and dtypes matter."""

    @abstractmethod
    def update(self, carry: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry with one more observation: pure, and of unchanged shapes."""

    @abstractmethod
    def result(self, carry: PyTree) -> PyTree:
        """Return what the observations amount to."""

    def merge(self, a: PyTree, b: PyTree) -> PyTree:
        """Return the carry of both streams.

        Raises:
            ValueError: what the reducer measures depends on the order of observations.
        """
        raise ValueError(
            f"{type(self).__name__}.merge: it measures how successive observations belong together, and those on the "
            "two sides of a seam do not; continue one stream from its carry, or average the results of independent ones"
        )

    def observe(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the observable, boxed: numbers are arrays, and what is no number is part of the structure.

        Raises:
            ValueError: a leaf is a random key.
        """
        return tree.box(jax.tree.map(_number, call(self.of, state, env)))

    def shapes(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return shapes and dtypes of the observable, without computing it."""
        return jax.eval_shape(self.observe, state, tree.traceable(env))


def init(reducers: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
    """Return the carry of a tree of reducers before the first observation.

    Args:
        reducers: a reducer, or any PyTree of them.
        state: a state as it is going to be observed; only shapes and dtypes matter.
        env: its environment.

    Returns:
        A PyTree of arrays.

    Raises:
        ValueError: a leaf is no reducer.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import stream
        >>> reducers = {"mean": stream.mean(lambda x: x), "range": stream.extremes(lambda x: x)}
        >>> series = jnp.array([1.0, 2.0, 6.0])
        >>> step = lambda carry, x: (stream.update(reducers, carry, x), None)
        >>> carry, _ = jax.lax.scan(step, stream.init(reducers, series[0]), series)
        >>> out = stream.result(reducers, carry)
        >>> print(out["mean"], out["range"].largest)
        3.0 6.0
    """
    return _map(lambda reducer: reducer.init(state, tree.unbox(env)), reducers)


def update(reducers: PyTree, carry: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
    """Return the carry of a tree of reducers with one more observation; see `init`."""
    return _map(lambda reducer, c: reducer.update(c, state, tree.unbox(env)), reducers, carry=carry)


def result(reducers: PyTree, carry: PyTree) -> PyTree:
    """Return the results of a tree of reducers, in a tree like it; see `init`."""
    return _map(lambda reducer, c: reducer.result(c), reducers, carry=carry)


def merge(reducers: PyTree, a: PyTree, b: PyTree) -> PyTree:
    """Return the carry that a tree of reducers would have after both streams.

    Raises:
        ValueError: one of the reducers cannot be merged.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> mean = stream.mean(lambda x: x)
        >>> one, other = (mean.update(mean.init(0.0), x) for x in (1.0, 4.0))
        >>> print(stream.result(mean, stream.merge(mean, one, other)))
        2.5
    """
    # streams of different shapes might broadcast against each other
    if [jnp.shape(x) for x in jax.tree.leaves(a)] != [jnp.shape(x) for x in jax.tree.leaves(b)]:
        raise ValueError("a, b: expected two carries of the same reducers, of observables of the same shapes")
    return _map(lambda reducer, x, y: reducer.merge(x, y), reducers, a=a, b=b)


def sum_dtype(dtype: Any) -> jnp.dtype:
    """Return the dtype in which to keep sums and means of values of `dtype`.

    Float32 for half precision, the default float for integers and booleans, else `dtype` itself.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> print(stream.sum_dtype(jnp.bfloat16))
        float32
    """
    if jnp.issubdtype(dtype, jnp.inexact):
        return tree.widest(jnp.float32, dtype)
    return jnp.dtype(jnp.result_type(float))


def real(shapes: PyTree, name: str) -> PyTree:
    """Return `shapes` with the dtypes to accumulate in.

    Raises:
        ValueError: a leaf is complex.
    """

    def one(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ValueError(
                f"of: {name} is defined for real numbers, got an observable of dtype {x.dtype}; observe its real and "
                "imaginary part, or its absolute value"
            )
        return jax.ShapeDtypeStruct(x.shape, sum_dtype(x.dtype))

    return jax.tree.map(one, shapes)


def check_shape(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return an observed value; an error where it has not the shape that the carry was made for."""
    if x.shape != shape:
        raise ValueError(
            f"of: the observable changed its shape: expected {list(shape)} as when the reducer was initialized, got "
            f"{list(x.shape)}; call init for the new one"
        )
    return x


def _is_reducer(x: Any) -> bool:
    return isinstance(x, Reducer)


def check_reducers(name: str, reducers: PyTree) -> None:
    """Refuse a tree with leaves that are no reducers.

    Raises:
        ValueError: one is none.
    """
    for x in jax.tree.leaves(reducers, is_leaf=_is_reducer):
        if not _is_reducer(x):
            raise ValueError(f"{name}: expected a Reducer or a tree of them, such as stream.mean(of); got {x!r}")


def _map(f: Callable[..., Any], reducers: PyTree, **carries: PyTree) -> PyTree:
    """Map over reducers and what each of them has in trees of carries, which are named for error messages."""
    check_reducers("reducers", reducers)
    each, structure = jax.tree.flatten(reducers, is_leaf=_is_reducer)
    columns = []
    for name, carry in carries.items():
        try:
            column = structure.flatten_up_to(carry)
        except ValueError as error:
            raise ValueError(
                f"{name}: expected what stream.init(reducers, state) returns, a tree like the reducers: {error}"
            ) from error
        for reducer, x in zip(each, column, strict=True):
            like = f"the {reducer.carries.__name__} that stream.init makes for a {type(reducer).__name__}"
            check.instance(name, x, reducer.carries, like)
        columns.append(column)
    return structure.unflatten([f(*row) for row in zip(each, *columns, strict=True)])


def _number(leaf: Any) -> Any:
    # Python numbers are results here, not structure
    leaf = jnp.asarray(leaf) if isinstance(leaf, bool | int) else leaf
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        raise ValueError(f"of: expected numbers, got {leaf.dtype}; leave random keys out of the observable")
    return leaf


__all__ = ["Reducer", "init", "merge", "result", "sum_dtype", "update"]
