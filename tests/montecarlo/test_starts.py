"""Starts: the Laplace approximation, exact for normal densities, and Pathfinder."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn.montecarlo._pathfinder import Curvature
from treedyn.testing import sigmas

ROOT = np.random.default_rng(0).normal(size=(5, 5))
PRECISION = ROOT @ ROOT.T + np.eye(5)
CENTER = np.array([1.0, -2.0, 0.5, 3.0, -0.1])


def gaussian(x):
    way = jnp.concatenate([x["a"][None], x["b"].reshape(-1)]) - CENTER
    return way @ PRECISION @ way / 2 + 0.3


START = {"a": jnp.zeros(()), "b": jnp.zeros((2, 2)), "name": "b", "empty": None}


def test_laplace_is_exact_for_a_normal_density():
    found = td.laplace(gaussian, START, force=1e-9)
    np.testing.assert_allclose(found.mean["a"], CENTER[0], atol=1e-8)
    np.testing.assert_allclose(found.mean["b"], CENTER[1:].reshape(2, 2), atol=1e-8)
    covariance = np.linalg.inv(PRECISION)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(found.scales["b"].reshape(-1), np.sqrt(np.diag(covariance))[1:], rtol=1e-8)
    exact = -0.3 + 5 / 2 * math.log(2 * math.pi) - np.linalg.slogdet(PRECISION)[1] / 2
    np.testing.assert_allclose(found.log_evidence, exact, rtol=1e-8)


def test_draws_have_its_moments_and_start_an_ensemble():
    found = td.laplace(gaussian, START)
    draws = found.draws(jax.random.key(1), 20_000)
    flat = np.concatenate([draws["a"][:, None], draws["b"].reshape(-1, 4)], axis=1) - CENTER
    assert np.all(abs(sigmas(flat, np.zeros(5))) < 4.5)
    products = flat[:, :, None] * flat[:, None, :]
    assert np.all(abs(sigmas(products, np.linalg.inv(PRECISION))) < 4.5)
    assert np.max(abs(sigmas(products, np.diag(np.diag(np.linalg.inv(PRECISION)))))) > 5
    assert draws["name"] == "b" and draws["empty"] is None


def test_single_and_mixed_precision_keep_their_dtypes():
    start = {"a": jnp.float32(2.0), "b": jnp.ones(2)}
    found = td.laplace(lambda x: x["a"].astype(jnp.float64) ** 2 + jnp.sum(x["b"] ** 2), start, force=1e-5)
    draws = found.draws(jax.random.key(0), 3)
    assert found.mean["a"].dtype == draws["a"].dtype == jnp.float32 and draws["b"].dtype == jnp.float64
    np.testing.assert_allclose(found.scales["b"], np.sqrt(0.5), rtol=1e-6)


def test_no_mode_and_flat_directions_are_errors():
    with pytest.raises(ValueError, match="target: found no mode in 2 steps"):
        td.laplace(lambda x: jnp.sum(x**4 - x), jnp.full(2, 30.0), steps=2)
    with pytest.raises(ValueError, match="does not curve upwards in all directions"):
        td.laplace(lambda x: x[0] ** 2, jnp.ones(2))


@pytest.mark.parametrize("pairs", [0, 2, 9])
def test_the_covariance_of_a_path_is_that_of_bfgs_updates(pairs):
    rng, history = np.random.default_rng(pairs), 3
    empty = jnp.zeros((history, 5))
    curvature = Curvature(steps=empty, changes=empty, diagonal=jnp.ones(5))
    for step in rng.normal(size=(pairs, 5)):
        curvature = curvature.after(jnp.asarray(step), jnp.asarray(PRECISION @ step))
    # a step along which the energy curves downwards says nothing
    curvature = curvature.after(jnp.ones(5), -jnp.ones(5))
    dense = np.diag(curvature.diagonal)
    for s, y in zip(curvature.steps, curvature.changes, strict=True):
        if (b := s @ y) != 0:
            left = np.eye(5) - np.outer(s, y) / b
            dense = left @ dense @ left.T + np.outer(s, s) / b
    center, spread = curvature.normal(jnp.ones(5), jnp.arange(5.0))
    root = np.asarray(jax.vmap(spread.times)(jnp.eye(5))).T
    np.testing.assert_allclose(root @ root.T, dense, atol=1e-12)
    np.testing.assert_allclose(jax.vmap(spread.transposed)(jnp.eye(5)), root, atol=1e-12)
    np.testing.assert_allclose(spread.variances, np.diag(dense), atol=1e-12)
    np.testing.assert_allclose(spread.log_volume, np.linalg.slogdet(dense)[1] / 2, atol=1e-12)
    np.testing.assert_allclose(center, 1 - dense @ np.arange(5.0), atol=1e-12)


@pytest.mark.slow
def test_pathfinder_comes_close_to_a_normal_density():
    start = {**START, "a": jnp.array(9.0), "b": jnp.full((2, 2), -7.0)}
    found = td.pathfinder(jax.random.key(0), gaussian, start, steps=30, history=5, draws=100)
    exact = -0.3 + 5 / 2 * math.log(2 * math.pi) - np.linalg.slogdet(PRECISION)[1] / 2
    assert exact - 1 < found.elbo < exact + 0.1
    np.testing.assert_allclose(found.scales["b"].reshape(-1), np.sqrt(np.diag(np.linalg.inv(PRECISION)))[1:], rtol=0.5)
    assert found.draws(jax.random.key(1), 3)["name"] == "b"


@pytest.mark.slow
def test_pathfinder_stays_where_the_density_has_its_weight_on_the_way_to_a_mode_that_is_far_from_it():
    def funnel(x):  # its mode is at v = -45, where exp(-U) has no weight
        return x["v"] ** 2 / 18 + jnp.sum(x["x"] ** 2) * jnp.exp(-x["v"]) / 2 + 5 * x["v"]

    start = {"v": jnp.array(2.0), "x": 4 * jax.random.normal(jax.random.key(2), 10)}
    found = td.pathfinder(jax.random.key(0), funnel, start)
    assert abs(found.mean["v"]) < 6
    assert found.elbo < 11 / 2 * math.log(2 * math.pi) + math.log(3) + 0.3  # the evidence


@pytest.mark.slow
def test_pathfinder_keeps_dtypes_and_refuses_what_has_no_finite_bound():
    start = {"a": jnp.float32(2.0), "b": jnp.full(2, 3.0)}
    energy = lambda x: x["a"].astype(jnp.float64) ** 2 + jnp.sum(x["b"] ** 2)  # noqa: E731
    found = td.pathfinder(jax.random.key(0), energy, start, steps=5)
    assert found.mean["a"].dtype == jnp.float32 and found.draws(jax.random.key(0), 3)["b"].dtype == jnp.float64
    with pytest.raises(ValueError, match="target: found no normal density with a finite bound"):
        td.pathfinder(jax.random.key(0), lambda x: jnp.where(jnp.sum(x) == 2, 1.0, jnp.inf), jnp.ones(2), steps=2)
