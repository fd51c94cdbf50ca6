"""`vmap` over keys, temperatures and time steps: every member of a batch is the run it would be alone."""

import jax
import jax.numpy as jnp
import pytest

import treedyn as td
from tests.helpers import METHODS, TREES, VARIANTS, assert_close, by_method, energy, lowest, make, table, tolerance

KEYS = jax.random.split(jax.random.key(11), 3)
NUMBERS = {"dt": [0.05, 0.1, 0.2], "kT": [0.3, 0.6, 1.2]}


def batch_of(method, position):
    """Return the arguments of a batch, and the function that makes one member and takes a step."""
    names = METHODS[method].numbers

    def member(key, *numbers):
        dynamics = make(method, td.from_energy(energy), **dict(zip(names, numbers, strict=True)))
        return dynamics.step(dynamics.init(key, position))

    return (KEYS, *(jnp.array(NUMBERS[name]) for name in names)), member


@table(trees=1, without=VARIANTS)
def test_batches_have_one_more_axis_and_nothing_else(method, name, dtype):
    arguments, member = batch_of(method, TREES[name](dtype))
    one = jax.eval_shape(member, *(x[0] for x in arguments))
    all_of_them = jax.eval_shape(jax.vmap(member), *arguments)
    assert jax.tree.structure(all_of_them) == jax.tree.structure(one)
    for many, single in zip(jax.tree.leaves(all_of_them), jax.tree.leaves(one), strict=True):
        assert (many.shape, many.dtype) == ((3, *single.shape), single.dtype)


@by_method("brownian_leimkuhler_matthews", among=[m for m in METHODS if m not in VARIANTS])
def test_batch_is_the_stack_of_its_members(method):
    position = TREES["mixed_dtypes"](jnp.float64)
    arguments, member = batch_of(method, position)
    batch = jax.jit(jax.vmap(member))(*arguments)
    for k in (0, 2):
        assert_close(
            jax.tree.map(lambda x, k=k: x[k], batch), member(*(x[k] for x in arguments)), tolerance(lowest(position))
        )


@pytest.mark.slow
def test_a_dynamics_is_itself_a_batch():
    target = td.from_energy(energy)
    ladder = jax.vmap(lambda kT: td.langevin(target, dt=0.1, kT=kT))(jnp.array(NUMBERS["kT"]))

    @jax.jit
    @jax.vmap
    def walk(dynamics, key):
        return dynamics.step(dynamics.init(key, TREES["dict"](jnp.float64)))

    states = walk(ladder, KEYS)
    alone = td.langevin(target, dt=0.1, kT=0.6)
    expected = alone.step(alone.init(KEYS[1], TREES["dict"](jnp.float64)))
    assert_close(jax.tree.map(lambda x: x[1], states), expected)


def test_noise_of_a_member_does_not_depend_on_the_size_of_the_batch():
    dynamics = make("langevin_baoab")
    state = dynamics.init(KEYS[0], TREES["dict"](jnp.float64))

    def noises(keys):
        return jax.vmap(lambda key: dynamics.draw(state.replace(key=key)))(keys)

    assert_close(noises(KEYS[:1]), jax.tree.map(lambda x: x[:1], noises(KEYS)), tol=0)
