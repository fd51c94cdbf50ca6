"""Energies, forces, log densities and scores; the kind of a plain function follows from its result."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import KEY, TREES, assert_close, energy, moving_leaves
from treedyn import _target as target_of
from treedyn import tree

X = jnp.array([1.0, -2.0, 0.5])


def well(x):
    return jnp.sum(x**2 + x**4)


def pull(x):
    return -2 * x - 4 * x**3


@pytest.mark.parametrize(
    "target",
    [td.from_energy(well), td.from_log_density(lambda x: 3.0 - well(x)), td.from_force(pull), td.from_score(pull)],
)
def test_the_four_ways_to_give_a_target_agree(target):
    found = target(X)
    np.testing.assert_allclose(found.force, pull(X))
    known = found.energy is not None
    assert known == target.conservative
    assert not known or found.energy in (well(X), well(X) - 3)


FAST = ("scalar", "mixed_dtypes", "struct", "equinox")


@pytest.mark.parametrize("name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in TREES])
def test_force_is_minus_the_gradient_of_the_energy(name):
    position = TREES[name](jnp.float64)
    force = td.from_energy(energy)(tree.box(position)).force
    leaves, structure = jax.tree.flatten(eqx.filter(position, eqx.is_inexact_array))
    assert jax.tree.structure(force) == structure
    for k, (f, leaf) in enumerate(zip(jax.tree.leaves(force), leaves, strict=True)):
        assert f.dtype == leaf.dtype

        def moved(by, k=k):
            new = [x + jnp.asarray(by, x.dtype) if i == k else x for i, x in enumerate(leaves)]
            whole = eqx.combine(jax.tree.unflatten(structure, new), position)
            return energy(whole)

        width, tol = (1e-5, 1e-7) if leaf.dtype == jnp.float64 else (1e-2, 1e-3)
        np.testing.assert_allclose(-jnp.sum(f), (moved(width) - moved(-width)) / (2 * width), rtol=tol, atol=tol)


def test_a_plain_function_is_resolved_by_the_shape_of_its_result():
    position = tree.box({"a": X, "b": X[:1]})
    assert isinstance(target_of.resolve(lambda x: jnp.sum(x["a"]), position, None), target_of.EnergyTarget)
    assert isinstance(target_of.resolve(lambda x: x, position, None), target_of.ForceTarget)
    given = td.from_score(pull)
    assert target_of.resolve(given, position, None) is given
    # a 0-d leaf in a tree is not ambiguous
    assert isinstance(target_of.resolve(lambda x: x["a"], tree.box({"a": 1.0}), None), target_of.EnergyTarget)


def test_a_force_may_return_the_whole_tree_or_its_moving_part():
    position = {"x": X, "n": 3, "f": jnp.tanh}
    for force in (lambda p: {**p, "x": -p["x"]}, lambda p: {"x": -p["x"], "n": None, "f": None}):
        state = td.nve(td.from_force(force), 0.1).init(KEY, position)
        assert_close(state.force, {"x": -X, "n": None, "f": None})
        assert state.energy is None


def test_env_is_passed_to_a_required_second_parameter_or_one_named_env():
    def required(x, scale):
        return scale * jnp.sum(x)

    def named(x, env=1.0):
        return env * jnp.sum(x)

    def mine(x, power=1):
        return 2 * jnp.sum(x**power)

    def keyword(x, *, env=2.0):
        return env * jnp.sum(x)

    def anything(*arguments):
        return arguments[1] * jnp.sum(arguments[0])

    class Method(td.Struct):
        def __call__(self, x, env):
            return env * jnp.sum(x)

    for function in (required, named, anything, Method(), jax.jit(required), Method().__call__):
        assert td.from_energy(function)(X, 5.0).energy == 5 * jnp.sum(X)
    for function in (mine, lambda x: 2 * jnp.sum(x)):
        assert td.from_energy(function)(X, 5.0).energy == 2 * jnp.sum(X)
    assert td.from_energy(jnp.sum)(X, 5.0).energy == jnp.sum(X)
    with pytest.raises(ValueError, match=r"'keyword': env is passed by position"):
        td.from_energy(keyword)(X, 5.0)


def test_aux_is_stored_in_the_state_and_does_not_change_forces():
    def with_aux(x):
        return well(x), {"prediction": 2 * x, "count": 3}

    dynamics = td.nve(td.from_energy(with_aux, has_aux=True), 0.1)
    plain = td.nve(well, 0.1)
    state, other = dynamics.init(KEY, X), plain.init(KEY, X)
    state, other = dynamics.step(state), plain.step(other)
    assert_close(state.aux["prediction"], 2 * state.position)
    assert_close((state.position, state.force, state.energy), (other.position, other.force, other.energy))
    assert other.aux is None
    force = td.from_force(lambda x: (pull(x), jnp.sum(x)), has_aux=True)
    assert td.nve(force, 0.1).init(KEY, X).aux == jnp.sum(X)


def test_gradients_reach_the_weights_of_a_network_in_an_energy():
    network = eqx.nn.MLP(3, "scalar", 4, 1, key=KEY)
    dynamics = td.nve(network, 0.1)
    weights, rest = eqx.partition(dynamics, eqx.is_inexact_array)
    slope = jax.grad(lambda w: eqx.combine(w, rest).init(KEY, X).energy)(weights)
    assert all(jnp.any(leaf != 0) for leaf in moving_leaves(slope.target))


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_an_energy_that_is_not_finite_sets_the_status(bad):
    blows_up = td.from_energy(lambda x: jnp.where(jnp.max(x) > 1.5, bad, 1.0) * jnp.sum(x))
    state = td.nve(blows_up, 1.0).init(KEY, jnp.zeros(2), momentum=jnp.array([1.0, 4.0]))
    assert state.status == 0
    after = td.nve(blows_up, 1.0).step(state)
    assert td.Status(int(after.status)) == td.Status.NONFINITE


def test_the_number_of_target_evaluations_per_step():
    calls = []

    def counted(x):
        calls.append(1)
        return jnp.sum(x**2)

    target = td.from_energy(counted)
    for make, expected in [
        (lambda: td.nve(target, 0.1), 1),
        (lambda: td.nve(target, 0.1, order=4), 3),
        (lambda: td.langevin(target, 0.1, 1.0), 1),
        (lambda: td.langevin(target, 0.1, 1.0, splitting="ABOBA"), 2),
        (lambda: td.langevin(target, 0.1, 1.0, splitting="OBABO"), 1),
        (lambda: td.nose_hoover(target, 0.1, 1.0, 1.0), 1),
        (lambda: td.brownian(target, 0.1, 1.0), 1),
        (lambda: td.fire(target, 0.1), 1),
        (lambda: td.gradient_descent(target, 0.1), 1),
    ]:
        dynamics = make()
        state = jax.eval_shape(lambda d=dynamics: d.init(KEY, X))
        calls.clear()
        jax.eval_shape(dynamics.step, state)
        assert len(calls) == expected
