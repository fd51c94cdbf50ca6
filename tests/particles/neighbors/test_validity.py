"""Validity of a neighbor list under motion, strain, overflow, a shrinking box, and NaN."""

import functools
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treedyn._status import Status
from treedyn.particles.neighbors._spec import neighbor_list
from treedyn.particles.space._space import periodic, triclinic

CUTOFF, SKIN, SIDE = 1.0, 0.4, 6.0
SPACE = periodic(np.array([SIDE, SIDE]))


@functools.cache
def fluid():
    """Points in a plane within [1, 5], so that a shift leaves them inside the box and wrapping rounds nothing."""
    x = jnp.asarray(np.random.default_rng(0).uniform(1, 5, (60, 2)))
    return neighbor_list(SPACE, CUTOFF, skin=SKIN, headroom=2.0).allocate(x)


def pull(distance, particle=17):
    """Move one particle by a distance along a diagonal."""
    return fluid().reference.at[particle].add(distance / np.sqrt(2))


@pytest.mark.parametrize("margin", [0.3, 0.75, 1.0])
def test_a_list_is_valid_until_a_particle_has_moved_by_half_the_usable_skin(margin):
    lists, eps = fluid(), 1e-12
    assert bool(lists.valid(lists.reference, margin=margin))
    assert bool(lists.valid(pull(margin * SKIN / 2 - eps), margin=margin))
    assert not bool(lists.valid(pull(margin * SKIN / 2 + eps), margin=margin))


def test_a_jump_by_a_period_is_not_motion():
    lists = fluid()
    assert bool(lists.valid(lists.reference + SIDE * jnp.asarray([[1.0, -2.0]])))


def test_update_rebuilds_before_the_list_ends():
    lists = fluid()
    update = jax.jit(lambda lists, x: lists.update(x))
    before, after = pull(0.74 * SKIN / 2), pull(0.76 * SKIN / 2)
    assert np.array_equal(update(lists, before).reference, lists.reference)
    assert np.array_equal(update(lists, after).reference, after)
    boxed = update(lists, before)
    assert jax.tree.structure(boxed) == jax.tree.structure(lists)
    assert [leaf.dtype for leaf in jax.tree.leaves(boxed)] == [leaf.dtype for leaf in jax.tree.leaves(lists)]


def test_nan_is_never_valid_and_sets_a_bit():
    broken = fluid().reference.at[3, 1].set(jnp.nan)
    assert not bool(fluid().valid(broken))
    rebuilt = fluid().rebuild(broken)
    assert int(rebuilt.status) == Status.NONFINITE
    assert not bool(rebuilt.valid(broken))


def test_too_many_neighbors_set_overflow_until_the_list_is_allocated_again():
    lists = fluid()
    crowd = 3 + 0.05 * lists.reference
    full = lists.rebuild(crowd)
    assert int(full.status) & Status.OVERFLOW
    assert int(full.rebuild(lists.reference).status) & Status.OVERFLOW, "a bit was taken back"
    grown = full.allocate(crowd)
    assert int(grown.status) == 0
    assert len(grown.pairs()[0]) == 60 * 59
    assert grown.capacity > lists.capacity
    assert all(new >= old for new, old in zip(grown.room, lists.room, strict=True))


def test_allocating_again_keeps_sizes_that_are_large_enough():
    lists = fluid()
    again = lists.allocate(lists.reference)
    assert (again.capacity, again.room) == (lists.capacity, lists.room)


def test_a_box_that_shrinks_under_its_list_is_caught():
    lists = fluid()
    factor = 1 - 0.9 * SKIN / (CUTOFF + SKIN)
    for scale, held in ((1.0, True), (factor, True), (1 - 1.1 * SKIN / (CUTOFF + SKIN), False)):
        space = periodic(np.array([SIDE, SIDE]) * scale)
        assert bool(lists.valid(lists.reference * scale, space=space)) == held
    # only the box shrank, so particles far from the origin have moved relative to it
    assert not bool(lists.valid(lists.reference, space=periodic(np.array([SIDE, SIDE]) * factor)))


