"""Neighbor lists contain exactly the pairs within cutoff + skin: compared with brute force, vesin and ASE."""

import functools
from itertools import product
from typing import NamedTuple

import ase
import ase.neighborlist
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vesin
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import mostly_slow
from treedyn._status import Status
from treedyn.particles.neighbors._spec import neighbor_list
from treedyn.particles.space._space import free, periodic, triclinic

CUTOFF, SKIN = 1.0, 0.25
REACH = CUTOFF + SKIN


class Case(NamedTuple):
    """A kind of box: the number of cells along every axis, the periodic axes, and the storage of points."""

    number: int
    ratios: tuple
    axes: tuple
    kind: str
    dtype: type = np.float64


CASES = {
    "cube": Case(150, (4, 4, 4), (True,) * 3, "periodic", np.float32),
    "skewed": Case(120, (3, 4, 5), (True,) * 3, "triclinic"),
    "fractional plane": Case(80, (5, 3), (True,) * 2, "fractional"),
    "slab": Case(100, (3, 4, 3), (True, True, False), "triclinic", np.float32),
    "wire": Case(60, (4, 4, 2), (False, False, True), "periodic"),
    "one cell": Case(70, (2, 2, 2), (True,) * 3, "triclinic"),
    "free plane": Case(90, (4, 4), (False,) * 2, "free", np.float32),
}


def lattice(case, rng, skew, stretch):
    """Return a cell whose faces are further apart than `ratios` times the reach."""
    heights = REACH * np.array(case.ratios) * (1.01 + stretch * rng.uniform(0, 0.3, len(case.ratios)))
    if case.kind in ("periodic", "free"):
        return np.diag(heights)
    normals = np.eye(len(heights)) + skew * rng.uniform(-0.4, 0.4, (len(heights),) * 2)
    return np.linalg.inv((normals / np.linalg.norm(normals, axis=1)[:, None] / heights[:, None]).T)


def space_of(case, cell):
    if case.kind == "free":
        return free()
    if case.kind == "periodic":
        return periodic(np.diag(cell), axes=case.axes)
    return triclinic(cell, axes=case.axes, fractional=case.kind == "fractional")


def points(case, rng, crowd):
    """Return fractional coordinates in several images, a fraction `crowd` of them in one small cluster."""
    f = rng.uniform(0, 1, (case.number, len(case.ratios)))
    f[: int(crowd * case.number)] = 0.5 + 0.1 * f[: int(crowd * case.number)]
    return f + rng.integers(-2, 3, f.shape) * np.array(case.axes)


def stored(case, fraction, cell):
    return jnp.asarray(fraction if case.kind == "fractional" else fraction @ cell, case.dtype)


def brute_force(position, cell, axes):
    """Return the distances of all pairs, from all images that can be nearer than half a height."""
    fraction = position @ np.linalg.inv(cell)
    fraction = fraction - np.floor(fraction) * np.array(axes)
    shifts = np.array(list(product(*((-1, 0, 1) if p else (0,) for p in axes))))
    delta = (fraction[:, None] - fraction[None])[:, :, None] + shifts
    return np.min(np.linalg.norm(delta @ cell, axis=-1), axis=-1)


def assert_holds_exactly(lists, distance, tolerance, reach=REACH):
    i, j = lists.pairs()
    n = len(distance)
    listed = np.zeros((n, n), int)
    np.add.at(listed, (i, j), 1)
    assert listed.max(initial=0) <= 1, "a pair is listed more than once"
    assert not np.any(np.diag(listed)), "a particle is its own neighbor"
    assert np.array_equal(listed, listed.T), "the list is not symmetric"
    away = ~np.eye(n, dtype=bool)
    assert np.all(listed[(distance < reach - tolerance) & away] == 1), "a pair is missing"
    assert not np.any(listed[distance > reach + tolerance]), "a pair is too far apart"
    assert_is_well_formed(lists)


def assert_is_well_formed(lists):
    order, rank, partners = (np.asarray(x) for x in (lists.order, lists.rank, lists.partners))
    row, particle = np.arange(len(order)), np.arange(len(rank))
    assert np.array_equal(order[rank], particle) and np.array_equal(np.sort(rank), particle)
    assert order.dtype == rank.dtype == partners.dtype == np.int32
    assert partners.min() >= 0 and partners[:, rank].max() < len(rank)
    assert np.all(partners[:, len(rank) :] == row[len(rank) :]), "a padding row has a neighbor"
    padded = partners == row
    assert np.all(padded[1:] >= padded[:-1]), "an empty slot is before a full one"
    assert int(lists.filled) == np.max(np.sum(~padded, axis=0))


@functools.cache
def allocated(name):
    case, rng = CASES[name], np.random.default_rng(0)
    cell = lattice(case, rng, 1.0, 0.0)
    recipe = neighbor_list(space_of(case, cell), CUTOFF, skin=SKIN, headroom=3.0)
    return recipe.allocate(stored(case, points(case, rng, 0.0), cell))


