"""What the leaves are called, and what else is in the tree, changes nothing that it should not."""

import jax
import jax.numpy as jnp
import pytest

import treedyn as td
from tests.helpers import (
    KEY,
    METHODS,
    assert_close,
    assert_same_bits,
    by_method,
    energy,
    make,
    matrix,
    tolerance,
    vector,
)

DETERMINISTIC = [m for m in METHODS if not METHODS[m].noisy]
ELEMENTWISE = [m for m in METHODS if not METHODS[m].coupled]
GROUPED = [m for m in METHODS if METHODS[m].grouped]
MASSES = {"a": 1.0, "b": 2.5}


def walk(dynamics, position, steps=2, **start):
    # not compiled as a whole: single operations are compiled once for all methods
    state = dynamics.init(KEY, position, **start)
    for _ in range(steps):
        state = dynamics.step(state)
    return state


POSITION = {"a": vector(jnp.float64), "b": matrix(jnp.float64)}


@by_method("nve", "fire", among=DETERMINISTIC)
def test_renaming_leaves_changes_no_deterministic_trajectory(method):
    def rename(tree):
        # another order of the leaves, and another depth
        return {"z": tree["a"], "net": [{"first": tree["b"]}]}

    def back(tree):
        return {"a": tree["z"], "b": tree["net"][0]["first"]}

    momentum = {"momentum": jax.tree.map(lambda x: 0.3 * x + 0.1, POSITION)} if METHODS[method].inertial else {}
    here = walk(make(method, mass=MASSES), POSITION, **momentum)
    renamed = {name: rename(value) for name, value in momentum.items()}
    there = walk(make(method, lambda x: energy(back(x)), mass=rename(MASSES)), rename(POSITION), **renamed)
    assert_close(back(there.position), here.position, 4 * tolerance(jnp.float64))
    assert_close(there.energy, here.energy, 4 * tolerance(jnp.float64))


def with_inert(tree, inert):
    """Return a tree with an inert leaf before its others, and one behind them."""
    return {"Inert": inert, **tree, "inert": inert}


def without(tree):
    return {name: leaf for name, leaf in tree.items() if name.lower() != "inert"}


@by_method("langevin_baoab", "brownian_leimkuhler_matthews", "adam", among=ELEMENTWISE)
def test_an_inert_leaf_changes_no_bit_of_the_others(method):
    alone = walk(make(method, mass=MASSES), POSITION)
    wide = with_inert(POSITION, jnp.ones(2))
    beside = walk(make(method, lambda x: energy(without(x)), mass=with_inert(MASSES, 1.0)), wide)
    assert_same_bits(without(beside.position), alone.position)
    if METHODS[method].inertial:
        assert_same_bits(without(beside.momentum), alone.momentum)
    if METHODS[method].noisy:
        assert not jnp.allclose(beside.position["Inert"], 1) and not jnp.allclose(beside.position["inert"], 1)


# nose_hoover, csvr and berendsen multiply all momenta of a group by one factor, which depends on the kinetic energy
# and the degrees of freedom of the whole group: a leaf added to the group has to change the others. In a group of its
# own it must not. fire is global over all leaves by definition (one power F.v, one dt), so nothing is claimed for it.
@by_method("berendsen", among=GROUPED)
def test_an_inert_leaf_in_a_group_of_its_own_changes_no_bit_of_the_others(method):
    groups = {"a": "moving", "b": "moving"}
    alone = walk(make(method, mass=MASSES, groups=groups), POSITION)
    wide = with_inert(POSITION, jnp.ones(2))
    dynamics = make(
        method,
        lambda x: energy(without(x)),
        mass=with_inert(MASSES, 1.0),
        groups=with_inert(groups, "bath"),
    )
    beside = walk(dynamics, wide)
    assert_same_bits(without(beside.position), alone.position)
    assert_same_bits(without(beside.momentum), alone.momentum)


@by_method("berendsen", among=GROUPED)
def test_an_inert_leaf_in_the_same_group_changes_the_others(method):
    alone = walk(make(method, mass=MASSES), POSITION, steps=3)
    wide = with_inert(POSITION, jnp.ones(2))
    beside = walk(make(method, lambda x: energy(without(x)), mass=with_inert(MASSES, 1.0)), wide, steps=3)
    assert not jnp.allclose(beside.momentum["a"], alone.momentum["a"], rtol=1e-3)


@by_method("berendsen", among=GROUPED)
def test_groups_are_thermostats_of_their_own(method):
    # two uncoupled leaves in two groups move as each would alone
    def target(x):
        return sum(jnp.sum(leaf**2 + leaf**4) for leaf in jax.tree.leaves(x))

    both = walk(make(method, target, groups={"a": 0, "b": 1}), POSITION)
    for name in ("a", "b"):
        assert_close(both.momentum[name], walk(make(method, target), {name: POSITION[name]}).momentum[name])


@pytest.mark.slow
def test_one_temperature_per_leaf_means_one_thermostat_per_leaf():
    by_kT = td.nose_hoover(energy, 0.1, {"a": 0.5, "b": 2.0}, 0.8)
    by_group = td.nose_hoover(energy, 0.1, {"a": 0.5, "b": 2.0}, 0.8, groups={"a": 0, "b": 1})
    assert_close(walk(by_kT, POSITION), walk(by_group, POSITION), tol=0)
