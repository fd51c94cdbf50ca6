"""What the tests share: trees of every kind, a table of all methods, an energy for any tree, and tolerances.

`table()` gives the contract table as pytest parameters: every method on a rich tree, and one method on every tree.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from treedyn import noise, operators

DTYPES = (jnp.float32, jnp.float64)
KEY = jax.random.key(7)


def tolerance(*dtypes: Any) -> float:
    """Return the relative and absolute tolerance for a few hundred operations in the least precise of `dtypes`."""
    return 200 * max(float(jnp.finfo(dtype).eps) for dtype in dtypes)


def moving_leaves(tree: Any) -> list[jax.Array]:
    """Return the leaves that a dynamics moves, told apart by Equinox and not by the library."""
    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))


def assert_close(actual: Any, expected: Any, tol: float | None = None) -> None:
    """Require the same structure and dtypes, and values within `tol` (default: from the dtypes)."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert jnp.result_type(a) == jnp.result_type(e)
        kind = jnp.result_type(a)
        bound = tolerance(kind) if tol is None and jnp.issubdtype(kind, jnp.floating) else tol or 0
        np.testing.assert_allclose(np.asarray(plain(a)), np.asarray(plain(e)), rtol=bound, atol=bound)


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Require the same structure, dtypes and bits."""
    assert_close(actual, expected, tol=0)


def plain(leaf: Any) -> Any:
    """Return a leaf as numbers: random keys as their data."""
    is_key = jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
    return jax.random.key_data(leaf) if is_key else leaf


# --- trees -----------------------------------------------------------------------------------------------------------


class Layer(td.Struct):
    """A struct with a function, a static field, and two moving leaves."""

    weight: jax.Array
    bias: jax.Array
    activation: Callable[[jax.Array], jax.Array] = td.function(default=jnp.tanh)
    label: str = td.static(default="layer")

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.activation(self.weight @ x + self.bias)


class Module(eqx.Module):
    """An Equinox module that has function, integer, boolean and string leaves."""

    linear: eqx.nn.Linear
    activation: Callable[[jax.Array], jax.Array]
    repeats: int
    gated: bool
    label: str
    counts: jax.Array

    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(self.repeats):
            x = self.activation(self.linear(x))
        return x * self.counts[0].astype(x.dtype) if self.gated else x


def vector(dtype: Any) -> jax.Array:
    return jnp.array([0.8, -0.3], dtype)


def matrix(dtype: Any) -> jax.Array:
    return jnp.array([[0.5, -1.1], [0.2, 0.9]], dtype)


def flax_params(dtype: Any) -> Any:
    params = nn.Dense(2, param_dtype=dtype).init(jax.random.key(1), vector(dtype))
    return jax.tree.map(lambda x: x + jnp.asarray(0.1, dtype), params)


def equinox_module(dtype: Any) -> Module:
    linear = eqx.nn.Linear(2, 2, key=jax.random.key(2), dtype=dtype)
    return Module(
        linear=linear, activation=jax.nn.tanh, repeats=2, gated=True, label="net", counts=jnp.array([2, 5], jnp.int32)
    )


# few different shapes, so that what was compiled for one tree serves the next
TREES: dict[str, Callable[[Any], Any]] = {
    "scalar": lambda dtype: jnp.asarray(0.7, dtype),
    "zero_d_leaf": lambda dtype: {
        "scale": jnp.asarray(0.6, dtype),
        "shift": jnp.asarray(-0.4, dtype),
        "w": matrix(dtype),
    },
    "dict": lambda dtype: {"a": vector(dtype), "b": matrix(dtype)},
    "nested": lambda dtype: (matrix(dtype), (vector(dtype), [jnp.asarray(0.3, dtype)])),
    "struct": lambda dtype: Layer(weight=matrix(dtype), bias=vector(dtype)),
    "empty_subtrees": lambda dtype: {
        "a": vector(dtype),
        "b": matrix(dtype),
        "none": None,
        "dict": {},
        "list": [[], ()],
    },
    "mixed_dtypes": lambda dtype: {"a": vector(jnp.float32), "b": matrix(jnp.float64), "c": jnp.arange(3)},
    "flax": flax_params,
    "equinox": equinox_module,
    # all of this in one tree
    "rich": lambda dtype: {
        "layers": [Layer(weight=matrix(dtype), bias=vector(dtype)), None],
        "scale": jnp.asarray(0.6, dtype),
        "empty": ({}, []),
        **{"function": jnp.tanh, "counts": jnp.arange(3), "name": "net", "number": 3},
    },
}


def lowest(position: Any) -> Any:
    """Return the least precise dtype among the moving leaves."""
    return max((leaf.dtype for leaf in moving_leaves(position)), key=lambda dtype: jnp.finfo(dtype).eps)


def energy(position: Any) -> jax.Array:
    """Return an anharmonic energy that tells all elements apart, couples all leaves, and calls what can be called."""
    leaves = moving_leaves(position)
    kind = np.result_type(*[leaf.dtype for leaf in leaves])
    value, flow = jnp.zeros((), kind), jnp.zeros((), kind)
    for k, leaf in enumerate(leaves):
        x = leaf.astype(kind)
        stiffness = 1 + 0.3 * k + 0.1 * jnp.arange(x.size).astype(kind).reshape(x.shape)
        value = value + jnp.sum(stiffness * (x**2 / 2 + x**4 / 20))
        flow = flow + jnp.sum(x)
    value = value + 0.1 * flow**2
    if callable(position):
        value = value + jnp.sum(position(vector(kind)) ** 2)
    elif isinstance(position, dict) and "params" in position:
        value = value + jnp.sum(nn.Dense(2, dtype=kind, param_dtype=kind).apply(position, vector(kind)) ** 2)
    return value


# --- methods ---------------------------------------------------------------------------------------------------------


class Tap(td.Operator):
    """A user's own operator: random taps on the momenta; it remembers how much kinetic energy they brought."""

    name = "tap"
    strength: Any

    def init(self, state: td.State) -> jax.Array:
        return jnp.zeros((), td.tree.dtype(state.momentum))

    def draw(self, key: jax.Array, state: td.State) -> Any:
        return noise.normal(key, state.momentum)

    def apply(self, state: td.State, h: Any, noise: Any, memory: jax.Array) -> tuple[td.State, jax.Array]:
        strength = jax.tree.map(lambda p: td.tree.cast(self.strength * jnp.sqrt(h), p), state.momentum)
        momentum = jax.tree.map(lambda p, xi, s: p + s * xi, state.momentum, noise, strength)
        before, after = (td.tree.vdot(p, p) / 2 for p in (state.momentum, momentum))
        return state.replace(momentum=momentum), memory + after - before


