"""`vmap` over keys, temperatures and time steps: every member of a batch is the run it would be alone."""

import jax
import jax.numpy as jnp

import treedyn as td
from tests.helpers import METHODS, TREES, VARIANTS, assert_close, by_method, energy, lowest, make, tolerance

KEYS = jax.random.split(jax.random.key(11), 3)
NUMBERS = {"dt": [0.05, 0.1, 0.2], "kT": [0.3, 0.6, 1.2]}


def batch_of(method, position):
    """Return the arguments of a batch, and the function that makes one member and takes a step."""
    names = METHODS[method].numbers

    def member(key, *numbers):
        dynamics = make(method, td.from_energy(energy), **dict(zip(names, numbers, strict=True)))
        return dynamics.step(dynamics.init(key, position))

    return (KEYS, *(jnp.array(NUMBERS[name]) for name in names)), member


@by_method("brownian_leimkuhler_matthews", among=[m for m in METHODS if m not in VARIANTS])
def test_batch_is_the_stack_of_its_members(method):
    position = TREES["mixed_dtypes"](jnp.float64)
    arguments, member = batch_of(method, position)
    batch = jax.jit(jax.vmap(member))(*arguments)
    for k in (0, 2):
        alone = member(*(x[k] for x in arguments))
        assert_close(jax.tree.map(lambda x, k=k: x[k], batch), alone, tolerance(lowest(position)))
