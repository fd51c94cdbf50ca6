"""A space moves one leaf; a prefix tree of spaces moves a tree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_close, assert_same_bits
from treedyn import space as space_of


class Ring(td.Space):
    """Angles on a circle of a circumference that is a leaf."""

    length: float

    def shift(self, position, displacement):
        return (position + displacement) % self.length

    def displacement(self, a, b):
        return (a - b + self.length / 2) % self.length - self.length / 2


RING = Ring(length=1.0)
PAIR = (RING.displacement, RING.shift)
TREE = {"a": jnp.array([0.1, 0.9]), "b": (jnp.array(0.4), jnp.array([[0.7]]))}
WAY = jax.tree.map(lambda x: 0 * x + 0.3, TREE)


def test_euclidean_is_addition_and_the_default():
    space = td.euclidean()
    assert_close(space_of.shift(space, TREE, WAY), td.tree.add(TREE, WAY))
    assert_close(space_of.displacement(space, TREE, WAY), td.tree.subtract(TREE, WAY))
    assert_close(space_of.pull_back(space, TREE, WAY), WAY)
    assert td.nve(jnp.sum, 0.1).space is space


@pytest.mark.parametrize("space", [RING, PAIR], ids=["space", "pair_of_functions"])
def test_shift_by_the_displacement_reaches_the_other_point(space):
    space = td.as_space(space)
    there = jax.tree.map(lambda x: (x + 0.6) % 1, TREE)
    way = space_of.displacement(space, there, TREE)
    assert_close(way, jax.tree.map(lambda x: 0 * x - 0.4, TREE))
    assert_close(space_of.shift(space, TREE, way), there)


def test_a_prefix_tree_of_spaces_moves_each_subtree_in_its_own_space():
    space = td.as_space({"a": PAIR, "b": td.euclidean()})
    assert_close(
        space_of.shift(space, TREE, WAY), {"a": jnp.array([0.4, 0.2]), "b": (jnp.array(0.7), jnp.array([[1.0]]))}
    )
    each = space_of.of_leaves(space, TREE)
    kinds = [type(s) for s in jax.tree.leaves(each, is_leaf=space_of.is_space)]
    assert kinds == [space_of.FunctionSpace, space_of.Euclidean, space_of.Euclidean]


def test_a_tuple_of_spaces_is_a_tree_and_a_tuple_of_functions_is_a_space():
    both = td.as_space((td.euclidean(), RING))
    moved = space_of.shift(both, (jnp.array(0.8), jnp.array(0.8)), (jnp.array(0.5), jnp.array(0.5)))
    assert_close(moved, (jnp.array(1.3), jnp.array(0.3)))
    assert isinstance(td.as_space(PAIR), td.Space)
    nested = td.as_space(((PAIR, td.euclidean()), RING))
    assert isinstance(nested[0][0], td.Space) and nested[1] is RING
    assert_same_bits(td.as_space(nested), nested)


def test_numbers_of_a_space_are_leaves():
    traces = []

    @jax.jit
    def far(space):
        traces.append(1)
        return space.displacement(jnp.array(0.9), jnp.array(0.1))

    np.testing.assert_allclose([far(Ring(length=1.0)), far(Ring(length=3.0))], [-0.2, 0.8])
    assert len(traces) == 1
    assert jax.grad(far)(Ring(length=1.0)).length == -1


def test_shift_and_displacement_are_differentiable():
    x, dx = jnp.array([0.1, 0.8]), jnp.array([0.3, 0.4])
    assert_close(jax.jacobian(RING.shift, argnums=1)(x, dx), jnp.eye(2))
    assert_close(jax.jacobian(RING.displacement)(x, dx), jnp.eye(2))
