"""Circles, boxes, spheres, and trees whose leaves have levels, spaces and predictions of their own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.diffusion.cases import EDM_DATA, KEY, VP_DATA, end, run
from tests.helpers import mostly_slow
from treedyn import diffusion as df
from treedyn.testing import sigmas

VE = df.VarianceExploding()
PERIOD = 2 * np.pi


def displacement(a, b):
    return (a - b + PERIOD / 2) % PERIOD - PERIOD / 2


def shift(x, way):
    return (x + way) % PERIOD


CIRCLE = td.as_space((displacement, shift))
ANGLE = df.wrapped(std=0.4, period=PERIOD)


def test_density_and_score_of_wrapped_noise_are_known():
    known = {
        (0.5, 0.5): (0.483941449038, -2.0),
        (1.0, 2.0): (0.0540323852698, -1.99518359736),
        (1.0, 3.0): (0.00625244431204, -1.17045289187),
        (2.5, 0.5): (0.171429067888, -0.0391242351108),
        (2.5, 3.0): (0.145310482277, -0.0135776817678),
    }
    point = df.wrapped(std=0.0, period=PERIOD)
    for (sigma, x), (density, score) in known.items():
        found = point.at(VE.at(sigma))(jnp.asarray(x))
        np.testing.assert_allclose(jnp.exp(-found.energy), density, rtol=1e-11)
        np.testing.assert_allclose(found.force, score, rtol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_wrapped_score_is_finite_and_periodic_at_every_noise(dtype):
    data = df.wrapped(std=0.0, period=PERIOD)
    for sigma in (1e-4, 0.1, 1.8, 2.0, 80.0):
        for x in (0.0, 1e-3, 3.1, np.pi, 6.0):
            found = [data.at(VE.at(sigma))(jnp.asarray(x + n * PERIOD, dtype)) for n in (0, 3)]
            assert np.isfinite(found[0].force) and np.isfinite(found[0].energy)
            slack = 1e-3 if dtype == jnp.float32 else 1e-9
            away = abs(x - np.pi) > 1e-6  # where the nearest image changes
            assert not away or abs(found[0].force - found[1].force) < slack * (1 + sigma**-2)
    slope = jax.grad(lambda x: data.at(VE.at(1e-4))(x).force)(jnp.asarray(0.0, dtype))
    np.testing.assert_allclose(slope, -1e8, rtol=1e-5)


def test_both_series_of_the_wrapped_density_agree_where_they_meet():
    data = df.wrapped(std=0.0, period=PERIOD)
    x = jnp.linspace(-3.0, 3.0, 7)
    low, high = (data.at(VE.at(0.3 * PERIOD * (1 + e)))(x) for e in (-1e-12, 1e-12))
    np.testing.assert_allclose(low.force, high.force, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(low.energy, high.energy, rtol=1e-9)


def test_flow_on_a_circle_is_its_quantile_map():
    known = {0.5: 0.0803734159, 1.5: 0.2558979218, 3.0: 0.8017028629}
    sampler = df.adams_bashforth(ANGLE, df.edm(2000, sigma_max=4.0, sigma_min=1e-4), space=CIRCLE)
    found = jax.vmap(lambda x: end(sampler, x))(jnp.array(list(known)))
    np.testing.assert_allclose(found, list(known.values()), atol=1e-7)


@pytest.mark.parametrize(
    "name", mostly_slow(("euler", "heun", "ancestral", "euler_maruyama", "churned"), "heun", "ancestral")
)
def test_samplers_move_in_the_space_of_a_leaf(name):
    sampler = getattr(df, name)(ANGLE, df.edm(10, sigma_max=4.0), space=CIRCLE)
    state = run(sampler, KEY, jnp.array([0.1, 3.1, 6.2]), 10)
    assert int(state.status) == 0 and np.all((state.position >= 0) & (state.position < PERIOD))
    # the same noise on a line that is long enough leads to the same points
    straight = end(getattr(df, name)(ANGLE, df.edm(10, sigma_max=4.0)), jnp.array([0.1, 3.1, 6.2]))
    np.testing.assert_allclose(displacement(state.position, straight), 0, atol=1e-9)


@pytest.mark.parametrize("sigma, length", [(0.5, 0.8824969026), (1.0, 0.6065306597), (2.5, 0.04393693362)])
def test_start_on_a_circle_is_wrapped_noise_of_known_resultant_length(sigma, length):
    sampler = df.heun(ANGLE, df.levels_at(VE, [sigma, 0.0]), space=CIRCLE)
    x = sampler.start(KEY, jnp.zeros(20_000))
    assert np.all((x >= 0) & (x < PERIOD)) and abs(sigmas(np.cos(x), length)) < 4


NORTH = jnp.array([0.0, 0.0, 1.0])


def test_density_on_a_sphere_is_normalized_and_its_gradient_is_the_score():
    data = df.spherical(NORTH, std=0.3)
    target, sphere = data.at(VE.at(0.4)), td.sphere()
    nodes, weights = np.polynomial.legendre.leggauss(200)
    points = jnp.stack([jnp.sqrt(1 - nodes**2), jnp.zeros(200), jnp.asarray(nodes)], axis=1)
    density = jax.vmap(lambda x: jnp.exp(-target(x).energy))(points)
    np.testing.assert_allclose(2 * np.pi * density @ weights, 1, rtol=1e-12)
    x = jnp.array([0.6, 0.0, 0.8])
    slope = jax.grad(lambda d: target(sphere.shift(x, d)).energy)(jnp.zeros(3))
    np.testing.assert_allclose(target(x).force, -slope, atol=1e-12)


@pytest.mark.slow
def test_flow_on_a_sphere_is_its_quantile_map_along_meridians():
    data, std = df.spherical(NORTH, std=0.3), 0.3
    sampler = df.heun(data, df.edm(200, sigma_max=3.0, sigma_min=1e-3), space=td.sphere())
    angles = jnp.array([0.5, 1.5, 2.5])
    starts = jnp.stack([jnp.sin(angles), jnp.zeros(3), jnp.cos(angles)], axis=1)
    found = jax.vmap(lambda x: end(sampler, x))(starts)
    np.testing.assert_allclose(found[:, 1], 0, atol=1e-12)
    np.testing.assert_allclose(jnp.linalg.norm(found, axis=1), 1, rtol=1e-12)

    def share(angle, variance):
        """Return the share of all points within an angle of the mean."""
        nodes, weights = np.polynomial.legendre.leggauss(100)
        inner = angle * (1 + nodes) / 2
        points = jnp.stack([jnp.sin(inner), jnp.zeros(100), jnp.cos(inner)], axis=1)
        target = df.spherical(NORTH, std=float(np.sqrt(variance))).at(VE.at(0.0))
        density = jax.vmap(lambda x: jnp.exp(-target(x).energy))(points)
        return float(2 * np.pi * density @ (weights * np.sin(inner)) * angle / 2)

    reached = np.arctan2(found[:, 0], found[:, 2])
    for before, after in zip(angles, reached, strict=True):
        np.testing.assert_allclose(share(after, std**2), share(float(before), std**2 + 9.0), atol=2e-4)


def test_start_on_a_sphere_with_much_noise_is_uniform():
    sampler = df.heun(df.spherical(NORTH, std=0.3), df.edm(10, sigma_max=4.0), space=td.sphere())
    x = sampler.start(KEY, jnp.broadcast_to(NORTH, (4000, 3)))
    np.testing.assert_allclose(jnp.linalg.norm(x, axis=1), 1, rtol=1e-12)
    assert abs(sigmas(np.asarray(x[:, 2]), 0.0)) < 4 and abs(sigmas(np.asarray(x[:, 2] ** 2), 1 / 3)) < 4


class Joint(df.Denoiser):
    """Angles on a circle beside numbers on a line."""

    angle: df.Denoiser
    number: df.Denoiser

    def predict(self, position, level, env=None):
        one, two = (
            self.angle.predict(position["angle"], level["angle"]),
            self.number.predict(position["number"], level["number"]),
        )
        return df.Prediction(
            denoised={"angle": one.denoised, "number": two.denoised}, noise={"angle": one.noise, "number": two.noise}
        )


def test_leaves_with_levels_and_spaces_of_their_own_move_as_they_would_alone():
    levels = {"angle": df.edm(12, sigma_max=4.0), "number": df.discrete(12, spacing="trailing")}
    space = {"angle": CIRCLE, "number": td.euclidean()}
    sampler = df.euler(Joint(angle=ANGLE, number=VP_DATA), levels, space=space)
    start = {"angle": jnp.array([0.5, 3.0]), "number": jnp.array([1.0, -0.3], jnp.float32)}
    found = end(sampler, start)
    alone = end(df.euler(ANGLE, levels["angle"], space=CIRCLE), start["angle"])
    np.testing.assert_allclose(found["angle"], alone, rtol=1e-12)
    np.testing.assert_allclose(found["number"], end(df.euler(VP_DATA, levels["number"]), start["number"]), rtol=1e-6)
    assert found["number"].dtype == jnp.float32


@pytest.mark.slow
def test_multistep_solvers_take_levels_of_every_leaf():
    levels = {"a": df.edm(12), "b": df.rectified_flow(12)}
    for name in ("dpmpp_2m", "dpmpp_3m_corrected", "unipc", "adams_bashforth"):
        build = getattr(df, name)
        start = {"a": jnp.array([30.0]), "b": jnp.array([0.7])}
        found = end(build(EDM_DATA, levels), start)
        for leaf in start:
            np.testing.assert_allclose(found[leaf], end(build(EDM_DATA, levels[leaf]), start[leaf]), rtol=1e-9)
