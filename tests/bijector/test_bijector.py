"""Bijectors: exact Jacobians, round trips, extreme coordinates, and densities of constrained parameters."""

import functools

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

import treedyn as td
from treedyn import bijector as tb
from treedyn.testing import sigmas

KEY = jax.random.key(0)
BIJECTORS = {
    "identity": tb.identity(),
    "positive": tb.positive(),
    "above": tb.above(jnp.array([0.5, -2.0, 3.0])),
    "below": tb.below(-1.5),
    "interval": tb.interval(-1.0, jnp.array([2.0, 3.0, 0.5])),
    "ordered": tb.ordered(),
    "simplex": tb.simplex(),
    "cholesky_of_correlation": tb.cholesky_of_correlation(),
}
every = pytest.mark.parametrize("name", BIJECTORS)
coordinates = hnp.arrays(np.float64, 3, elements=st.floats(-5, 5))


def free_elements(name, y):
    """Return as many elements of a constrained value as it has coordinates."""
    if name == "simplex":
        return y[:-1]
    return y[np.tril_indices(3, -1)] if name == "cholesky_of_correlation" else y


@functools.cache
def program(name):
    bijector = BIJECTORS[name]

    @jax.jit
    def run(x):
        y = bijector.forward(x)
        jacobian = jax.jacfwd(lambda x: free_elements(name, bijector.forward(x)))(x)
        exact = jnp.linalg.slogdet(jacobian)[1]
        return bijector.inverse(y), jnp.sum(bijector.log_jacobian(x)), exact, bijector.contains(y)

    return run


@every
@given(coordinates)
@settings(max_examples=50, deadline=None)
def test_jacobians_are_exact_and_ways_lead_back(name, x):
    back, ours, exact, inside = program(name)(x)
    assert inside
    np.testing.assert_allclose(back, x, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-10)


@every
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_extreme_coordinates_have_finite_jacobians_and_gradients(name, dtype):
    bijector = BIJECTORS[name]
    for size in (0.0, 40.0, -40.0, 80.0):
        x = jnp.asarray([size, -size, size / 2], dtype)
        value, slope = jax.value_and_grad(lambda x: jnp.sum(bijector.log_jacobian(x)))(x)
        y = bijector.forward(x)
        assert value.dtype == slope.dtype == y.dtype == dtype
        assert np.isfinite(value) and np.all(np.isfinite(slope)) and np.all(np.isfinite(y))


@every
def test_draws_and_chains_are_mapped_alike(name):
    x = jax.random.normal(KEY, (4, 2, 3))
    for f in (BIJECTORS[name].forward, BIJECTORS[name].log_jacobian):
        np.testing.assert_allclose(f(x), jax.vmap(jax.vmap(f))(x), rtol=1e-12)
    y = BIJECTORS[name].forward(x)
    np.testing.assert_allclose(BIJECTORS[name].inverse(y), x, rtol=1e-9, atol=1e-9)


def sampled(target, start, **more):
    walkers = td.ensemble(td.hmc(target, dt=0.4, steps=(1, 4), **more), 4000)
    state = walkers.init(KEY, target.unconstrain(start))
    return target.constrain(td.run(walkers, state, steps=30).state.position)


@pytest.mark.slow
def test_densities_of_constrained_parameters_are_those_of_the_target():
    # Gamma(3, 2), Beta(2, 5), Dirichlet(1, 2, 4), and the smaller of two normal numbers
    alpha = jnp.array([1.0, 2.0, 4.0])

    def log_density(x):
        gamma = 2 * jnp.log(x["gamma"]) - 2 * x["gamma"]
        beta = jnp.log(x["beta"]) + 4 * jnp.log1p(-x["beta"])
        return gamma + beta + jnp.sum((alpha - 1) * jnp.log(x["part"])) - jnp.sum(x["order"] ** 2) / 2

    bijectors = {"gamma": tb.positive(), "beta": tb.interval(0, 1), "part": tb.simplex(), "order": tb.ordered()}
    target = td.transformed(td.from_log_density(log_density), {**bijectors, "name": tb.identity()})
    start = {"gamma": 1.0, "beta": 0.5, "part": jnp.ones(3) / 3, "order": jnp.array([-1.0, 1.0]), "name": "inert"}
    found = sampled(target, start)
    assert found["name"] == "inert"
    for power in (1, 2):
        assert abs(sigmas(found["gamma"] ** power, scipy.stats.gamma(3, scale=0.5).moment(power))) < 4
        assert abs(sigmas(found["beta"] ** power, scipy.stats.beta(2, 5).moment(power))) < 4
        assert abs(sigmas(found["part"][:, 2] ** power, scipy.stats.beta(4, 3).moment(power))) < 4
    assert abs(sigmas(found["order"][:, 0], -1 / np.sqrt(np.pi))) < 4


@pytest.mark.slow
def test_the_volume_counts_with_the_temperature():
    # exp(-y/kT) on y > 0 has the mean kT
    target = td.transformed(lambda y: jnp.sum(y), tb.positive(), kT=0.3)
    found = sampled(target, jnp.ones(1), kT=0.3)
    assert abs(sigmas(found[:, 0], 0.3)) < 4


def test_environments_and_aux_reach_the_function():
    def energy(y, env):
        return jnp.sum(env * y), {"y": y}

    target = td.transformed(td.from_energy(energy, has_aux=True), tb.positive())
    dynamics = td.hmc(target, dt=0.1, steps=2)
    state = dynamics.init(KEY, jnp.zeros(2), jnp.array(3.0))
    np.testing.assert_allclose(state.aux["y"], 1)
    np.testing.assert_allclose(state.energy, 6)
    np.testing.assert_allclose(state.force, -3 + 1)


def test_what_is_out_of_range_is_refused():
    target = td.transformed(lambda x: jnp.sum(x["a"]), {"a": tb.positive(), "b": tb.simplex()})
    for call, said in [
        (lambda: target.unconstrain({"a": -1.0, "b": jnp.ones(2) / 2}), r"position\['a'\]: expected a value of Above"),
        (lambda: target.unconstrain({"a": 1.0, "b": jnp.ones(2)}), r"position\['b'\]: expected a value of Simplex"),
        (lambda: target.unconstrain({"a": 1.0}), "bijectors does not fit the position"),
        (
            lambda: td.transformed(td.from_force(lambda x: -x), tb.positive()),
            "target: expected an energy",
        ),
        (lambda: td.transformed(jnp.sum, {"a": "positive"}), "bijectors: expected a Bijector or a tree of them"),
        (lambda: td.transformed(jnp.sum, {}), "bijectors: expected a Bijector or a tree of them"),
        (lambda: td.transformed(3.0, tb.positive()), "target: expected a function of"),
        (lambda: td.transformed(jnp.sum, tb.positive(), kT=0.0), "kT: expected one number, positive"),
        (lambda: tb.interval(1.0, 1.0), "low, high: expected low < high"),
        (lambda: tb.above("0"), "bound: expected real numbers"),
        (lambda: tb.cholesky_of_correlation().forward(jnp.ones(4)), r"expected n \(n - 1\)/2 coordinates"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
