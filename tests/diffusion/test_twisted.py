"""Batches of points, and populations whose weights make guidance exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion.cases import KEY, MIXTURE, end, run
from treedyn import diffusion as df

LEVELS = df.edm(8, sigma_max=40.0)


def test_a_batch_is_the_stack_of_its_points():
    pair = df.mixture([0.5, 0.5], mean=[[-1.0, -1.0], [1.0, 1.0]], std=[0.2, 0.3])
    points = jnp.array([[30.0, -10.0], [2.0, 3.0], [-20.0, 5.0]])
    together = end(df.dpmpp_2m(df.each(pair), LEVELS), points)
    alone = jnp.stack([end(df.dpmpp_2m(pair, LEVELS), x) for x in points])
    np.testing.assert_allclose(together, alone, rtol=1e-10)
    level, position = df.VarianceExploding().at(0.5), {"x": points}
    data = df.gaussian(std={"x": 0.5})
    energies = [data.at(level)({"x": x}).energy for x in points]
    np.testing.assert_allclose(df.each(data).at(level)(position).energy, sum(energies), rtol=1e-12)


@pytest.mark.slow
def test_weights_are_normalized_and_the_same_in_one_run_and_in_two():
    data = df.measured(MIXTURE, lambda x: x, jnp.asarray(-0.5), 0.6)
    sampler = df.twisted(data, LEVELS, particles=16)
    start = sampler.init(KEY, sampler.start(jax.random.key(1), jnp.zeros(16)))
    once = td.run(sampler, start, steps=8).state
    again = td.run(sampler, td.run(sampler, start, steps=3).state, steps=5).state
    np.testing.assert_array_equal(once.position, again.position)
    np.testing.assert_allclose(jnp.sum(jnp.exp(once.info.log_weight)), 1, rtol=1e-12)
    assert 1 <= once.info.effective <= 16 and int(once.status) == 0


@pytest.mark.slow
def test_the_population_is_the_posterior_of_a_mixture_and_knows_its_evidence():
    data = df.measured(MIXTURE, lambda x: x, jnp.asarray(-0.5), 0.6)
    sampler = df.twisted(data, df.edm(400, sigma_max=40.0), particles=1000)

    @jax.jit
    def found(key):
        state = run(sampler, key, sampler.start(jax.random.fold_in(key, 1), jnp.zeros(1000)), 400)
        weight, x = jnp.exp(state.info.log_weight), state.position
        mean = jnp.sum(weight * x)
        left = jnp.sum(jnp.where(x < -0.5, weight, 0))
        return mean, jnp.sum(weight * (x - mean) ** 2) ** 0.5, left, jnp.exp(state.info.log_evidence)

    mean, std, left, evidence = (np.asarray(x) for x in jax.lax.map(found, jax.random.split(KEY, 12)))
    for values, known in ((mean, -0.189086562), (std, 1.119073347)):  # of independent populations
        assert abs(np.mean(values) - known) < 4 * np.std(values) / np.sqrt(len(values))
    # the narrow modes hardly reach over the middle between them
    assert abs(np.mean(left) - 0.44708068) < 0.02
    np.testing.assert_allclose(evidence.mean(), 0.0542035287, rtol=0.01)


def test_particles_that_start_together_do_not_stay_together():
    data = df.measured(MIXTURE, lambda x: x, jnp.asarray(-0.5), 0.6)
    sampler = df.twisted(data, LEVELS, particles=16)
    assert len(np.unique(run(sampler, KEY, jnp.full(16, 3.0), 7).position)) == 16


def test_a_population_of_another_size_is_refused():
    sampler = df.twisted(df.measured(MIXTURE, lambda x: x, jnp.asarray(-0.5), 0.6), LEVELS, particles=16)
    with pytest.raises(ValueError, match=r"position.*16 particles"):
        sampler.init(KEY, jnp.zeros(8))
