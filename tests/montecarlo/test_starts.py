"""Starts: the Laplace approximation, exact for normal densities."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
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
