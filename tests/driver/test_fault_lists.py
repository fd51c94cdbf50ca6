"""A neighbor list that runs out of room, be it at every chunk, costs time and nothing else: the run is the same."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, Near, energy, near_list, points, start_position
from tests.helpers import assert_same_bits
from treedyn import particles as tp
from treedyn import stream
from treedyn._status import word

pytestmark = pytest.mark.slow

CHUNKS = (1, 7, 50)
MEAN = {"energy": stream.mean(lambda state: state.energy)}


def observe(state):
    return {"x": state.position, "energy": state.energy, "step": state.step}


class Full(Near):
    """A list that finds no room whenever it is rebuilt, and then holds nobody: only `allocate` makes a good one."""

    lacking: jax.Array

    def rebuild(self, position):
        good = super().rebuild(position)
        nobody = jnp.full_like(self.pairs, len(self.reference))
        lost = jnp.where(self.lacking, word(td.Status.OVERFLOW), good.word)
        return good.replace(pairs=jnp.where(self.lacking, nobody, good.pairs), word=self.word | lost)

    def allocate(self, position):
        good = self.replace(lacking=jnp.asarray(False), word=jnp.uint32(0)).rebuild(position)
        return good.replace(lacking=self.lacking)


def full_list(position, lacking):
    near = near_list(position, capacity=points(position).shape[0] ** 2)
    return Full(
        pairs=near.pairs,
        reference=near.reference,
        word=near.word,
        skin=jnp.asarray(0.8, near.reference.dtype),
        lacking=jnp.asarray(lacking),
    )


@functools.cache
def droplet(dimension, dtype):
    """Return the start of particles that a trap pulls together."""
    corner = jnp.asarray(np.stack(np.meshgrid(*[[-1.0, 0.1, 1.2]] * dimension), axis=-1).reshape(-1, dimension))
    return (1.6 * corner[:: dimension - 1][:9]).astype(dtype)


NARROW = td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0)


@pytest.mark.parametrize("dimension, dtype", [(3, jnp.float32), (2, jnp.float64)])
def test_a_list_that_has_never_room_costs_time_and_nothing_else(dimension, dtype, tmp_path):
    position = droplet(dimension, dtype)

    def go(lacking, **options):
        env = full_list(position, lacking)
        return td.run(NARROW, NARROW.init(KEY, position, env), env, steps=80, every=3, record=observe, **options)

    expected = go(False, reduce=MEAN)
    assert expected.allocations == 0 and expected.rebuilds > 4 and expected.state.position.dtype == dtype
    for chunk in CHUNKS:
        out = go(True, reduce=MEAN, chunk=chunk)
        assert out.allocations == out.rebuilds == expected.rebuilds
        assert_same_bits((out.state, out.records, out.reduced), (expected.state, expected.records, expected.reduced))
        kept = go(True, reduce=MEAN, chunk=chunk, checkpoint=tmp_path / str(chunk), checkpoint_every=8)
        assert_same_bits((kept.state, kept.records, kept.reduced), (out.state, out.records, out.reduced))


def test_a_list_may_run_out_of_room_twice_at_one_step():
    class Wind(td.Advancing):
        push: jax.Array

        def advance(self, state):
            return self.replace(push=-self.push)

    # there and back again: a list that is rebuilt for where the next step was foretold to lead does not hold there
    dynamics = td.brownian(
        lambda x, env: energy(x, env["near"]) + env["wind"].push * jnp.sum(x), dt=0.05, kT=0.0, gamma=1.0
    )

    def go(lacking, chunk):
        env = {"near": full_list(start_position(), lacking), "wind": Wind(push=jnp.asarray(4.0))}
        return td.run(dynamics, dynamics.init(KEY, start_position(), env), env, steps=20, chunk=chunk)

    expected = go(False, 50)
    assert expected.rebuilds > 30
    for chunk in CHUNKS:
        out = go(True, chunk)
        assert out.steps == 20 and out.allocations > 15
        assert_same_bits(out.state, expected.state)


# a list in three dimensions, and in double precision, is in `tests/particles/energies/test_liquid.py`
def test_a_gas_that_becomes_a_droplet_outgrows_its_list_again_and_again():
    side, count, dtype = 14.0, 7, jnp.float32
    lattice = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=-1).reshape(-1, 2)[:40]
    start = side / count * (lattice + 0.5) + 0.1 * np.sin(np.arange(lattice.size)).reshape(lattice.shape)
    start = start.astype(dtype)
    space = tp.periodic(jnp.asarray(side, dtype))
    pairs = tp.pair_energy(tp.shifted(tp.lennard_jones(), 2.0), space)

    def squeezed(position, env):
        return pairs(position, env) + jnp.sum((position - jnp.asarray(side / 2, dtype)) ** 2)

    dynamics = td.langevin(squeezed, dt=0.01, kT=0.1, gamma=2.0)

    def go(headroom, chunk=None):
        recipe = tp.neighbor_list(space, 2.0, skin=0.3, headroom=headroom)
        env = recipe.allocate(jnp.asarray(start))
        state = dynamics.init(KEY, jnp.asarray(start), env)
        return td.run(dynamics, state, env, steps=150, every=5, record=observe, chunk=chunk)

    expected = go(30.0)
    assert expected.allocations == 0 and expected.state.position.dtype == dtype
    for chunk in CHUNKS:
        out = go(1.0, chunk)
        assert out.allocations > 1 and out.rebuilds == expected.rebuilds
        assert_same_bits((out.state, out.records), (expected.state, expected.records))
