"""The same key gives the same trajectory: which changes around it leave every bit alone, and which leave round-off.

How a run is cut, recorded and stopped is in `tests/driver/test_replay.py`; here is what runs beside it and below it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests import programs
from tests.helpers import assert_close, make, plain
from treedyn import particles as tp

pytestmark = pytest.mark.slow

KEY = jax.random.key(3)
STEPS = 40
# what these do to one element depends on no other: nothing is summed, so nothing can be summed in another order
ELEMENTWISE = ("langevin_baoab", "andersen")


def energy(position):
    """Return an energy whose force on an element depends on that element alone."""
    return sum(jnp.sum(leaf**4) / 4 + jnp.sum(jnp.cos(leaf)) for leaf in jax.tree.leaves(position))


def position(dtype=jnp.float64):
    # made by NumPy: what jnp.linspace returns depends on the number of threads that share it
    return {
        "a": jnp.asarray(np.linspace(-1, 1, 7), dtype),
        "b": jnp.asarray(np.linspace(0, 3, 12), dtype).reshape(4, 3),
    }


def assert_same(actual, expected):
    """Require every bit to be the same, the sign of a zero too."""
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.asarray(plain(a)), np.asarray(plain(e))
        assert (a.dtype, a.shape) == (e.dtype, e.shape) and a.tobytes() == e.tobytes()


def motion(state):
    return state.position, state.momentum


@functools.cache
def alone(method):
    dynamics = make(method, energy)
    state = dynamics.init(KEY, position())
    return dynamics, state, td.run(dynamics, state, steps=STEPS).state


# The dynamics is an argument of what is compiled, as it is in `run`. Where its numbers are constants of a program, the
# compiler works out beforehand what follows from them, with another last bit.


@jax.jit
def own_loop(dynamics, state):
    return jax.lax.fori_loop(0, STEPS, lambda _, s: dynamics.step(s), state)


@jax.jit
def own_step(dynamics, state):
    return dynamics.step(state)


def own_steps(dynamics, state):
    for _ in range(STEPS):
        state = own_step(dynamics, state)
    return state


@jax.jit
def as_trajectory(dynamics, state):
    return td.trajectory(dynamics, state, steps=STEPS).state


@jax.jit
def closed(state):
    return td.trajectory(make("langevin_baoab", energy), state, steps=STEPS).state


LOOPS = (own_loop, own_steps, as_trajectory)


@pytest.mark.parametrize("method", ELEMENTWISE)
def test_run_and_any_compiled_loop_of_ones_own_give_the_same_bits_where_nothing_is_summed(method):
    dynamics, state, expected = alone(method)
    for loop in LOOPS:
        assert_same(motion(loop(dynamics, state)), motion(expected))


def test_a_loop_with_the_numbers_of_the_dynamics_as_constants_is_the_same_to_round_off():
    _, state, expected = alone("langevin_baoab")
    assert_close(motion(closed(state)), motion(expected), tol=1e-12)


@pytest.mark.filterwarnings("ignore:until. it was not met")
def test_what_is_looked_at_changes_no_bit():
    # a sum over all elements is taken in the same order, whatever is computed beside it
    dynamics, state, expected = alone("fire")
    recorded = td.run(dynamics, state, steps=STEPS, every=7, record=lambda s: (s.energy, s.position), chunk=9)
    stopped = td.run(dynamics, state, steps=STEPS, until=lambda s: s.energy > 1e9)
    reduced = td.run(dynamics, state, steps=STEPS, reduce=td.stream.mean(lambda s: s.energy))
    for out in (recorded, stopped, reduced):
        assert_same(out.state, expected)


# --- batches ---------------------------------------------------------------------------------------------------------


def members(size, place):
    return jax.random.split(jax.random.key(8), size).at[place].set(KEY)


@jax.jit
def in_batch(dynamics, keys, start):
    def go(key):
        return td.trajectory(dynamics, dynamics.init(key, start), steps=STEPS).state

    return jax.vmap(go)(keys)


def alone_and_in_batches(method, dtype):
    # init is compiled here, too: momenta that are drawn without differ by round-off
    dynamics = make(method, energy)
    state = jax.jit(lambda dynamics, key: dynamics.init(key, position(dtype)))(dynamics, KEY)
    expected = td.run(dynamics, state, steps=STEPS).state
    for size, place in [(1, 0), (33, 32)]:
        batch = in_batch(dynamics, members(size, place), position(dtype))
        yield motion(expected), jax.tree.map(lambda x, k=place: x[k], motion(batch))


@pytest.mark.parametrize("method, dtype", [("langevin_baoab", jnp.float32), *((m, jnp.float64) for m in ELEMENTWISE)])
def test_a_member_of_any_batch_is_the_run_alone_in_every_bit_where_nothing_is_summed(method, dtype):
    for expected, member in alone_and_in_batches(method, dtype):
        assert_same(member, expected)


CRYSTAL = tp.fcc(2, density=0.8)
CRYSTAL = CRYSTAL.replace(position=CRYSTAL.position + 0.05 * np.sin(np.arange(96)).reshape(-1, 3))
PAIRS = tp.pair_energy(tp.shifted(tp.lennard_jones(), 1.4), CRYSTAL.space)
RECIPE = tp.neighbor_list(CRYSTAL.space, 1.4, skin=0.1, headroom=2.0)


def batch_of_crystals(size):
    start = jnp.stack([CRYSTAL.position] * size)
    return start, RECIPE.allocate_members(start)


def test_forces_of_pairs_with_the_same_list_are_the_same_bits_in_any_batch():
    evaluate = jax.value_and_grad(PAIRS)
    energy, force = jax.jit(evaluate)(CRYSTAL.position, RECIPE.allocate(CRYSTAL.position))
    energies, forces = jax.jit(jax.vmap(evaluate))(*batch_of_crystals(5))
    for k in range(5):
        assert_same(forces[k], force)
        assert_close(energies[k], energy)  # a sum over particles, and over the batch at once


def test_a_run_with_lists_is_the_same_to_round_off_in_a_batch_because_lists_are_rebuilt_together():
    dynamics = td.langevin(PAIRS, dt=5e-3, kT=1.0, space=CRYSTAL.space)

    @jax.jit
    def go(key, start, env):
        return td.trajectory(dynamics, dynamics.init(key, start, env), env, steps=60)

    env = RECIPE.allocate(CRYSTAL.position)
    state = dynamics.init(KEY, CRYSTAL.position, env)
    expected = td.run(dynamics, state, env, steps=60)
    assert expected.rebuilds > 5
    single = go(KEY, CRYSTAL.position, env)
    batch = jax.jit(jax.vmap(go))(members(4, 2), *batch_of_crystals(4))
    for state in (single.state, jax.tree.map(lambda x: x[2], batch.state)):
        assert_close(motion(state), motion(expected.state), tol=1e-10)


# --- names -----------------------------------------------------------------------------------------------------------


def test_names_make_the_noise_and_neither_order_nor_neighbors():
    def moved(start):
        dynamics = make("langevin_baoab", energy)
        return td.run(dynamics, dynamics.init(KEY, start), steps=STEPS).state.position

    here, start = moved(position()), position()
    beside = moved({"0": jnp.ones(3), **dict(reversed(start.items())), "z": jnp.zeros(())})
    for name in start:
        assert_same(beside[name], here[name])
    renamed = moved({"c": start["a"], "b": start["b"]})
    assert_same(renamed["b"], here["b"])
    assert not np.any(np.asarray(renamed["c"]) == np.asarray(here["a"]))


# --- machines --------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
if "one core" in sys.argv and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import treedyn as td
from tests.contracts import test_reproducible as test

spread = NamedSharding(Mesh(np.array(jax.devices()), ("device",)), PartitionSpec("device"))
big, keys = test.long_leaf(), test.members(8, 5)
if "four devices" in sys.argv:
    assert len(jax.devices()) == 4
    big, keys = jax.device_put((big, keys), spread)
whole = test.whole_leaf(big)
batch = test.in_batch(test.make("langevin_baoab", test.energy), keys, test.position())
if "four devices" in sys.argv:
    assert whole.position.sharding.spec == spread.spec and batch.position["a"].sharding.spec == spread.spec
np.savez(sys.argv[1], whole=whole.position, energy=whole.energy, a=batch.position["a"], b=batch.position["b"])
"""