def composed(target: Any, dt: Any, kT: Any, mass: Any) -> td.Splitting:
    A, B = operators.drift(td.euclidean()), operators.kick()
    return td.compose(target, (B, A, Tap(strength=kT), A, B), dt, mass=mass)


@dataclasses.dataclass(frozen=True)
class Method:
    """A row of the contract table.

    Attributes:
        build: `build(target, dt, kT, mass)`; a minimizer ignores what it does not have.
        numbers: which of `dt` and `kT` it has.
        noisy: whether it draws random numbers while it steps.
        inertial: whether it has momenta.
        coupled: whether what happens to one leaf depends on all others, by design and not only through the energy.
        grouped: whether `groups` takes that coupling apart.
    """

    build: Callable[..., td.Dynamics]
    numbers: tuple[str, ...] = ("dt", "kT")
    noisy: bool = False
    inertial: bool = True
    coupled: bool = False
    grouped: bool = False


def _langevin(splitting: str) -> Method:
    return Method(lambda f, dt, kT, mass: td.langevin(f, dt, kT, 1.5, mass=mass, splitting=splitting), noisy=True)


def _brownian(method: str) -> Method:
    def build(f, dt, kT, mass):
        return td.brownian(f, dt, kT, 1.5, mass=mass, method=method)

    return Method(build, noisy=True, inertial=False)


_MINIMIZER: dict[str, Any] = {"inertial": False, "numbers": ("dt",)}
_SEARCH: dict[str, Any] = {"inertial": False, "numbers": ()}

