"""A list with a tolerance lives longer and misses no more than the allowed fraction of the pairs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_same_bits
from treedyn import particles as tp
from treedyn.particles.neighbors._tolerance import FURTHEST, largest_spread, missed

pytestmark = pytest.mark.slow

KEY = jax.random.key(2)
CUTOFF, SKIN = 2.0, 0.3


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("part", [0.25, 0.4])
def test_the_missed_fraction_is_that_of_evenly_spread_pairs_with_random_motion(dimension, part):
    # the cutoff is much larger than skin and displacements, so the shell around it is flat
    cutoff, skin = 200.0, 1.0
    spread, count = part * skin, 4_000_000
    rng = np.random.default_rng(dimension)
    away = rng.uniform(0.0, 8 * spread, count)  # beyond cutoff + skin
    inside = away + skin + np.sqrt(2) * spread * rng.normal(size=count) < 0.0
    shell = dimension * 8 * spread / cutoff  # pairs in it, relative to those within the cutoff
    found, error = shell * inside.mean(), shell * inside.std() / np.sqrt(count)
    assert abs(found - missed(spread, skin, cutoff, dimension)) < 4 * error


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3, 0.1])
def test_the_largest_spread_misses_the_allowed_fraction(tolerance):
    spread = largest_spread(tolerance, SKIN, CUTOFF, 3)
    assert missed(spread, SKIN, CUTOFF, 3) == pytest.approx(tolerance, rel=1e-6)
    assert spread < largest_spread(1.1 * tolerance, SKIN, CUTOFF, 3)


@functools.cache
def still(tolerance, dimension=3):
    x = jax.random.uniform(KEY, (400, dimension), maxval=8.0)
    return tp.neighbor_list(tp.periodic(8.0), CUTOFF, skin=SKIN, tolerance=tolerance).allocate(x), x


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_list_ends_at_its_spread_along_every_axis(dimension):
    lists, x = still(1e-3, dimension)
    spread = largest_spread(1e-3, SKIN, CUTOFF, dimension)
    way = jax.random.normal(jax.random.key(1), x.shape)
    square = jnp.sum(way**2, axis=1)
    way = way * spread / jnp.sqrt(jnp.mean(square**2) / ((dimension + 2) * jnp.mean(square)))
    assert bool(lists.valid(x + 0.999 * way)) and not bool(lists.valid(x + 1.001 * way))
    assert not bool(lists.valid(x.at[0, 0].set(jnp.nan)))


@functools.cache
def crowd():
    x = jax.random.uniform(KEY, (4000, 3), maxval=16.0)
    lists = tp.neighbor_list(tp.periodic(16.0), CUTOFF, skin=SKIN, tolerance=1e-3).allocate(x)
    return lists, x, largest_spread(1e-3, SKIN, CUTOFF, 3) * jax.random.normal(jax.random.key(1), x.shape)


@pytest.mark.parametrize("many", [80, 400, 2000])
def test_a_few_moving_particles_end_a_list_at_the_same_spread(many):
    lists, x, way = crowd()
    way = way.at[many:].set(0.0)
    assert bool(lists.valid(x + 0.8 * way)) and not bool(lists.valid(x + 1.2 * way))


def test_a_single_fast_particle_ends_a_list():
    lists, x, way = crowd()
    limit = FURTHEST * largest_spread(1e-3, SKIN, CUTOFF, 3)
    for part, holds in ((0.999, True), (1.001, False)):
        flown = (0.5 * way).at[7].set(jnp.array([0.0, part * limit, 0.0]))
        assert bool(lists.valid(x + flown)) == holds


def test_strain_of_the_box_uses_up_the_skin():
    lists, x = still(1e-3)
    reach = CUTOFF + SKIN
    for strain, holds in ((0.99 * SKIN / reach, True), (1.01 * SKIN / reach, False)):
        assert bool(lists.valid(x * (1 - strain), space=tp.periodic(8.0 * (1 - strain)))) == holds


def test_by_default_no_pair_may_be_missed():
    space = tp.periodic(8.0)
    lists, x = still(0.0)
    assert lists.spread is None
    assert_same_bits(jax.tree.leaves(lists), jax.tree.leaves(tp.neighbor_list(space, CUTOFF, skin=SKIN).allocate(x)))
    with pytest.raises(ValueError, match="tolerance: expected the fraction of the pairs"):
        tp.neighbor_list(space, CUTOFF, tolerance=0.2)


def liquid(dtype=jnp.float64, tolerance=0.0, skin=SKIN):
    crystal = tp.fcc(8, density=0.8)
    energy = tp.pair_energy(tp.force_shifted(tp.lennard_jones(), CUTOFF), crystal.space)
    dynamics = td.nve(energy, dt=5e-3, space=crystal.space)
    x = crystal.position.astype(dtype)
    env = tp.neighbor_list(crystal.space, CUTOFF, skin=skin, tolerance=tolerance).allocate(x)
    return dynamics, dynamics.init(KEY, x, env, kT=1.6), env


def near(env, x, space):
    i, j = env.pairs()
    way = np.asarray(x)[i] - np.asarray(x)[j]
    side = np.asarray(space.box)
    way -= side * np.round(way / side)
    return int(np.sum(np.sum(way**2, axis=1) < CUTOFF**2))


@pytest.mark.parametrize("tolerance", [1e-4, 1e-3])
def test_a_list_of_a_liquid_misses_no_more_than_the_tolerance_and_lives_longer(tolerance):
    dynamics, state, env = liquid()
    state = td.run(dynamics, state, env, steps=400).state
    step = jax.jit(dynamics.step)
    lives, parts = {}, []
    for allowed in (0.0, tolerance):
        lists = tp.neighbor_list(dynamics.space, CUTOFF, skin=SKIN, tolerance=allowed).allocate(state.position)
        now, lives[allowed] = state, 0
        while bool(lists.valid((after := step(now, lists)).position)):
            now, lives[allowed] = after, lives[allowed] + 1
        whole = near(
            tp.neighbor_list(dynamics.space, CUTOFF, skin=0.0).allocate(now.position), now.position, dynamics.space
        )
        parts.append((whole - near(lists, now.position, dynamics.space), whole))
    assert parts[0][0] == 0 and lives[tolerance] > 2 * lives[0.0]
    lost, whole = parts[1]
    assert 0 < lost < tolerance * whole + 4 * np.sqrt(tolerance * whole)


def test_energy_is_conserved_with_a_tolerance_of_one_pair_in_ten_thousand():
    def drift_of(tolerance):
        dynamics, state, env = liquid(tolerance=tolerance)
        state = td.run(dynamics, state, env, steps=300).state
        out = td.run(dynamics, state, env, steps=2000, every=10, record=dynamics.conserved)
        time = np.arange(200) * 0.05
        slope = np.polyfit(time, out.records / len(state.position), 1)[0]
        return out.rebuilds, abs(slope) * 50.0  # over 10,000 steps

    (exact, _), (fewer, drift) = drift_of(0.0), drift_of(1e-4)
    assert fewer < exact / 2 and drift < 1e-3


def test_the_length_of_a_chunk_changes_no_bit():
    dynamics, state, env = liquid(jnp.float32, 1e-3)
    one, other = (td.run(dynamics, state, env, steps=60, chunk=chunk) for chunk in (60, 7))
    assert_same_bits(one.state, other.state)
    assert one.rebuilds == other.rebuilds > 0
