"""Batches of systems: lists that are allocated, rebuilt and used together equal those of single systems."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn import particles as tp

pytestmark = pytest.mark.slow

KEY = jax.random.key(0)


def pairs_of(position, reach, box=None):
    delta = np.asarray(position)[:, None] - np.asarray(position)
    if box is not None:
        delta -= box * np.round(delta / box)
    distance = np.linalg.norm(delta, axis=-1)
    return {(int(i), int(j)) for i, j in zip(*np.nonzero(distance <= reach), strict=True) if i != j}


def listed(lists, k):
    i, j = jax.tree.map(lambda leaf: leaf[k], lists).pairs()
    return set(zip(i.tolist(), j.tolist(), strict=True))


def test_lists_of_open_systems_of_any_density_are_allocated_together():
    size = jnp.array([2.0, 8.0, 3.0])
    position = size[:, None, None] * jax.random.uniform(KEY, (3, 40, 3))
    lists = tp.neighbor_list(tp.free(), 1.0, skin=0.2).allocate_members(position)
    for k in range(3):
        assert listed(lists, k) == pairs_of(position[k], 1.2)


def test_lists_of_different_boxes_are_allocated_together():
    box = jnp.array([8.0, 4.0, 6.0])
    position = box[:, None, None] * jax.random.uniform(KEY, (3, 60, 2))
    spaces = jax.vmap(tp.periodic)(box)
    lists = tp.neighbor_list(tp.periodic(1.0), 1.0, skin=0.2).allocate_members(position, spaces)
    for k in range(3):
        assert listed(lists, k) == pairs_of(position[k], 1.2, float(box[k]))
    energy = tp.pair_energy(tp.shifted(tp.lennard_jones(), 1.0), tp.periodic(1.0))
    with_lists = jax.vmap(lambda x, env, space: energy.replace(space=space)(x, env))(position, lists, spaces)
    all_pairs = jax.vmap(lambda x, space: energy.replace(space=space)(x))(position, spaces)
    np.testing.assert_allclose(with_lists, all_pairs, rtol=1e-12)


def test_a_batch_of_trajectories_with_lists_equals_the_single_trajectories():
    start = tp.fcc(2, density=0.9).position
    kT = jnp.array([0.1, 2.0])  # the hot system rebuilds its list often, the cold one never
    lists = tp.neighbor_list(tp.free(), 2.0, skin=0.4).allocate(start)
    energy = tp.pair_energy(tp.shifted(tp.lennard_jones(), 2.0), tp.free())
    dynamics = td.nve(energy, dt=5e-3, space=tp.free())

    def end(kT):
        state = dynamics.init(KEY, start, lists, kT=kT)
        return td.trajectory(dynamics, state, lists, steps=60).state

    batch = jax.jit(jax.vmap(end))(kT)
    assert not np.any(batch.status)
    for k, one in enumerate(kT):
        np.testing.assert_allclose(batch.position[k], jax.jit(end)(one).position, rtol=0, atol=1e-9)


def test_a_batch_is_rebuilt_as_soon_as_one_member_must_be():
    start = jnp.stack([tp.fcc(2, density=0.9).position] * 2)
    lists = tp.neighbor_list(tp.free(), 2.0, skin=0.4).allocate_members(start)
    still = jax.jit(jax.vmap(lambda env, x: env.update(x)))(lists, start + 0.01)
    np.testing.assert_array_equal(still.reference, lists.reference)
    moved = start.at[1, 3, 0].add(0.3)
    fresh = jax.jit(jax.vmap(lambda env, x: env.update(x)))(lists, moved)
    np.testing.assert_array_equal(fresh.reference, moved)
    assert listed(fresh, 1) == pairs_of(moved[1], 2.4)