METHODS: dict[str, Method] = {
    "nve": Method(lambda f, dt, kT, mass: td.nve(f, dt, mass=mass), numbers=("dt",)),
    "nve_order_4": Method(lambda f, dt, kT, mass: td.nve(f, dt, mass=mass, order=4), numbers=("dt",)),
    "langevin_baoab": _langevin("BAOAB"),
    "langevin_baoa": _langevin("BAOA"),
    "langevin_obabo": _langevin("OBABO"),
    "brownian_leimkuhler_matthews": _brownian("leimkuhler_matthews"),
    "brownian_euler_maruyama": _brownian("euler_maruyama"),
    "nose_hoover": Method(
        lambda f, dt, kT, mass, **kw: td.nose_hoover(f, dt, kT, 0.8, mass=mass, **kw), coupled=True, grouped=True
    ),
    "csvr": Method(
        lambda f, dt, kT, mass, **kw: td.csvr(f, dt, kT, 0.8, mass=mass, **kw), noisy=True, coupled=True, grouped=True
    ),
    "berendsen": Method(
        lambda f, dt, kT, mass, **kw: td.berendsen(f, dt, kT, 0.8, mass=mass, **kw), coupled=True, grouped=True
    ),
    "andersen": Method(lambda f, dt, kT, mass: td.andersen(f, dt, kT, 4.0, mass=mass), noisy=True),
    "composed": Method(composed, noisy=True),
    "malt": Method(
        lambda f, dt, kT, mass: td.malt(f, dt, (1, 3), 1.5, kT, mass=mass), numbers=(), noisy=True, coupled=True
    ),
    "mclmc": Method(lambda f, dt, kT, mass: td.mclmc(f, dt, kT, 1.5, mass=mass), noisy=True, coupled=True),
    "warm_up": Method(
        lambda f, dt, kT, mass: td.warm_up(td.hmc(f, dt, (1, 3), kT, mass=mass), 4, pool=False),
        numbers=(),
        noisy=True,
        coupled=True,
    ),
    "random_walk": Method(
        lambda f, dt, kT, mass: td.random_walk(f, dt, kT), numbers=(), noisy=True, inertial=False, coupled=True
    ),
    "gradient_descent": Method(lambda f, dt, kT, mass: td.gradient_descent(f, dt, max_step=0.5), **_MINIMIZER),
    "fire": Method(lambda f, dt, kT, mass: td.fire(f, dt), coupled=True, **_MINIMIZER),
    "conjugate_gradient": Method(
        lambda f, dt, kT, mass: td.conjugate_gradient(f, max_step=0.5), coupled=True, **_SEARCH
    ),
    "lbfgs": Method(lambda f, dt, kT, mass: td.lbfgs(f, max_step=0.5), coupled=True, **_SEARCH),
    "adam": Method(lambda f, dt, kT, mass: td.from_optax(f, optax.adam(dt)), **_MINIMIZER),
}


# other sequences of operators that an earlier row has, and searches that take long to compile; the fast suite leaves
# most of what concerns them to the slow one
VARIANTS = (
    *("nve_order_4", "langevin_baoa", "langevin_obabo", "brownian_euler_maruyama"),
    *("conjugate_gradient", "lbfgs"),
)


def make(method: str, target: Any = energy, dt: Any = 0.1, kT: Any = 0.7, mass: Any = 1.0, **more: Any) -> td.Dynamics:
    """Build the dynamics of one row; a bare energy is named as one, because a scalar position leaves no other way."""
    target = target if isinstance(target, td.Target) else td.from_energy(target)
    return METHODS[method].build(target, dt, kT, mass, **more)


def masses(position: Any) -> Any:
    """Return a different mass for every moving leaf, as a tree like the moving part of the position."""
    leaves, structure = jax.tree.flatten(eqx.filter(position, eqx.is_inexact_array))
    return jax.tree.unflatten(structure, [1 + 0.5 * k for k in range(len(leaves))])


def mostly_slow(values: Any, *fast: Any) -> list[Any]:
    """Return the values of a parameter, or tuples of several, all but `fast` marked slow."""
    rows = {value: value if isinstance(value, tuple) else (value,) for value in values}
    return [pytest.param(*row, marks=() if value in fast else pytest.mark.slow) for value, row in rows.items()]


def by_method(*fast: str, among: Any = METHODS) -> Any:
    """Return the mark that runs a test for every method, the named ones in the fast suite."""
    return pytest.mark.parametrize("method", mostly_slow(among, *fast))


def table(without: Any = ()) -> Any:
    """Return the mark that runs a test, as (method, name, dtype), for all methods on the rich tree, and for one on all.

    A method reaches a tree only through the functions in `treedyn.tree`, so a method and a tree need no case together.
    The methods `without`, and single precision, are marked slow.
    """
    rows = [(method, "rich", dtype) for method in METHODS for dtype in DTYPES]
    rows += [("langevin_baoab", name, jnp.float64) for name in TREES if name != "rich"]
    slow = [row for row in rows if row[0] in without or row[2] == jnp.float32]
    return pytest.mark.parametrize(
        "method, name, dtype", [pytest.param(*row, marks=pytest.mark.slow if row in slow else ()) for row in rows]
    )