def long_leaf():
    # no power of two: the sum is then divided between devices in another order than on one
    return jnp.asarray(np.sin(np.arange(40_004)))


def whole_leaf(start):
    dynamics = make("langevin_baoab", energy)
    return td.run(dynamics, dynamics.init(KEY, start), steps=STEPS).state


def elsewhere(program, path, *how, **settings):
    # compiled there, not loaded from what was compiled here
    programs.output(programs.start(program, path, *how, JAX_ENABLE_COMPILATION_CACHE="0", **settings))
    return np.load(path)


@pytest.mark.parametrize("how", ["four devices", "one core"])
def test_devices_and_cores_change_no_bit_where_nothing_is_summed(how, tmp_path):
    settings = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"} if how == "four devices" else {}
    there = elsewhere(PROGRAM, tmp_path / "there.npz", how, **settings)
    here = whole_leaf(long_leaf())
    batch = in_batch(make("langevin_baoab", energy), members(8, 5), position())
    assert_same([there["whole"], there["a"], there["b"]], [here.position, batch.position["a"], batch.position["b"]])
    # the energy is a sum over the leaf
    np.testing.assert_allclose(there["energy"], here.energy, rtol=1e-12)


def test_without_64_bits_a_trajectory_of_32_bits_stays_to_round_off_and_one_of_64_bits_is_another(tmp_path):
    program = """
import sys, numpy as np
from tests.contracts import test_reproducible as test
np.savez(sys.argv[1], **{kind: test.short(kind) for kind in ("float32", "float64")})
"""
    there = elsewhere(program, tmp_path / "there.npz", JAX_ENABLE_X64="0")
    np.testing.assert_allclose(there["float32"], short("float32"), rtol=1e-5, atol=1e-5)
    assert there["float64"].dtype == np.float32
    assert np.all(np.abs(there["float64"] - short("float64")) > 1e-4)


def short(kind):
    dynamics = make("langevin_baoab", energy)
    start = jnp.asarray(np.linspace(-1, 1, 9).astype(kind))
    return np.asarray(td.run(dynamics, dynamics.init(KEY, start), steps=STEPS).state.position)
