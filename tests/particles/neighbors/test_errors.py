"""Positions, boxes and recipes that do not fit each other are refused with the name of the argument and advice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from treedyn.particles.neighbors._allocation import choose_capacity
from treedyn.particles.neighbors._spec import neighbor_list
from treedyn.particles.space._space import free, periodic, triclinic
from treedyn.space import euclidean

X = jnp.asarray(np.random.default_rng(0).uniform(0, 6, (20, 3)))


def make(space=None, cutoff=1.0, **options):
    return neighbor_list(periodic(6.0) if space is None else space, cutoff, **options)


def test_the_first_point_that_is_not_finite_is_named():
    with pytest.raises(ValueError, match="position: 1 of 20 points are NaN or infinite, the first of them number 4"):
        make().allocate(X.at[4, 1].set(jnp.nan))


def test_a_skin_beyond_half_the_box_is_refused_with_the_largest_one_in_the_message():
    with pytest.raises(ValueError, match=r"skin: .* the skin can be at most 0.5, got 0.6"):
        make(cutoff=2.5, skin=0.6).allocate(X)
    assert make(cutoff=2.5, skin=0.5).allocate(X).skin == 0.5


def test_a_skin_that_is_not_given_fits_the_box():
    assert make(cutoff=2.5).allocate(X).skin == pytest.approx(0.12 * 2.5)
    assert make(cutoff=2.8).allocate(X).skin == pytest.approx(0.2)
    lists = make(cutoff=3.0).allocate(X)
    assert lists.skin == 0 and lists.allocate(X, periodic(7.0)).skin == 0
    with pytest.raises(ValueError, match=r"cutoff: .* half of the smallest box height"):
        make(cutoff=3.1).allocate(X)


def test_allocating_under_jit_is_refused():
    with pytest.raises(ValueError, match=r"position: .* not known inside jit"):
        jax.jit(make().allocate)(X)
    with pytest.raises(ValueError, match=r"space: .* not known inside jit"):
        jax.jit(lambda side: make(periodic(side)).allocate(np.asarray(X)).partners)(6.0)


@pytest.mark.slow
def test_a_list_refuses_points_and_spaces_of_another_kind():
    lists = make().allocate(X)
    for method in (lists.valid, lists.rebuild):  # which `update` calls
        with pytest.raises(ValueError, match=r"position: .* allocated for float64\[20, 3\], got float64\[19, 3\]"):
            method(X[1:])
        with pytest.raises(ValueError, match="space: expected the same kind and shape"):
            method(X, space=triclinic(6 * np.eye(3)))


def test_points_are_selected_from_a_tree():
    lists = make(select=lambda position: position["atoms"]).allocate({"atoms": X, "box": 1.0})
    assert bool(lists.valid({"atoms": X, "box": 2.0}))
    plain, tree = make().allocate(X), {"atoms": X, "box": 1.0}
    for method in (make().allocate, plain.valid, plain.update, plain.rebuild, plain.allocate):
        with pytest.raises(ValueError, match=r"neighbor_list\(\.\.\., select=lambda position: \.\.\.\)"):
            method(tree)
    assert lists.rebuild({"atoms": X + 1, "box": 1.0}).allocate({"atoms": X}).reference.shape == X.shape


def test_numbers_of_a_recipe_are_leaves_and_euclidean_space_is_free():
    recipe = make(euclidean(), cutoff=2.0, skin=0.5)
    assert jax.tree.leaves(recipe) == [2.0, 0.5]
    assert type(recipe.space) is type(free())
    assert make(cutoff=2.5).skin == pytest.approx(0.3)  # 12 % of the cutoff


@pytest.mark.parametrize(
    "neighbors, points, headroom, least, expected",
    [(0, 1, 1.25, 0, 8), (80, 1000, 1.25, 0, 104), (84, 1000, 1.25, 0, 112), (9, 11, 2.0, 0, 16), (9, 99, 2.0, 16, 16)],
)
def test_slots_have_headroom_come_in_eights_and_are_kept(neighbors, points, headroom, least, expected):
    assert choose_capacity(neighbors, points, headroom, least) == expected
