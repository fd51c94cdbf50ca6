"""Random numbers that depend on the place in the tree, not on the order of calls."""

import zlib
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_map_with_path
from jaxtyping import ArrayLike, DTypeLike, Int

from treedyn._state import State
from treedyn._threefry import fold_in, written_out
from treedyn.tree import PyTree


def at_step(key: jax.Array, step: Int[ArrayLike, ""], operator: int = 0) -> jax.Array:
    """Return the key for one operator of one step."""
    return fold_in(fold_in(key, step), operator)


def of_step(state: State, place: int = 0) -> jax.Array:
    """Return the key for the noise of the next step, a function of `state.stream`, `state.step` and `place`.

    Args:
        state: the state before the step.
        place: number of the draw within the step; different places have independent noise.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0)
        >>> state = dynamics.init(jax.random.key(0), jnp.zeros(3))
        >>> one, other = (td.noise.normal(td.noise.of_step(state, place), state.moving) for place in (0, 1))
        >>> bool(jnp.any(one == other))
        False
    """
    return at_step(state.stream, state.step, place)


def at_path(key: jax.Array, path: str) -> jax.Array:
    """Return the key for the leaf at `path`; it uses a checksum of the path, which is the same on every machine."""
    return fold_in(key, _number(path))


def _number(path: str) -> np.uint32:
    return np.uint32(zlib.crc32(path.encode()))


def draw(sampler: Callable[..., jax.Array], key: jax.Array, tree: PyTree) -> PyTree:
    """Draw `sampler(key, shape, dtype)` for every leaf of `tree`, with a key that depends on the path of the leaf."""
    return tree_map_with_path(
        lambda path, leaf: _draw_leaf(sampler, key, _number(keystr(path)), jnp.shape(leaf), jnp.result_type(leaf)), tree
    )


@partial(jax.jit, static_argnames=("sampler", "shape", "dtype"))
def _draw_leaf(
    sampler: Callable[..., jax.Array], key: jax.Array, number: ArrayLike, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    return sampler(written_out(fold_in(key, number)), shape, dtype)


def normal(key: jax.Array, tree: PyTree) -> PyTree:
    """Draw standard normal noise with the structure, shapes and dtypes of `tree`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from treedyn import noise
        >>> small, large = {"a": jnp.zeros(2)}, {"a": jnp.zeros(2), "b": jnp.zeros(5)}
        >>> key = jax.random.key(0)
        >>> bool(jnp.all(noise.normal(key, small)["a"] == noise.normal(key, large)["a"]))
        True
    """
    return draw(jax.random.normal, key, tree)


def uniform(key: jax.Array, tree: PyTree) -> PyTree:
    """Draw uniform noise in [0, 1) with the structure, shapes and dtypes of `tree`."""
    return draw(jax.random.uniform, key, tree)
