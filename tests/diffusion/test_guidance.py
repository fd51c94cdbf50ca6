"""Guidance of Gaussians, whose flow is affine and known, and inpainting."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion.cases import KEY, end
from tests.helpers import mostly_slow
from treedyn import diffusion as df
from treedyn.testing import sigmas

CLASS, ALL = df.gaussian(mean=1.0, std=0.5), df.gaussian(std=2.0)
# scale: mean and deviation at the end of the flow from N(0, 80^2)
FREE = {
    0.0: (0.0, 1.999375293),
    1.0: (0.993750122, 0.499990235),
    2.0: (1.130069046, 0.125034172),
    4.0: (1.105846233, 0.007819214),
    7.5: (1.080476139, 0.000061150),
}


def flow(denoiser, steps=1000):
    """Return mean and deviation of the converged flow, which is affine."""
    sampler = df.adams_bashforth(denoiser, df.edm(steps, sigma_min=1e-4))
    low, high = np.asarray(jax.vmap(lambda x: end(sampler, x))(jnp.array([-80.0, 80.0])))
    return (low + high) / 2, (high - low) / 2


@pytest.mark.slow
def test_classifier_free_guidance_of_gaussians_is_known_for_every_scale():
    guided = df.guided(CLASS, ALL, scale=1.0)
    found = jax.vmap(lambda scale: jnp.stack(flow_of(guided.replace(scale=scale))))(jnp.array(list(FREE)))
    np.testing.assert_allclose(found, list(FREE.values()), atol=2e-8)


def flow_of(denoiser):
    sampler = df.adams_bashforth(denoiser, df.edm(1000, sigma_min=1e-4))
    low, high = (end(sampler, jnp.asarray(x)) for x in (-80.0, 80.0))
    return (low + high) / 2, (high - low) / 2


def test_guidance_is_not_the_tilted_density():
    mean, std = FREE[2.0]
    tilted = (1.032258065, 0.359210604)  # p_u^-1 p_c^2
    assert abs(mean - tilted[0]) > 0.09 and abs(std - tilted[1]) > 0.2


def test_guidance_outside_of_its_interval_is_the_wanted_denoiser():
    x, level = jnp.array([0.3]), df.VarianceExploding().at(1.0)
    outside = df.guided(CLASS, ALL, scale=3.0, interval=(2.0, 5.0)).predict(x, level)
    inside = df.guided(CLASS, ALL, scale=3.0, interval=(0.5, 5.0)).predict(x, level)
    one, zero = CLASS.predict(x, level), ALL.predict(x, level)
    np.testing.assert_allclose(outside.denoised, one.denoised, rtol=1e-14)
    np.testing.assert_allclose(inside.denoised, zero.denoised + 3 * (one.denoised - zero.denoised), rtol=1e-14)


def test_the_environment_of_a_denoiser_can_be_given():
    model = df.network(lambda params, x, level, label: params[label] * jnp.ones_like(x), jnp.array([1.0, 2.0]))
    level, x = df.VarianceExploding().at(1.0), jnp.zeros(1)
    assert df.given(model, 1).predict(x, level).noise == 2.0 == model.predict(x, level, 1).noise


def test_an_exact_classifier_turns_one_denoiser_into_another():
    def log_likelihood(x, level):
        return jnp.sum(-CLASS.at(level)(x).energy + ALL.at(level)(x).energy)

    level, x = df.VariancePreserving().at(0.3), jnp.array([0.3])
    found, known = df.classified(ALL, log_likelihood).predict(x, level), CLASS.predict(x, level)
    np.testing.assert_allclose(found.denoised, known.denoised, rtol=1e-12)
    np.testing.assert_allclose(found.noise, known.noise, rtol=1e-12)


@pytest.mark.parametrize(
    "variance, known",
    mostly_slow(
        [
            ("exact", (0.732929719, 0.257246548)),
            ("prior", (0.732929719, 0.257246548)),
            ("none", (1.202063959, 0.124680433)),
        ],
        ("exact", (0.732929719, 0.257246548)),
    ),
)
def test_posterior_of_gaussian_data_is_known_for_every_variance(variance, known):
    data = df.measured(df.gaussian(std=0.5), lambda x: x, jnp.asarray(1.0), 0.3, variance=variance, std=0.5)
    np.testing.assert_allclose(flow(data), known, atol=2e-8)


def test_exact_posterior_of_a_linear_measurement_is_that_of_the_conditional_gaussian():
    # the noisy data of a Gaussian conditioned on a sum of its elements, in closed form
    level, x = df.VarianceExploding().at(0.8), jnp.array([0.3, -0.6, 1.1])
    found = df.measured(df.gaussian(std=0.5), lambda x: jnp.sum(x), 0.7, 0.2).predict(x, level)
    one = np.ones((1, 3))
    precision = np.eye(3) / 0.25 + np.eye(3) / 0.64 + one.T @ one / 0.04
    mean = np.linalg.solve(precision, np.asarray(x) / 0.64 + one[0] * 0.7 / 0.04)
    np.testing.assert_allclose(found.denoised, mean, rtol=1e-12)


def test_a_measured_value_of_another_size_is_refused():
    data = df.measured(df.gaussian(), lambda x: x, jnp.ones(3), 0.3)
    with pytest.raises(ValueError, match="value: expected the 2 numbers"):
        data.predict(jnp.ones(2), df.VarianceExploding().at(1.0))


PAIR = df.mixture([0.5, 0.5], mean=[[-1.0, -1.0], [1.0, 1.0]], std=[0.2, 0.2])


@pytest.mark.slow
def test_inpainting_keeps_what_is_known_and_repeats_make_the_rest_fit():
    agree = {}
    for repeats in (1, 10):
        ddpm = df.ddpm(PAIR, df.edm(10, sigma_max=10.0))
        sampler = df.inpainted(ddpm, jnp.array([1.0, 0.0]), jnp.array([True, False]), repeats=repeats)
        many = td.ensemble(sampler, members=500)
        state = many.init(KEY, sampler.start(KEY, jnp.zeros(2), members=500))
        x = td.run(many, state, steps=10).state.position
        np.testing.assert_array_equal(x[:, 0], 1.0)
        agree[repeats] = np.asarray(x[:, 1] > 0, float)
    assert agree[10].mean() > 0.9
    assert sigmas(agree[10] - agree[1], 0.0) > 4
