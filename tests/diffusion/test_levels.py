"""Levels: the processes and their inverses, the tables of integer times, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion.cases import EDM_DATA, KEY, end, run
from tests.helpers import mostly_slow
from treedyn import diffusion as df

PROCESSES = {
    "variance_preserving": (df.VariancePreserving(), 0.001, 1.0),
    "cosine": (df.Cosine(), 0.001, 0.999),
    "discrete": (df.discrete(1000).process, 0.0, 999.0),
    "variance_exploding": (df.VarianceExploding(), 0.002, 80.0),
    "rectified_flow": (df.RectifiedFlow(), 0.001, 0.999),
}


@pytest.mark.parametrize("name", PROCESSES)
def test_of_ratio_is_the_inverse_of_at(name):
    process, first, last = PROCESSES[name]
    times = jnp.linspace(first, last, 13)
    level = process.at(times)
    back = process.of_ratio(level.ratio)
    np.testing.assert_allclose(back.time, times, rtol=1e-8, atol=1e-10 * last)
    for own in ("alpha", "sigma"):
        np.testing.assert_allclose(getattr(back, own), getattr(level, own), rtol=1e-9)


@pytest.mark.parametrize("name", ["variance_preserving", "cosine", "discrete"])
def test_variance_is_preserved(name):
    process, first, last = PROCESSES[name]
    level = process.at(jnp.linspace(first, last, 13))
    np.testing.assert_allclose(level.alpha**2 + level.sigma**2, 1, rtol=1e-14)


def test_rates_are_those_of_the_stochastic_differential_equation():
    process, time = df.VariancePreserving(), jnp.asarray(0.3)
    level = process.at(time)
    beta = 0.1 + 19.9 * 0.3
    alpha, sigma, square = process.rates(level)
    np.testing.assert_allclose(alpha, -beta * level.alpha / 2, rtol=1e-12)
    np.testing.assert_allclose(sigma, beta * level.alpha**2 / (2 * level.sigma), rtol=1e-12)
    np.testing.assert_allclose(square, beta, rtol=1e-12)
    np.testing.assert_allclose(df.VarianceExploding().rates(df.VarianceExploding().at(3.0))[2], 6.0)


# of the schedulers of diffusers, for T = 1000 and n = 10 steps
TIMES = {
    "leading": [900, 800, 700, 600, 500, 400, 300, 200, 100, 0],
    "linspace": [999, 888, 777, 666, 555, 444, 333, 222, 111, 0],
    "linspace_open": [999, 899, 799, 699, 599, 500, 400, 300, 200, 100],
    "trailing": [999, 899, 799, 699, 599, 499, 399, 299, 199, 99],
}


@pytest.mark.parametrize("spacing", TIMES)
def test_integer_times_have_the_spacing_of_its_name(spacing):
    levels = df.discrete(10, spacing=spacing)
    assert list(levels.time[:-1]) == TIMES[spacing]
    kept = np.cumprod(1 - df.linear_betas())[TIMES[spacing]]
    np.testing.assert_allclose(levels.alpha[:-1] ** 2, kept, rtol=1e-12)
    assert levels.sigma[-1] == 0 and levels.alpha[-1] == 1


def test_zero_terminal_snr_starts_without_signal_and_ends_as_before():
    levels, plain = (df.discrete(10, zero_terminal_snr=flag) for flag in (True, False))
    assert levels.alpha[0] == 0 and levels.sigma[0] == 1
    table = df.discrete(1000, zero_terminal_snr=True)
    np.testing.assert_allclose(table.alpha[-2], df.discrete(1000).alpha[-2])
    assert np.all(levels.alpha[1:-1] < plain.alpha[1:-1])


@pytest.mark.parametrize(
    "name", mostly_slow(("euler", "ddpm", "dpmpp_2m", "dpmpp_3m_corrected", "dpmpp_2m_sde", "unipc"), "dpmpp_2m")
)
def test_a_start_without_signal_is_sampled_without_nan(name):
    levels = df.discrete(10, df.cosine_betas(), zero_terminal_snr=True)
    data = df.gaussian(mean=0.3, std=0.5)
    sampler = getattr(df, name)(data, levels)
    state = run(sampler, KEY, sampler.start(KEY, jnp.zeros(3)), 10)
    assert int(state.status) == 0 and np.all(np.isfinite(state.position))


def test_levels_in_between_are_half_way_in_the_ratio_or_in_its_logarithm():
    levels = df.edm(4)
    s = levels.sigma
    np.testing.assert_allclose(levels.between(1, 0.5).sigma, (s[1] + s[2]) / 2)
    np.testing.assert_allclose(levels.between(1, 0.5, geometric=True).sigma, np.sqrt(s[1] * s[2]), rtol=1e-12)
    line = df.rectified_flow(4)
    np.testing.assert_allclose(line.between(0, 0.5).time, 0.875, rtol=1e-12)


def test_levels_outside_of_the_grid_are_nan():
    levels = df.edm(4)
    assert np.isnan(levels.at(5).sigma) and np.isnan(levels.at(-1).sigma) and levels.at(4).sigma == 0


def test_a_run_past_the_last_level_sets_a_bit_and_returns_no_sample():
    sampler = df.euler(EDM_DATA, df.edm(4))
    state = sampler.init(KEY, jnp.ones(2))
    assert int(td.trajectory(sampler, state, steps=4).state.status) == 0
    late = td.trajectory(sampler, state, steps=5).state
    assert td.Status.PAST_END in td.Status(int(late.status)) and np.all(np.isnan(late.position))
    with pytest.raises(td.SimulationError, match="past its end") as caught:
        td.run(sampler, state, steps=7)
    assert caught.value.step == 4 and np.all(np.isfinite(caught.value.state.position))


@pytest.mark.parametrize(
    "name", ["euler", "heun", "dpmpp_2m", "dpmpp_3m_corrected", "unipc", "adams_bashforth", "ddpm"]
)
def test_one_level_is_one_step_to_the_denoised_data(name):
    sampler = getattr(df, name)(EDM_DATA, df.edm(1))
    np.testing.assert_allclose(end(sampler, jnp.array([40.0])), 40.0 * 0.25 / (0.25 + 80.0**2), rtol=1e-11)


VE = df.VarianceExploding()
REFUSED = {
    "levels that increase": (lambda: df.levels_at(VE, [1.0, 2.0]), "levels.*decrease"),
    "equal levels": (lambda: df.levels_at(VE, [2.0, 2.0, 1.0]), "levels.*decrease.*level 1"),
    "one level": (lambda: df.levels_at(VE, [2.0]), "levels.*at least two"),
    "negative noise": (lambda: df.levels_at(VE, [2.0, -1.0]), "zero or positive"),
    "sigma_min 0 with rho": (lambda: df.edm(10, sigma_min=0.0), "sigma_min.*positive"),
    "sigma_min 0, geometric": (lambda: df.variance_exploding(10, sigma_min=0.0), "sigma_min.*positive"),
    "sigma_min above sigma_max": (lambda: df.edm(10, sigma_min=90.0), "levels.*decrease"),
    "no step": (lambda: df.edm(0), "steps.*at least 1"),
    "more steps than times": (lambda: df.discrete(1001), "steps.*below 1001"),
    "unknown spacing": (lambda: df.discrete(10, spacing="even"), "spacing.*leading"),
    "betas of 0": (lambda: df.discrete(10, np.zeros(20)), "betas.*between 0 and 1"),
    "unequal steps": (lambda: df.euler(EDM_DATA, {"a": df.edm(3), "b": df.edm(4)}), r"levels.*\[3, 4\]"),
    "no signal": (
        lambda: df.heun(EDM_DATA, df.discrete(5, zero_terminal_snr=True)).init(KEY, jnp.ones(2)),
        "levels.*signal",
    ),
    "no levels": (lambda: df.euler(EDM_DATA, 10), "levels.*edm"),
    "no denoiser": (lambda: df.euler(lambda x: x, df.edm(3)), "denoiser.*network"),
    "levels of another tree": (
        lambda: df.euler(EDM_DATA, {"a": df.edm(3)}).init(KEY, {"b": jnp.ones(2)}),
        "levels does not fit",
    ),
    "shrinking in a box": (
        lambda: df.heun(EDM_DATA, df.rectified_flow(3), space=td.sphere()).init(KEY, jnp.array([1.0, 0.0])),
        "levels.*VarianceExploding",
    ),
    "adding data on a sphere": (
        lambda: df.unipc(EDM_DATA, df.edm(3)).replace(space=td.sphere()).init(KEY, jnp.array([1.0, 0.0])),
        "space.*Euclidean",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_the_argument_and_the_fix(name):
    act, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        act()


def test_numbers_of_levels_are_leaves():
    slope = jax.grad(lambda levels: end(df.euler(EDM_DATA, levels), jnp.asarray(1.0)))(df.edm(4))
    assert np.all(np.isfinite(slope.sigma)) and np.any(slope.sigma != 0)
