"""Losses at the exact network, couplings, averages of parameters, and a training that recovers a known law."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import linear_sum_assignment

import treedyn as td
from tests.diffusion.cases import EDM_DATA, KEY
from treedyn import diffusion as df
from treedyn.diffusion._losses import Weight, implicit_error, squared_error

# the four corners have the second moments of data of deviation 0.5 and of the noise
DATA, NOISE = jnp.array([0.5, 0.5, -0.5, -0.5]), jnp.array([1.0, -1.0, 1.0, -1.0])
VE = df.VarianceExploding()
SIGMAS = (0.1, 1.0, 10.0)


def loss_at(level, name, number=0.5):
    weight = Weight(name=name, number=number)
    return jnp.mean(jax.vmap(lambda x, e: squared_error(EDM_DATA, x, e, level, weight))(DATA, NOISE))


@pytest.mark.parametrize(
    "name, known",
    [
        ("denoised", (0.009615385, 0.2, 0.249376559)),
        ("noise", (0.961538462, 0.2, 0.002493766)),
        ("edm", (1.0, 1.0, 1.0)),
    ],
)
def test_loss_of_the_exact_network_is_known(name, known):
    found = [loss_at(VE.at(sigma), name) for sigma in SIGMAS]
    np.testing.assert_allclose(found, known, atol=1e-9)


@pytest.mark.parametrize("name", ["v", "velocity", "min_snr"])
def test_other_weights_are_multiples_of_the_error_of_the_data(name):
    level = df.VariancePreserving().at(0.4)
    a, s = level.alpha, level.sigma
    factor = {"v": 1 / s**2, "velocity": ((a + s) / s) ** 2, "min_snr": jnp.minimum(a**2 / s**2, 0.5)}[name]
    np.testing.assert_allclose(loss_at(level, name), factor * loss_at(level, "denoised"), rtol=1e-12)


def test_flow_matching_loss_of_the_exact_network_is_pi_quarter():
    nodes, weights = np.polynomial.legendre.leggauss(60)
    losses = jax.vmap(lambda t: loss_at(df.RectifiedFlow().at(t), "velocity"))(jnp.asarray((1 + nodes) / 2))
    np.testing.assert_allclose(losses @ weights / 2, 0.785398163, atol=1e-9)


def test_implicit_loss_of_the_exact_network_is_known():
    found = [
        jnp.mean(jax.vmap(lambda x, e, s=s: implicit_error(EDM_DATA, x, e, jnp.ones(()), VE.at(s)))(DATA, NOISE))
        for s in SIGMAS
    ]
    np.testing.assert_allclose(found, (-1.923076923, -0.4, -0.004987531), atol=1e-9)


def test_optimal_transport_pairs_as_scipy_and_keeps_the_data_in_place():
    data = {"a": jax.random.normal(KEY, (7, 2)), "b": jax.random.normal(jax.random.key(1), (7,))}
    noise = jax.tree.map(lambda x: jnp.flip(x, 0) + 0.1, data)
    kept, paired = jax.jit(df.optimal_transport.pair)(data, noise)
    points = [np.concatenate([x["a"], x["b"][:, None]], axis=1) for x in (data, noise)]
    costs = np.sum((points[0][:, None] - points[1][None]) ** 2, axis=2)
    order = linear_sum_assignment(costs)[1]
    np.testing.assert_array_equal(kept["a"], data["a"])
    np.testing.assert_array_equal(paired["b"], noise["b"][order])


def test_batches_are_a_function_of_key_and_step_and_keep_what_is_given():
    env = df.batches({"x": jnp.arange(50.0)}, 8, KEY, given=jnp.arange(50))
    state = td.gradient_descent(lambda x: jnp.sum(x**2), 0.1).init(KEY, jnp.ones(1))
    first, key, given = env.batch()
    np.testing.assert_array_equal(first["x"], given)
    after = env.advance(state)
    assert int(after.step) == 1 and np.any(after.batch()[0]["x"] != first["x"])
    assert jnp.all(jax.random.key_data(key) != jax.random.key_data(after.batch()[1]))


def line(params, x, level):
    return params["slope"] * x + params["shift"]


@pytest.mark.slow
@pytest.mark.parametrize("coupling", ["independent", "optimal_transport"])
def test_training_of_a_line_at_one_level_finds_the_exact_denoiser(coupling):
    # with independent noise, D(x) = 0.3 + 0.2 (x - 0.3) at sigma 1 for data N(0.3, 0.25)
    model = df.network(line, {"slope": 0.5, "shift": 0.0}, predicts="denoised")
    times = df.on_levels(df.levels_at(VE, [1.0, 0.5]))
    loss = df.denoising_loss(model, times, weight="denoised", coupling=getattr(df, coupling))
    data = df.batches(0.3 + 0.5 * jax.random.normal(KEY, (4000,)), 256, jax.random.key(1))
    training = td.from_optax(td.from_energy(loss), optax.adam(optax.cosine_decay_schedule(0.02, 1500)))
    params = td.run(training, training.init(KEY, model.params, data), data, steps=1500).state.position
    if coupling == "independent":
        np.testing.assert_allclose(params["slope"], 0.2, atol=0.02)
        np.testing.assert_allclose(params["shift"], 0.24, atol=0.02)
    else:  # data and noise in one order, so that the line through both is almost exact
        np.testing.assert_allclose(params["slope"], 1 / 3, atol=0.03)


@pytest.mark.slow
def test_training_continues_with_the_same_bits(tmp_path):
    model = df.network(line, {"slope": 0.5, "shift": 0.0}, predicts="denoised")
    loss = df.denoising_loss(model, df.log_normal(), weight="min_snr")
    data = df.batches(jax.random.normal(KEY, (100,)), 16, jax.random.key(1))
    training = td.from_optax(td.from_energy(loss), optax.adam(0.02))
    start = training.init(KEY, model.params, data)
    once = td.run(training, start, data, steps=30).state
    half = td.run(training, start, data, steps=13)
    again = td.run(training, half.state, half.env, steps=17, chunk=5).state
    assert once.position["slope"] == again.position["slope"] != 0.5


def power(values, gamma):
    u = np.arange(1, len(values) + 1.0)
    weights = u ** (gamma + 1) - (u - 1) ** (gamma + 1)
    return np.sum(weights * values) / np.sum(weights)


def test_power_average_weights_steps_by_a_power():
    descent = td.gradient_descent(lambda x: jnp.sum(x["w"] ** 2) / 2, rate=0.3)
    state = descent.init(KEY, {"w": jnp.ones(2), "f": jnp.tanh})
    out = td.run(descent, state, steps=40, every=1, reduce=df.power_average(0.1))
    values = 0.7 ** np.arange(1, 41)
    np.testing.assert_allclose(out.reduced["w"], power(values, df.exponent_of(0.1)), rtol=1e-12)


def test_an_average_of_another_length_is_found_after_the_training():
    n = 2000
    values = np.sin(np.linspace(0, 3, n)) + np.linspace(0, 1, n) ** 2
    kept = [(end, length) for end in range(200, n + 1, 200) for length in (0.05, 0.1)]
    averages = [power(values[:end], df.exponent_of(length)) for end, length in kept]
    ends, lengths = zip(*kept, strict=True)
    for length in (0.04, 0.07, 0.12):
        found = df.combined_average(averages, ends, lengths, length=length, end=n)
        np.testing.assert_allclose(found, power(values, df.exponent_of(length)), atol=2e-3)


def test_the_length_of_an_average_is_its_deviation():
    for length in (0.02, 0.1, 0.25):
        gamma = df.exponent_of(length)
        np.testing.assert_allclose(np.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2), length, rtol=1e-10)


@pytest.mark.parametrize(
    "act, message",
    [
        (lambda: df.denoising_loss(EDM_DATA, df.log_normal()), "model.*network"),
        (lambda: df.denoising_loss(df.network(line, {}), df.edm(4)), "times.*log_normal"),
        (lambda: df.denoising_loss(df.network(line, {}), df.log_normal(), weight="snr"), "weight.*min_snr"),
        (lambda: df.exponent_of(0.5), "length.*0.288"),
        (lambda: df.combined_average([1.0], [1, 2], [0.1], length=0.1, end=1), "averages.*one end"),
        (lambda: df.batches({"a": jnp.ones(3), "b": jnp.ones(4)}, 2, KEY), "data.*one first axis"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_argument_and_the_fix(act, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        act()