@pytest.mark.slow
def test_a_box_that_shrank_too_far_sets_a_bit_when_the_list_is_rebuilt():
    lists = fluid()
    assert lists.grid.counts == (4, 4)
    for side, bit in ((SIDE, 0), (4 * (CUTOFF + SKIN) * 0.99, Status.BOX), (1.9 * (CUTOFF + SKIN), Status.BOX)):
        scale = side / SIDE
        rebuilt = lists.rebuild(lists.reference * scale, periodic(np.array([side, side])))
        assert int(rebuilt.status) & Status.BOX == bit
    smaller = periodic(np.array([SIDE, SIDE]) * 0.9)
    assert int(lists.allocate(lists.reference * 0.9, smaller).status) == 0


def test_update_follows_the_box():
    lists = fluid()
    update = jax.jit(lambda lists, x, space: lists.update(x, space))
    near, far = (periodic(np.array([SIDE, SIDE]) * scale) for scale in (0.999, 1.3))
    assert np.array_equal(update(lists, lists.reference * 0.999, near).space.box, lists.space.box)
    moved = update(lists, lists.reference * 1.3, far)
    assert np.allclose(moved.space.box, SIDE * 1.3)
    assert bool(moved.valid(lists.reference * 1.3, space=far)) and int(moved.status) == 0


@functools.cache
def strained():
    cell = np.array([[6.0, 0.0], [1.0, 6.0]])
    x = np.random.default_rng(4).uniform(0, 1, (50, 2)) @ cell
    lists = neighbor_list(triclinic(cell), CUTOFF, skin=SKIN).allocate(jnp.asarray(x))
    return lists, cell, x


@pytest.mark.slow
@given(
    part=st.floats(0, 1),
    used=st.floats(0.8, 1.02),
    shear=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_valid_list_misses_no_pair_within_the_cutoff_under_any_strain(part, used, shear, seed):
    lists, cell, x = strained()
    rng = np.random.default_rng(seed)
    # compression uses a part of the skin and approaching particles the rest, up to the limit and beyond
    strain = shear * rng.uniform(-1, 1, (2, 2)) - np.eye(2)
    deform = np.eye(2) + used * part * SKIN / (CUTOFF + SKIN) * strain / np.linalg.norm(strain, 2)
    cell, carried = cell @ deform, x @ deform
    delta = carried[:, None, None] - carried[None, :, None] + np.array(list(product(range(-2, 3), repeat=2))) @ cell
    distance = np.linalg.norm(delta, axis=-1)
    listed = np.eye(len(x), dtype=bool)
    listed[lists.pairs()] = True
    nearest = np.argmin(np.where(listed[..., None], np.inf, distance).reshape(len(x), -1), axis=1)
    toward = delta.reshape(len(x), -1, 2)[np.arange(len(x)), nearest]
    moved = carried - used * (1 - part) * SKIN / 2 * toward / np.linalg.norm(toward, axis=1)[:, None]
    held = bool(lists.valid(jnp.asarray(moved), space=triclinic(cell)))
    assert held or used > 0.9 or shear, "a list was invalid too early"
    delta += (moved - carried)[:, None, None] - (moved - carried)[None, :, None]
    if held:
        assert listed[np.min(np.linalg.norm(delta, axis=-1), axis=-1) <= CUTOFF].all()


@pytest.mark.parametrize("scale", [0.93, 1.07])
def test_a_small_strain_leaves_the_rest_of_the_skin_for_motion(scale):
    lists, cell, x = strained()
    left = (SKIN - 0.07 * (CUTOFF + SKIN)) / 2
    for motion, held in ((left - 1e-9, True), (left + 1e-9, False)):
        moved = x * scale
        moved[0, 0] += motion
        assert bool(lists.valid(jnp.asarray(moved), space=triclinic(cell * scale))) == held


def test_no_gradient_flows_through_a_list():
    def energy(x, box):
        lists = fluid().rebuild(x, periodic(box))
        near = jnp.where(lists.valid(x), x[lists.order[lists.partners[0]]], 0)
        return jnp.sum(near**2) + jnp.sum(lists.reference) + jnp.sum(lists.space.box)

    x, box = fluid().reference, jnp.full(2, SIDE)
    slope, by_box = jax.grad(energy, argnums=(0, 1))(x, box)
    count = np.bincount(np.asarray(fluid().order)[np.asarray(fluid().partners[0])], minlength=len(x))
    assert np.allclose(slope, 2 * count[:, None] * np.asarray(x))
    assert not np.any(by_box)