@jax.jit
def rebuilt(lists, position, space):
    return lists.rebuild(position, space)


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(CASES, "slab"))
@given(
    seed=st.integers(0, 2**32 - 1),
    skew=st.floats(0, 1),
    stretch=st.floats(0, 1),
    crowd=st.sampled_from([0.0, 0.0, 0.3, 0.6]),
)
def test_rebuilt_lists_hold_exactly_the_pairs_within_reach_in_any_box(name, seed, skew, stretch, crowd):
    case, rng = CASES[name], np.random.default_rng(seed)
    lists = allocated(name)
    cell = lattice(case, rng, skew, stretch)
    space, position = space_of(case, cell), stored(case, points(case, rng, crowd), cell)
    lists = rebuilt(lists, position, None if case.kind == "free" else space)
    assert lists.reference.dtype == case.dtype
    if int(lists.status) & Status.OVERFLOW:
        assert crowd > 0, "uniform points overflowed"
        return
    assert int(lists.status) == 0
    real = np.asarray(position, float) @ (cell if case.kind == "fractional" else np.eye(len(cell)))
    tolerance = 100 * float(np.finfo(case.dtype).eps) * np.abs(real).max()
    assert_holds_exactly(lists, brute_force(real, cell, case.axes), tolerance)


@pytest.mark.slow
def test_lists_allocated_for_a_crowd_hold_exactly_the_pairs_within_reach():
    case, rng = CASES["slab"], np.random.default_rng(3)
    cell = lattice(case, rng, 1.0, 0.5)
    position = stored(case, points(case, rng, 0.8), cell)
    lists = neighbor_list(space_of(case, cell), CUTOFF, skin=SKIN).allocate(position)
    assert int(lists.status) == 0
    tolerance = 100 * float(np.finfo(case.dtype).eps) * np.abs(np.asarray(position)).max()
    assert_holds_exactly(lists, brute_force(np.asarray(position, float), cell, case.axes), tolerance)


@pytest.mark.parametrize("name", mostly_slow(["cube", "skewed", "slab", "wire", "one cell"], "skewed"))
def test_lists_equal_those_of_vesin_and_ase(name):
    case, rng = CASES[name], np.random.default_rng(7)
    cell = lattice(case, rng, 1.0, 0.0)
    position = stored(case, points(case, rng, 0.0), cell)
    lists = allocated(name).rebuild(position, space_of(case, cell))
    assert int(lists.status) == 0
    mine = set(zip(*(side.tolist() for side in lists.pairs()), strict=True))
    x = np.asarray(position, float)
    i, j = vesin.NeighborList(cutoff=REACH, full_list=True).compute(x, cell, list(case.axes), "ij")
    assert mine == set(zip(i.tolist(), j.tolist(), strict=True))
    i, j = ase.neighborlist.neighbor_list("ij", ase.Atoms(positions=x, cell=cell, pbc=case.axes), REACH)
    assert mine == set(zip(i.tolist(), j.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("number, space", [(1, free()), (3, periodic(4.0))], ids=["one", "three"])
def test_lists_of_very_few_particles(number, space):
    x = jnp.asarray([[0.1, 0.2], [3.9, 0.2], [0.1, 1.0]])[:number]
    lists = neighbor_list(space, CUTOFF, skin=SKIN).allocate(x)
    assert_holds_exactly(lists, np.asarray(space.distance(x[:, None], x[None])), 0.0)


def test_a_list_is_symmetric_for_pairs_at_the_limit_of_rounding():
    lists, rng = allocated("cube"), np.random.default_rng(0)
    side = np.asarray(lists.space.box)
    for _ in range(10):
        first = rng.uniform(0, 1, (75, 3)) * side * np.array([0.1, 1, 1])
        direction = rng.normal(size=(75, 3))
        direction[:, 0] = -np.abs(direction[:, 0]) - 0.2
        second = first + REACH * direction / np.linalg.norm(direction, axis=1)[:, None]
        i, j = lists.rebuild(jnp.asarray(np.concatenate([first, second]) % side, np.float32)).pairs()
        across = np.sum(np.abs(i - j) == 75)
        assert 0 < across < 150, "no pair is at the limit of rounding"
        assert set(zip(i.tolist(), j.tolist(), strict=True)) == set(zip(j.tolist(), i.tolist(), strict=True))


@pytest.mark.slow
def test_coinciding_particles_are_neighbors():
    lists = neighbor_list(periodic(9.0), CUTOFF, skin=SKIN).allocate(jnp.full((70, 3), 4.5))
    assert int(lists.status) == 0
    assert_holds_exactly(lists, np.zeros((70, 70)), 0.0)


@pytest.mark.slow
def test_a_space_of_plain_functions_has_lists():
    side = 5.0
    pair = (lambda a, b: (a - b + side / 2) % side - side / 2, lambda x, dx: (x + dx) % side)
    x = jnp.asarray(np.random.default_rng(1).uniform(0, side, (40, 2)))
    lists = neighbor_list(pair, CUTOFF, skin=SKIN).allocate(x)
    assert_holds_exactly(lists, brute_force(np.asarray(x), side * np.eye(2), (True, True)), 1e-12)


@pytest.mark.slow
def test_building_under_jit_gives_the_same_bits():
    case, lists = CASES["cube"], allocated("cube")
    x = stored(case, points(case, np.random.default_rng(5), 0.0), np.diag(np.asarray(lists.space.box)))
    eager, jitted = lists.rebuild(x), jax.jit(lambda lists, x: lists.rebuild(x))(lists, x)
    assert jax.tree.structure(eager) == jax.tree.structure(jitted)
    for a, b in zip(jax.tree.leaves(eager), jax.tree.leaves(jitted), strict=True):
        assert np.array_equal(a, b) and a.dtype == b.dtype


def test_rows_that_are_near_in_memory_are_near_in_space():
    case, lists = CASES["cube"], allocated("cube")
    x = lists.reference[lists.order[: case.number]]
    neighboring = lists.space.distance(x[1:], x[:-1])
    shuffled = lists.space.distance(lists.reference[1:], lists.reference[:-1])
    assert float(jnp.median(neighboring)) < 0.6 * float(jnp.median(shuffled))
