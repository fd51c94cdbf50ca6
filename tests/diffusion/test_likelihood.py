"""Log densities by the probability flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.diffusion.cases import EDM_DATA, KEY, MIXTURE, VP_DATA
from treedyn import diffusion as df
from treedyn.testing import sigmas

# steps: of Euler and of Heun, up the EDM grid for Gaussian data at 0.7
KNOWN = {18: (0.064931128, -1.023556369), 80: (-0.943143375, -1.196773174), 320: (-1.141196450, -1.205242560)}


@pytest.mark.parametrize("steps", KNOWN)
def test_discretized_likelihood_is_known(steps):
    for method, known in zip(("euler", "heun"), KNOWN[steps], strict=True):
        found = df.log_likelihood(EDM_DATA, df.edm(steps), jnp.asarray(0.7), method=method)
        np.testing.assert_allclose(found, known, atol=1e-8)


TREE = {"a": jnp.asarray(0.7), "b": jnp.array([0.1, 0.2])}


@pytest.mark.parametrize("levels", ["edm", "straight", "preserving", "mixed"])
def test_likelihood_on_a_tree_is_that_of_the_data(levels):
    grids = {"edm": df.edm(400), "straight": df.rectified_flow(400), "preserving": df.variance_preserving(400)}
    grid = {"a": grids["edm"], "b": grids["preserving"]} if levels == "mixed" else grids[levels]
    exact = sum(-(((x - 0.3) / 0.5) ** 2) / 2 - np.log(0.5) - np.log(2 * np.pi) / 2 for x in (0.7, 0.1, 0.2))
    np.testing.assert_allclose(df.log_likelihood(VP_DATA, grid, TREE), exact, atol=2e-3)


def test_likelihood_of_a_mixture_converges_to_its_log_density():
    known = {-2.0: -1.4297641570, 0.0: -7.6951631016, 0.7: -0.6093189111}
    found = jax.vmap(lambda x: df.log_likelihood(MIXTURE, df.edm(1000), x))(jnp.array(list(known)))
    np.testing.assert_allclose(found, list(known.values()), atol=3e-3)


def test_estimated_divergence_is_unbiased():
    position = jnp.array([0.5, -0.4, 0.9])
    data = df.mixture([0.5, 0.5], mean=[[-1.0, 0.0, 1.0], [1.0, 0.5, 0.0]], std=[0.5, 0.3])
    levels = df.edm(18)
    exact = df.log_likelihood(data, levels, position)
    keys = jax.random.split(KEY, 300)
    found = jax.vmap(lambda key: df.log_likelihood(data, levels, position, key=key))(keys)
    assert np.std(found) > 1e-3 and abs(sigmas(found, exact)) < 4


def test_gradient_of_the_likelihood_is_the_score_of_the_discretized_density():
    levels, x, h = df.edm(20), jnp.asarray(0.7), 1e-5

    def f(x):
        return df.log_likelihood(MIXTURE, levels, x)

    np.testing.assert_allclose(jax.grad(f)(x), (f(x + h) - f(x - h)) / (2 * h), rtol=1e-7)
