"""Boxes: minimum image, wrapping, fractional coordinates, open axes, and cutoffs that are too long."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from treedyn.particles.space._space import ParticleSpace, check_cutoff, free, periodic, separation, triclinic, unstack
from treedyn.space import Space, as_space

seeds = st.integers(0, 10**6)
SPACES = {
    "free": lambda d: free(),
    "cube": lambda d: periodic(5.0),
    "box": lambda d: periodic(np.linspace(4.0, 6.0, d)),
    "slab": lambda d: periodic(np.linspace(4.0, 6.0, d), axes=[True] * (d - 1) + [False]),
    "cell": lambda d: triclinic(cell(d)),
    "layer": lambda d: triclinic(cell(d), axes=[True] * (d - 1) + [False]),
    "fractional": lambda d: triclinic(cell(d), fractional=True),
}
spaces = pytest.mark.parametrize("name", SPACES)


def cell(d):
    """Return a randomly oriented cell whose edges are far from orthogonal."""
    rng = np.random.default_rng(d)
    turn, _ = np.linalg.qr(rng.normal(size=(d, d)))
    return (5.0 * np.eye(d) + np.tril(rng.uniform(-2, 2, (d, d)), -1)) @ turn


def stored(space, position):
    """Return real coordinates as the space stores them."""
    return position @ jnp.linalg.inv(space.matrix) if getattr(space, "is_fractional", False) else position


def nearest_image(space, a, b, d):
    """Return the shortest vector from any image of b to a."""
    if space.cell(d) is None:
        return a - b
    reach = [range(-4, 5) if repeats else [0] for repeats in space.periodic_axes(d)]
    images = np.array(list(itertools.product(*reach))) @ np.asarray(space.cell(d))
    delta = (a - b)[:, None] + images
    best = np.argmin(np.sum(delta**2, axis=-1), axis=1)
    return delta[np.arange(len(a)), best]


@spaces
@pytest.mark.parametrize("d", [1, 2, 3])
@settings(max_examples=8)
@given(seed=seeds)
def test_displacement_is_that_of_the_nearest_image_and_separation_is_within_half_the_smallest_height(name, d, seed):
    space, rng = SPACES[name](d), np.random.default_rng(seed)
    a, b = rng.uniform(-1, 6, (2, 40, d))
    expected = nearest_image(space, a, b, d)
    points = stored(space, jnp.asarray(a)), stored(space, jnp.asarray(b))
    length = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(space.distance(*points), length, atol=1e-12)
    heights = space.heights(d)
    limit = np.inf if heights is None else float(np.min(heights)) / 2
    near = length < limit * (1 - 1e-12)
    rounded = np.stack(space.separation(*map(unstack, points)), axis=-1)
    np.testing.assert_allclose(rounded[near], expected[near], atol=1e-12)
    np.testing.assert_array_equal(np.asarray(space.displacement(*points))[near], rounded[near])
    # a pair beyond the limit never appears within it
    assert np.all(np.linalg.norm(rounded[~near], axis=1) >= limit * (1 - 1e-9))


@pytest.mark.slow
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("axes", [(True, True), (True, True, True), (True, False, True)])
def test_displacement_is_the_shortest_of_all_images_in_thousands_of_skewed_cells(axes, kind):
    # lattice vectors of lengths from 1 to 2, and of any angles from 30 to 150 degrees
    d, rng = len(axes), np.random.default_rng(5)
    unit = rng.normal(size=(40_000, d, d))
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    cosines = np.abs(np.einsum("nid,njd->nij", unit, unit) - np.eye(d))
    cells = (unit * rng.uniform(1, 2, (40_000, d, 1)))[
        (cosines.max((1, 2)) < np.cos(np.pi / 6)) & (np.abs(np.linalg.det(unit)) > 0.1)
    ][:10_000]
    assert len(cells) == 10_000
    a, b = np.einsum("pnd,nde->pne", rng.random((2, len(cells), d)), cells)
    found = jax.jit(jax.vmap(lambda m, a, b: triclinic(m, axes=axes).distance(a, b)))(*map(kind, (cells, a, b)))
    images = np.array(list(itertools.product(*(range(-5, 6) if repeats else [0] for repeats in axes))))
    exact = np.full(len(cells), np.inf)
    for image in images:
        exact = np.minimum(exact, np.linalg.norm(a - b + image @ cells, axis=1))
    np.testing.assert_allclose(found, exact, rtol=100 * np.finfo(kind).eps, atol=100 * np.finfo(kind).eps)


@pytest.mark.slow
def test_the_shortest_image_in_a_cell_that_was_sheared_many_times_is_that_of_the_square():
    points = jnp.asarray(np.random.default_rng(1).random((2, 500, 3)))
    sheared = triclinic([[1.0, 0.0, 0.0], [137.0, 1.0, 0.0], [-11.0, 41.0, 1.0]])
    np.testing.assert_allclose(sheared.distance(*points), periodic(1.0).distance(*points), atol=1e-12)
    stretched = jax.grad(lambda e: triclinic((1 + e) * sheared.matrix).distance(*((1 + e) * points[:, 0])))(0.0)
    np.testing.assert_allclose(stretched, sheared.distance(*points[:, 0]), atol=1e-12)


def test_more_axes_than_the_shortest_image_is_known_for_are_refused():
    space = triclinic(np.eye(4) + 0.1)
    assert len(space.separation(*2 * (unstack(jnp.ones(4)),))) == 4
    with pytest.raises(ValueError, match=r"displacement: .* up to 3 periodic axes"):
        space.displacement(jnp.ones(4), jnp.zeros(4))


@spaces
@settings(max_examples=8)
@given(seed=seeds)
def test_shift_moves_by_the_displacement_and_stays_in_the_cell(name, seed):
    space, rng = SPACES[name](3), np.random.default_rng(seed)
    a = stored(space, jnp.asarray(rng.uniform(0, 5, (20, 3))))
    step = jnp.asarray(rng.uniform(-1, 1, (20, 3)))
    moved = space.shift(a, step)
    np.testing.assert_allclose(space.displacement(moved, a), step, atol=1e-12)
    far = space.shift(a, 30 * step)
    inside = np.asarray(space.fractional(far))[:, np.array(space.periodic_axes(3))]
    assert np.all((inside > -1e-12) & (inside < 1 + 1e-12))


@spaces
def test_the_gradient_of_the_distance_is_zero_where_points_coincide(name):
    space = SPACES[name](3)
    a, b = (stored(space, jnp.asarray(x)) for x in ([1.0, 1.2, 0.7], [1.5, 0.9, 1.1]))
    np.testing.assert_allclose(space.distance(a, b), np.sqrt(0.25 + 0.09 + 0.16), rtol=1e-12)
    slope = space.pull_back(a, jax.grad(space.distance)(a, b))
    np.testing.assert_allclose(slope, np.array([-0.5, 0.3, -0.4]) / np.sqrt(0.5), rtol=1e-12)
    np.testing.assert_array_equal(jax.grad(space.distance)(a, a), jnp.zeros(3))


@spaces
def test_pull_back_is_the_transpose_of_shift(name):
    space, rng = SPACES[name](3), np.random.default_rng(0)
    x, gradient = stored(space, jnp.asarray(rng.uniform(1, 4, (5, 3)))), jnp.asarray(rng.normal(size=(5, 3)))
    np.testing.assert_allclose(space.pull_back(x, gradient), Space.pull_back(space, x, gradient), atol=1e-12)


@pytest.mark.slow
@spaces
@pytest.mark.parametrize("kind", [jnp.float32, jnp.float64])
def test_the_dtype_of_the_points_is_kept(name, kind):
    space = SPACES[name](3)
    a, b = jnp.ones((4, 3), kind) / 3, jnp.zeros((4, 3), kind)
    out = space.shift(a, b), space.displacement(a, b), space.distance(a, b), space.fractional(a), space.pull_back(a, b)
    assert all(x.dtype == kind for x in out)


def test_components_in_a_space_of_plain_functions_are_those_of_one_pair_at_a_time():
    def displacement(a, b):
        assert a.shape == b.shape == (2,)
        return a - b

    a, b = jnp.arange(12.0).reshape(2, 3, 2), jnp.ones((1, 3, 2))
    actual = separation((displacement, lambda x, dx: x + dx), unstack(a), unstack(b))
    np.testing.assert_array_equal(jnp.stack(actual, axis=-1), a - b)
    assert not isinstance(as_space((displacement, displacement)), ParticleSpace)


def test_a_point_just_below_zero_is_wrapped_into_the_half_open_box():
    for space in (periodic(5.0), periodic(jnp.full(1, 5.0))):
        moved = space.shift(jnp.zeros((1, 1)), jnp.full((1, 1), -1e-20))
        assert 0 <= moved[0, 0] < 5


def test_heights_and_volume_are_those_of_the_cell():
    edges = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [2.0, 1.0, 6.0]])
    volume = np.linalg.det(edges)
    faces = [np.linalg.norm(np.cross(edges[i], edges[j])) for i, j in ((1, 2), (2, 0), (0, 1))]
    np.testing.assert_allclose(triclinic(edges).heights(3), volume / np.array(faces))
    np.testing.assert_allclose(triclinic(edges).volume(3), volume)
    np.testing.assert_allclose(triclinic(edges, axes=[True, False, True]).heights(3)[1], np.inf)
    np.testing.assert_allclose(periodic([2.0, 3.0]).volume(2), 6)
    np.testing.assert_allclose(periodic(2.0, axes=[True, False]).heights(2), [2, np.inf])
    for space in (free(), periodic(2.0, axes=[True, True, False]), triclinic(edges, axes=[True, False, True])):
        with pytest.raises(ValueError, match="volume: expected a space that repeats along every axis"):
            space.volume(3)


def test_a_box_is_a_leaf_for_vmap_and_grad():
    a, b = jnp.array([4.5]), jnp.array([0.5])
    wide = jax.vmap(lambda box: periodic(box).displacement(a, b))(jnp.array([5.0, 6.0, 20.0]))
    np.testing.assert_allclose(wide[:, 0], [-1, -2, 4])
    np.testing.assert_allclose(jax.grad(lambda box: periodic(box).displacement(a, b)[0])(5.0), -1)


def test_points_of_another_dimension_than_the_axes_are_refused():
    with pytest.raises(ValueError, match="axes: expected one boolean per coordinate, 2, got 1"):
        periodic(1.0, axes=[True]).displacement(jnp.ones(2), jnp.ones(2))


@pytest.mark.parametrize(
    ("space", "limit"),
    [
        (periodic(5.0), 2.5),
        (periodic([5.0, 4.0]), 2.0),
        (periodic([5.0, 4.0], axes=[True, False]), 2.5),
        (triclinic([[4.0, 0.0], [3.0, 4.0]]), 0.5 * 16 / 5),
        (triclinic([[4.0, 0.0], [3.0, 4.0]], fractional=True), 0.5 * 16 / 5),
    ],
)
def test_a_cutoff_beyond_half_the_smallest_height_is_an_error_or_seen_in_compiled_code(space, limit):
    assert check_cutoff(space, limit, 2)
    with pytest.raises(ValueError, match=r"cutoff: .* half of the smallest box height"):
        check_cutoff(space, limit * 1.001, 2)
    with pytest.raises(ValueError, match=r"cutoff: .* half of the smallest box height"):
        jax.jit(lambda x: check_cutoff(space, limit * 1.001, 2))(0.0)
    known_late = jax.jit(lambda space, cutoff: check_cutoff(space, cutoff, 2))
    assert known_late(space, limit * 0.999)
    assert not known_late(space, limit * 1.001)


@pytest.mark.parametrize(
    "space", [free(), periodic(5.0, axes=[False, False]), (lambda a, b: a - b, lambda x, dx: x + dx)]
)
def test_without_images_any_cutoff_is_allowed(space):
    assert check_cutoff(as_space(space), np.inf, 2)
