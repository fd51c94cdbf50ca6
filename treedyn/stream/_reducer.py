"""The `Reducer` contract: quantities that are computed from a stream of states as it passes.

A reducer is three pure functions around a carry, a PyTree of arrays whose shapes never change:

    carry = reducer.init(state, env)            # no observations
    carry = reducer.update(carry, state, env)   # one more; under jit, scan, vmap
    reducer.result(carry)                       # the quantity

The carry is everything that a reducer remembers: a carry that was saved and loaded continues bit by bit. The functions
of the same names in this module take any tree of reducers.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, final

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from treedyn import _check as check
from treedyn import tree
from treedyn._joint import is_joint
from treedyn._struct import Struct, function, static
from treedyn._target import call
from treedyn.tree import PyTree

Carry = dict[str, Any]


class Reducer(Struct):
    """A rule that reduces a stream of states to a carry of fixed size.

    A subclass defines `init`, `update` and `result`, and `merge` where two streams can be combined.

    Attributes:
        of: the observable, `of(state)` or `of(state, env)`, returns any PyTree of numbers. Leaves that are not numbers
            (the functions inside a network) ride along.
        entries: the keys of the carry, where it is a dict: `stream.update` then refuses any other carry.
        pooled: whether the members of an ensemble have one result together; see `pooled`.

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

    entries: ClassVar[tuple[str, ...]] = ()
    of: Callable[..., Any] = function()
    pooled: bool = static(default=False)

    @abstractmethod
    def init(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry without observations; only shapes and dtypes of `state` and `env` matter."""

    @abstractmethod
    def update(self, carry: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry with one more observation; pure, shapes and dtypes unchanged."""

    @abstractmethod
    def result(self, carry: PyTree) -> PyTree:
        """Return the quantity that was computed from the observations."""

    def merge(self, a: PyTree, b: PyTree) -> PyTree:
        """Return the carry of both streams.

        Raises:
            ValueError: the quantity depends on the order of observations.
        """
        raise ValueError(
            f"{type(self).__name__}.merge: two streams cannot be merged, because the result depends on the order of "
            "observations. Continue one stream from its carry, or average the results of independent streams."
        )

    @final
    def observe(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the observable, boxed: numbers are arrays, other leaves are part of the structure.

        Raises:
            ValueError: a leaf is a random key.
        """
        return tree.box(jax.tree.map(_number, call(self.of, state, env)))

    @final
    def shapes(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return shapes and dtypes of the observable, without computing it."""
        return jax.eval_shape(self.observe, state, tree.traceable(env))


class Accumulator(Reducer):
    """A reducer of the values of its observable alone, with compiled updates and results."""

    @abstractmethod
    def _empty(self, shapes: PyTree) -> PyTree:
        """Return the carry without observations, for an observable of these shapes and dtypes."""

    @abstractmethod
    def _add(self, carry: PyTree, values: PyTree) -> PyTree:
        """Return the carry with one more value of the observable."""

    @abstractmethod
    def _summary(self, carry: PyTree) -> PyTree:
        """Return the result, with boxed trees."""

    @final
    def init(self, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry without observations."""
        return self._empty(self.shapes(state, env))

    @final
    def update(self, carry: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
        """Return the carry with one more observation."""
        # without the observable, so that a new function does not recompile
        return self.replace(of=_number)._added(carry, self.observe(state, env))

    @final
    def result(self, carry: PyTree) -> PyTree:
        """Return the result."""
        return tree.unbox(self.replace(of=_number)._summarized(carry))

    @jax.jit
    def _added(self, carry: PyTree, values: PyTree) -> PyTree:
        return self._add(carry, values)

    @jax.jit
    def _summarized(self, carry: PyTree) -> PyTree:
        return self._summary(carry)


def init(reducers: PyTree, state: PyTree, env: PyTree = None) -> PyTree:
    """Return the carry of a tree of reducers before the first observation.

    Args:
        reducers: a reducer, or any PyTree of them.
        state: a state like those to be observed; only shapes and dtypes matter.
        env: its environment.

    Returns:
        A PyTree of arrays.

    Raises:
        ValueError: a leaf is not a reducer.

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
    """Return the carry of a tree of reducers after both streams.

    Raises:
        ValueError: a reducer cannot be merged, or the carries are of other reducers or shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> from treedyn import stream
        >>> mean = stream.mean(lambda x: x)
        >>> one, other = (mean.update(mean.init(0.0), x) for x in (1.0, 4.0))
        >>> print(stream.result(mean, stream.merge(mean, one, other)))
        2.5
    """
    # different shapes could broadcast
    if [jnp.shape(x) for x in jax.tree.leaves(a)] != [jnp.shape(x) for x in jax.tree.leaves(b)]:
        raise ValueError("a, b: expected two carries of the same shapes. Initialize both for the same observable.")
    return _map(lambda reducer, x, y: reducer.merge(x, y), reducers, a=a, b=b)


def pooled(reducer: Reducer) -> Reducer:
    """Merge the observations of all members of an ensemble into one result.

    Args:
        reducer: a reducer that can be merged: means, variances, histograms, extremes, but no correlations.

    Returns:
        A reducer for `td.run` of an ensemble. For a single system it is the same as `reducer`.

    Raises:
        ValueError: `reducer` cannot be merged, or sees all members already (`td.jointly`).

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
        raise ValueError("reducer: it sees all members at once, so it has one result already. Leave pooled out.")
    if type(reducer).merge is Reducer.merge:
        raise ValueError(
            f"reducer: {type(reducer).__name__} cannot be merged. Average the results of the members instead."
        )
    return reducer.replace(pooled=True)


@jax.jit
def pool(reducer: Reducer, carries: PyTree) -> PyTree:
    """Return the merged carry of all members, from carries that are stacked along the first axis."""
    first, rest = (jax.tree.map(lambda x, part=part: x[part], carries) for part in (0, slice(1, None)))
    return jax.lax.scan(lambda total, one: (reducer.merge(total, one), None), first, rest)[0]


def sum_dtype(dtype: DTypeLike) -> jnp.dtype:
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
    """Return `shapes` with the dtypes of sums; refuse complex leaves, for which `name` is not defined."""

    def one(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise ValueError(
                f"of: {name} is defined for real numbers, got an observable of dtype {x.dtype}. Observe its real and "
                "imaginary parts, or its absolute value."
            )
        return jax.ShapeDtypeStruct(x.shape, sum_dtype(x.dtype))

    return jax.tree.map(one, shapes)


def check_shape(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Return an observed value; refuse one whose shape differs from that in `init`."""
    if x.shape != shape:
        raise ValueError(
            f"of: expected an observable of shape {list(shape)} as in init, got {list(x.shape)}. Call init again for "
            "the new shape."
        )
    return x


def _is_reducer(x: Any) -> bool:
    return isinstance(x, Reducer)


def check_reducers(name: str, reducers: PyTree) -> None:
    """Refuse a tree with leaves that are not reducers."""
    for x in jax.tree.leaves(reducers, is_leaf=_is_reducer):
        if not _is_reducer(x):
            raise ValueError(f"{name}: expected a Reducer or a tree of them, got {x!r}. Use e.g. stream.mean(of).")


def _check_carry(name: str, reducer: Reducer, carry: Any) -> None:
    if reducer.entries and not (isinstance(carry, dict) and carry.keys() == set(reducer.entries)):
        raise ValueError(
            f"{name}: expected the carry of a {type(reducer).__name__}, a dict of {', '.join(reducer.entries)}, got "
            f"{check.brief(carry)}. Use the carry that stream.init(reducers, state) returns."
        )


def _map(f: Callable[..., Any], reducers: PyTree, **carries: PyTree) -> PyTree:
    """Map over reducers and their parts of trees of carries; the names of the trees are for error messages."""
    check_reducers("reducers", reducers)
    each, structure = jax.tree.flatten(reducers, is_leaf=_is_reducer)
    columns = []
    for name, carry in carries.items():
        try:
            column = structure.flatten_up_to(carry)
        except ValueError as error:
            raise ValueError(
                f"{name}: expected a tree like the reducers, as stream.init(reducers, state) returns it: {error}"
            ) from error
        for reducer, x in zip(each, column, strict=True):
            _check_carry(name, reducer, x)
        columns.append(column)
    return structure.unflatten([f(*row) for row in zip(each, *columns, strict=True)])


def _number(leaf: Any) -> Any:
    # Python numbers are results here, not structure
    leaf = jnp.asarray(leaf) if isinstance(leaf, bool | int) else leaf
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        raise ValueError(f"of: expected numbers, got {leaf.dtype}. Leave random keys out of the observable.")
    return leaf
