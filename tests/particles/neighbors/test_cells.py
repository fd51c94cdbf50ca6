"""Cells: pairs within reach are in adjacent cells, once and in the right image."""

from itertools import product

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treedyn.particles.neighbors.cells._cells import make_grid, sort_by_cell
from treedyn.particles.space._space import free, periodic, triclinic

EPS = float(np.finfo(float).eps)


def lattice(rng, heights, skew):
    """Return a cell with given distances between opposite faces."""
    normals = np.eye(len(heights)) + skew * rng.uniform(-1, 1, (len(heights),) * 2)
    return np.linalg.inv((normals / np.linalg.norm(normals, axis=1)[:, None] / np.array(heights)[:, None]).T)


@pytest.mark.slow
@given(
    seed=st.integers(0, 2**32 - 1),
    skew=st.floats(0, 0.4),
    ratios=st.tuples(*[st.floats(2, 7)] * 3),
    axes=st.tuples(*[st.booleans()] * 3),
    dimension=st.sampled_from([1, 2, 3]),
)
def test_pairs_within_reach_are_in_adjacent_cells_and_in_the_image_of_the_cells(seed, skew, ratios, axes, dimension):
    rng = np.random.default_rng(seed)
    cell = lattice(rng, ratios[:dimension], skew)
    space = triclinic(cell, axes=axes[:dimension])
    x = rng.uniform(-1, 2, (40, dimension)) @ cell
    grid = make_grid(space, jnp.asarray(x), 1.0)
    place, points = grid.locate(space, jnp.asarray(x))
    place, adjacent, images = np.asarray(place), np.asarray(grid.adjacent), np.asarray(grid.images)
    for around in adjacent.T:
        real = around[around < grid.size]
        assert len(set(real)) == len(real), "a cell is adjacent twice"
    fraction = x @ np.linalg.inv(cell)
    fraction = fraction - np.floor(fraction) * np.array(axes[:dimension])
    shifts = np.array(list(product(*((-1, 0, 1) if axis else (0,) for axis in axes[:dimension]))))
    delta = ((fraction[:, None] - fraction[None])[:, :, None] + shifts) @ cell
    nearest = np.min(np.linalg.norm(delta, axis=-1), axis=-1)
    points = np.stack([np.asarray(p) for p in points], axis=-1)
    for i, j in np.argwhere(nearest <= 1.0):
        (direction,) = np.nonzero(adjacent[:, place[i]] == place[j])
        assert len(direction) == 1
        if not grid.wraps:
            seen = points[j] + images[:, direction[0], place[i]] @ cell
            assert abs(np.linalg.norm(points[i] - seen) - nearest[i, j]) < 100 * EPS * np.abs(cell).max()


@pytest.mark.parametrize("counts, expected", [((2.9, 3.1, 7.5), (1, 3, 7)), ((0.5, 0.5, 0.5), (1, 1, 1))])
def test_a_periodic_axis_has_one_cell_or_at_least_three(counts, expected):
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 1, (500, 3)) * np.array(counts))
    assert make_grid(periodic(np.array(counts)), x, 1.0).counts == expected


def test_an_open_axis_may_have_two_cells():
    x = jnp.linspace(0.0, 2.5, 30)[:, None]
    grid = make_grid(free(), x, 1.0)
    assert grid.counts == (2,)
    assert sorted(map(sorted, np.asarray(grid.adjacent).T.tolist())) == [[0, 1, 2], [0, 1, 2]]  # 2 means no cell


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cells_are_wider_than_the_reach_by_the_rounding_of_coordinates(dtype):
    side = 100.0
    x = jnp.asarray(np.random.default_rng(0).uniform(0, side, (2000, 1)), dtype)
    (count,) = make_grid(periodic(side), x, 1.0).counts
    assert 100 / (1 + 1e-2) - 1 < count < 100


def test_there_are_never_more_cells_than_points():
    x = jnp.asarray([[0.0, 0.0, 0.0], [1e40, 0.0, 0.0], [0.0, 1e9, 3.0]])
    assert make_grid(free(), x, 1.0).size <= 3
    assert make_grid(periodic(1e6), x, 1.0).size <= 3


def test_points_that_left_an_open_grid_belong_to_its_border():
    grid = make_grid(free(), jnp.linspace(0.0, 5.0, 50)[:, None], 1.0)
    place, _ = grid.locate(free(), jnp.array([[-1e30], [-3.0], [0.5], [5.1], [1e30], [jnp.inf], [jnp.nan]]))
    last = grid.size - 1
    assert place.tolist()[:-1] == [0, 0, 0, last, last, last]
    assert 0 <= int(place[-1]) <= last


def test_a_box_that_became_too_small_for_its_grid_is_noticed():
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 4.1, (300, 3)))
    grid = make_grid(periodic(4.1), x, 1.0)
    assert grid.counts == (4, 4, 4)
    reach = jnp.asarray(1.0)
    assert bool(grid.allows(periodic(4.1), reach))
    assert bool(grid.allows(periodic(9.0), reach))
    assert not bool(grid.allows(periodic(3.99), reach))


@pytest.mark.parametrize("cells", [1, 7, 2**16, 2**25, 2**31 - 1])
@pytest.mark.parametrize("number", [1, 2, 300])
def test_sorting_is_by_cell_and_then_by_number_of_the_point(cells, number):
    cell = np.random.default_rng(0).integers(0, cells, number).astype(np.int32)
    cell[number // 2 :] = cell[0]
    assert sort_by_cell(jnp.asarray(cell), cells).tolist() == np.argsort(cell, kind="stable").tolist()
