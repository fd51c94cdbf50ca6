"""Denoisers: closed forms, every kind of prediction, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.diffusion.cases import KEY, MIXTURE, VP_DATA, end
from tests.helpers import mostly_slow
from treedyn import diffusion as df

VE = df.VarianceExploding()
LEVELS = {
    "exploding": VE.at(0.7),
    "preserving": df.VariancePreserving().at(0.4),
    "straight": df.RectifiedFlow().at(0.3),
}


def test_log_density_and_score_of_a_mixture_are_known():
    known = {-2.0: -1.4297641570, 0.0: -7.6951631016, 0.7: -0.6093189111}
    for x, value in known.items():
        np.testing.assert_allclose(-MIXTURE.at(VE.at(0.0))(jnp.asarray(x)).energy, value, atol=1e-9)
    scores = [MIXTURE.at(VE.at(0.5))(jnp.asarray(x)).force for x in known]
    np.testing.assert_allclose(scores, [0.0000157931, 2.9852954507, 0.9583023974], atol=1e-9)


@pytest.mark.parametrize("name", mostly_slow(LEVELS, "preserving"))
def test_score_is_minus_gradient_of_energy_on_a_tree(name):
    data = df.mixture([0.2, 0.8], mean={"a": [-1.0, 1.0], "b": np.ones((2, 3))}, std=[0.5, 0.2])
    target = data.at(LEVELS[name])
    position = {"a": jnp.array([0.3, -0.7]), "b": jnp.array([0.1, 0.2, 1.3])}
    slope = jax.grad(lambda x: target(x).energy)(position)
    jax.tree.map(lambda f, g: np.testing.assert_allclose(f, -g, rtol=1e-12), target(position).force, slope)


@pytest.mark.parametrize("name", LEVELS)
def test_data_and_noise_add_up_to_the_position(name):
    level, x = LEVELS[name], jnp.array([0.4, -1.2])
    found = VP_DATA.predict(x, level)
    np.testing.assert_allclose(level.alpha * found.denoised + level.sigma * found.noise, x, rtol=1e-12)


# what a network predicts, from the exact data and noise
OUTPUTS = {
    "noise": lambda level, d, e: e,
    "denoised": lambda level, d, e: d,
    "score": lambda level, d, e: -e / level.sigma,
    "v": lambda level, d, e: level.alpha * e - level.sigma * d,
    "velocity": lambda level, d, e: e - d,
}


def exact_network(predicts):
    def apply(params, x, level):
        found = params.predict(x, level)
        return OUTPUTS[predicts](level, found.denoised, found.noise)

    return df.network(apply, VP_DATA, predicts=predicts)


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("predicts", OUTPUTS)
def test_every_prediction_says_the_same_of_data_and_noise(predicts, name):
    level, x = LEVELS[name], jnp.array([0.4, -1.2])
    found, known = (one.predict(x, level) for one in (exact_network(predicts), VP_DATA))
    np.testing.assert_allclose(found.denoised, known.denoised, rtol=1e-12)
    np.testing.assert_allclose(found.noise, known.noise, rtol=1e-12)


@pytest.mark.parametrize("predicts", ["noise", "v", "velocity", "denoised"])
def test_a_network_is_not_asked_without_noise(predicts):
    def apply(params, x, level):
        return x * jnp.log(level.sigma)  # infinite without noise

    found = df.network(apply, None, predicts=predicts).at(VE.at(0.0))(jnp.array([1.0]))
    assert found.aux == 1.0 and found.force == 0.0
    slope = jax.grad(lambda x: jnp.sum(df.network(apply, None, predicts=predicts).at(VE.at(0.0))(x).aux))(jnp.ones(1))
    assert slope == 1.0


def test_preconditioned_network_without_skill_and_with_perfect_skill():
    level, x = VE.at(0.3), jnp.array([0.4, -1.2])
    blank = df.preconditioned(lambda params, x, noise: jnp.zeros_like(x), None, sigma_data=0.5)
    np.testing.assert_allclose(blank.predict(x, level).denoised, 0.25 / (0.25 + 0.09) * x)

    def perfect(params, scaled, noise):
        s = jnp.exp(4 * noise)
        r = jnp.sqrt(s**2 + 0.25)
        y = scaled * r
        return (VP_DATA.predict(y, VE.at(s)).denoised - 0.25 / r**2 * y) * r / (s * 0.5)

    found, known = (one.predict(x, level) for one in (df.preconditioned(perfect, None, sigma_data=0.5), VP_DATA))
    np.testing.assert_allclose(found.denoised, known.denoised, rtol=1e-12)
    np.testing.assert_allclose(found.noise, known.noise, rtol=1e-12)


def test_equinox_networks_integers_in_the_position_and_prefix_trees_of_predictions():
    net = eqx.nn.MLP(3, 3, 8, 1, key=KEY)

    def apply(net, position, level):
        return {"x": net(position["x"]), "y": position["y"] * position["label"], "label": None}

    position = {"x": jnp.ones(3), "y": jnp.ones(2), "label": jnp.asarray(2)}
    model = df.network(lambda net, x, level: {**apply(net, x, level), "label": x["label"]}, net, predicts="denoised")
    found = model.at(VE.at(1.0))(position)
    np.testing.assert_allclose(found.aux["y"], 2.0)
    np.testing.assert_allclose(found.force["x"], net(jnp.ones(3)) - 1)
    mixed = model.replace(predicts=df.network(apply, net, predicts={"x": "noise", "y": "v", "label": "v"}).predicts)
    np.testing.assert_allclose(mixed.at(VE.at(1.0))(position).force["x"], -net(jnp.ones(3)))


REFUSED = {
    "unknown prediction": (lambda: df.network(lambda p, x, level: x, None, predicts="eps"), "predicts.*noise"),
    "noise without signal": (
        lambda: df.euler(df.network(lambda p, x, level: x, None), df.rectified_flow(4)),
        "denoiser.*predicts 'noise'.*pure noise",
    ),
    "another shape": (
        lambda: df.network(lambda p, x, level: x[:1], None).at(VE.at(1.0))(jnp.ones(2)),
        "apply.*like the position",
    ),
    "integer images": (lambda: df.euler(VP_DATA, df.edm(2)).init(KEY, jnp.ones(4, jnp.uint8)), "position.*floating"),
    "integer noise": (lambda: df.euler(VP_DATA, df.edm(2)).start(KEY, jnp.ones(4, jnp.uint8)), "position.*floating"),
    "integer data": (lambda: df.batches(jnp.ones((4, 2), jnp.uint8), 2, KEY), "data.*Scale integer images"),
    "weights of 0": (lambda: df.mixture([0.0, 1.0], [0.0, 1.0], [1.0, 1.0]), "weights.*positive"),
    "a std of 0": (lambda: df.gaussian(std=0.0), "std.*positive"),
    "too few means": (
        lambda: df.mixture([0.5, 0.5], [0.0], [1.0, 1.0]).at(VE.at(1.0))(jnp.ones(2)),
        "mean.*first axis of 2",
    ),
    "a network of one argument": (lambda: df.network(lambda x: x, None), "apply.*params, position, level"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_the_argument_and_the_fix(name):
    act, message = REFUSED[name]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        act()


@pytest.mark.parametrize("predicts", ["noise", "velocity"])
def test_samples_of_a_network_are_those_of_the_exact_denoiser(predicts):
    levels = df.rectified_flow(10) if predicts == "velocity" else df.edm(10)
    found, known = (end(df.heun(data, levels), jnp.array([0.5, -2.0])) for data in (exact_network(predicts), VP_DATA))
    np.testing.assert_allclose(found, known, rtol=1e-10)
