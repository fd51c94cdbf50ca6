"""Samplers against exact laws: Gaussian data by the certificate of the run, a mixture by its quantiles."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.diffusion.cases import (
    DDIM,
    EDM,
    EDM_DATA,
    EDM_LEVELS,
    ETAS,
    KEY,
    MIXTURE,
    QUANTILES,
    VP_DATA,
    begin,
    end,
    law,
)
from tests.helpers import mostly_slow
from treedyn import diffusion as df

GATE = 1e-6
FAST = [(name, 0) for name in ("heun", "dpmpp_2m", "unipc", "churned", "dpmpp_3m_corrected")]


def build(name, levels, data=EDM_DATA):
    return getattr(df, name)(data, levels)


@pytest.mark.parametrize(
    "name, column",
    mostly_slow(
        [(name, k) for name in EDM for k in range(4)],
        *FAST,
    ),
)
def test_gaussian_data_end_with_the_known_deviation(name, column):
    mean, std = law(build(name, df.edm(EDM_LEVELS[column])), std=80.0)
    assert abs(std - EDM[name][column]) < GATE and abs(mean) < GATE


@pytest.mark.parametrize("spacing, steps", mostly_slow(DDIM, ("leading", 10), ("linspace", 10), ("trailing", 10)))
def test_ddim_on_every_spacing_of_integer_times_ends_with_the_known_law(spacing, steps):
    for eta, known in zip(ETAS, DDIM[spacing, steps], strict=True):
        found = law(df.ddim(VP_DATA, df.discrete(steps, spacing=spacing), eta=eta), std=1.0)
        np.testing.assert_allclose(found, known, atol=GATE)


def test_ddim_with_all_noise_fresh_is_ddpm():
    levels = df.discrete(10, spacing="trailing")
    one, other = (law(f, std=1.0) for f in (df.ddim(VP_DATA, levels, eta=1.0), df.ddpm(VP_DATA, levels)))
    np.testing.assert_allclose(one, other, rtol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variance, known", [("posterior", (0.299996973, 0.496110080)), ("beta", (0.299996973, 0.500751510))]
)
def test_ddpm_of_a_thousand_steps_ends_with_the_known_law(variance, known):
    levels = df.discrete(1000)
    np.testing.assert_allclose(levels.alpha[0] ** 2, 4.03582976538e-05, rtol=1e-11)
    np.testing.assert_allclose(law(df.ddpm(VP_DATA, levels, variance=variance), std=1.0), known, atol=GATE)


@pytest.mark.parametrize(
    "name, steps, known",
    mostly_slow(
        [
            ("dpmpp_2m", 10, (0.299231057, 0.403465378)),
            ("dpmpp_2m", 25, (0.299070275, 0.487828003)),
            ("dpmpp_2m", 50, (0.299047502, 0.499777011)),
            ("unipc", 10, (0.299222090, 0.408170354)),
            ("unipc", 25, (0.299069717, 0.488121062)),
            ("unipc", 50, (0.299050581, 0.498161630)),
        ],
        ("dpmpp_2m", 10, (0.299231057, 0.403465378)),
        ("unipc", 10, (0.299222090, 0.408170354)),
    ),
)
def test_multistep_solvers_on_integer_times_end_with_the_known_law(name, steps, known):
    sampler = build(name, df.discrete(steps, spacing="linspace_open"), VP_DATA)
    np.testing.assert_allclose(law(sampler, std=1.0), known, atol=GATE)


@pytest.mark.parametrize(
    "eta, steps, known",
    mostly_slow(
        [
            (1.0, 100, (0.301756088, 0.503889067)),
            (1.0, 1000, (0.300158825, 0.500442265)),
            (0.0, 100, (0.299942046, 0.497906956)),
        ],
        (1.0, 100, (0.301756088, 0.503889067)),
    ),
)
def test_euler_maruyama_of_the_continuous_process_ends_with_the_known_law(eta, steps, known):
    sampler = df.euler_maruyama(VP_DATA, df.variance_preserving(steps), eta=eta)
    np.testing.assert_allclose(law(sampler, std=1.0), known, atol=GATE)


RECTIFIED = {
    "euler": (0.0, 0.340540541, 0.430782605, 0.485396738),
    "heun": (0.5, 0.504834696, 0.501719912, 0.500088808),
    "midpoint": (0.4, 0.498291215, 0.499884738, 0.499999067),
    "rk4": (0.38, 0.500006070, 0.500000240, 0.500000002),
}


@pytest.mark.parametrize("name", mostly_slow(RECTIFIED, "heun"))
def test_rectified_flow_ends_with_the_known_law(name):
    options = {"log": False} if name == "midpoint" else {}
    for steps, known in zip((1, 4, 10, 50), RECTIFIED[name], strict=True):
        sampler = getattr(df, name)(VP_DATA, df.rectified_flow(steps), **options)
        # a deterministic run of an affine flow: two starts tell all
        low, high = np.asarray(end(sampler, jnp.array([-1.0, 1.0])))
        np.testing.assert_allclose(((low + high) / 2, (high - low) / 2), (0.3, known), atol=1e-9)


@pytest.mark.parametrize(
    "name, order",
    [
        *(("euler", 1), ("heun", 2), ("midpoint", 2), ("dpmpp_2s", 2), ("dpmpp_2m", 2), ("unipc", 3)),
        *(("dpmpp_3m_as_shipped", 2), ("dpmpp_3m_corrected", 3), ("adams_bashforth", 3)),
    ],
)
def test_flows_converge_with_their_order_on_levels_that_end_above_0(name, order):
    # the exact flow of Gaussian data multiplies by the deviation with noise
    def error(steps):
        options = {"order": 3} if name == "adams_bashforth" else {}
        sampler = getattr(df, name)(EDM_DATA, df.edm(steps, sigma_min=0.002, zero=False), **options)
        exact = 80.0 * np.hypot(0.5, 0.002) / np.hypot(0.5, 80.0)
        return abs(float(end(sampler, jnp.asarray(80.0))) - exact)

    errors = [error(n) for n in (320, 640)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.15


def test_rk4_has_order_4_on_a_straight_line_that_ends_above_0():
    def error(steps):
        sampler = df.rk4(VP_DATA, df.rectified_flow(steps, end=0.1))
        return abs(float(end(sampler, jnp.asarray(1.3)) - 0.3 * 0.9) / 1.3 - np.hypot(0.9 * 0.5, 0.1))

    assert abs(np.log2(error(40) / error(80)) - 4) < 0.2


@pytest.mark.slow
@pytest.mark.parametrize("name", EDM)
def test_single_precision_is_close_to_double(name):
    sampler = build(name, df.edm(40), MIXTURE)
    starts = jnp.array([-32.0, 0.0, 40.0, 120.0])
    # the noise of the two precisions differs, so both get that of one
    state, low = begin(sampler, KEY, starts), begin(sampler, KEY, starts.astype(jnp.float32))
    step = jax.jit(lambda s, state, noise: s.apply(state, None, noise).replace(step=state.step + 1))
    for _ in range(40):
        noise = sampler.draw(state)
        state = step(sampler, state, noise)
        low = step(sampler, low, jax.tree.map(lambda x: x.astype(jnp.float32), noise))
    assert low.position.dtype == jnp.float32 and int(low.status) == 0
    np.testing.assert_allclose(low.position, state.position, atol=1e-4)


@pytest.mark.slow
def test_vector_field_solved_by_diffrax_is_the_quantile_map_to_eight_digits():
    field = df.vector_field(df.each(MIXTURE), df.VarianceExploding())
    solution = diffrax.diffeqsolve(
        *(diffrax.ODETerm(field), diffrax.Dopri8(), 80.0, 1e-6, None, jnp.array(list(QUANTILES))),
        stepsize_controller=diffrax.PIDController(rtol=1e-11, atol=1e-12),
        max_steps=100_000,
    )
    assert solution.ys is not None
    np.testing.assert_allclose(solution.ys[0], list(QUANTILES.values()), atol=1e-8)


def test_flow_of_a_mixture_is_its_quantile_map():
    starts = jnp.array(list(QUANTILES))
    for name, steps, tolerance in (("heun", 640, 2e-4), ("adams_bashforth", 640, 5e-6)):
        sampler = build(name, df.edm(steps, sigma_min=2e-4), MIXTURE)
        found = jax.vmap(lambda x, sampler=sampler: end(sampler, x))(starts)
        np.testing.assert_allclose(found, list(QUANTILES.values()), atol=tolerance)


@pytest.mark.slow
def test_converged_flow_of_a_mixture_is_its_quantile_map_to_eight_digits():
    sampler = df.adams_bashforth(MIXTURE, df.edm(5000, sigma_min=1e-5), order=5)
    found = jax.vmap(lambda x: end(sampler, x))(jnp.array(list(QUANTILES)))
    np.testing.assert_allclose(found, list(QUANTILES.values()), atol=1e-8)
