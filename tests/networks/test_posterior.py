"""Posteriors of networks: their energies, all kinds of networks, and a regression whose posterior is known."""

import equinox as eqx
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx
from sklearn import datasets

import treedyn as td
from treedyn import networks
from treedyn.networks import likelihood, prior

KEY = jax.random.key(0)


@pytest.mark.parametrize("kind", [jnp.float32, jnp.float64])
def test_priors_are_the_densities_of_scipy(kind):
    x = np.linspace(-2.0, 3.0, 6).reshape(2, 3)
    leaf = jnp.asarray(x, kind)
    scale = np.array([0.5, 1.0, 2.0])
    for own, exact in (
        (prior.gaussian(scale), scipy.stats.norm.logpdf(x, scale=scale)),
        (prior.laplace(scale), scipy.stats.laplace.logpdf(x, scale=scale)),
        (prior.student_t(2.5, scale), scipy.stats.t.logpdf(x, 2.5, scale=scale)),
        (prior.flat(), 0 * x),
    ):
        found = own.log_density(leaf)
        assert found.dtype == kind
        np.testing.assert_allclose(found, np.sum(exact), rtol=1e-5 if kind == jnp.float32 else 1e-12)


def test_priors_of_a_tree_are_a_prefix_tree_and_may_depend_on_other_leaves():
    position = {"net": {"w": jnp.ones(3), "name": "tanh"}, "log_scale": jnp.array(0.7), "count": 3}
    scaled = prior.given(lambda p: prior.gaussian(jnp.exp(p["log_scale"])))
    priors = {"net": scaled, "log_scale": prior.student_t(1.0), "count": None}
    exact = 3 * scipy.stats.norm.logpdf(1.0, scale=np.exp(0.7)) + scipy.stats.cauchy.logpdf(0.7)
    np.testing.assert_allclose(prior.log_density(priors, position), exact, rtol=1e-12)
    gradient = jax.grad(lambda s: prior.log_density(priors, {**position, "log_scale": s}))(jnp.array(0.7))
    np.testing.assert_allclose(gradient, 3 * (np.exp(-1.4) - 1) - 1.4 / (1 + 0.49), rtol=1e-12)
    with pytest.raises(ValueError, match="prior: expected a prior such as"):
        prior.log_density(1.0, position)


def test_likelihoods_are_the_densities_of_scipy():
    f, label = np.array([0.5, -1.0, 2.0]), np.array([1, 0, 1])
    rate = np.exp(f)
    for own, prediction, y, exact, mean in (
        (likelihood.gaussian(0.5), f, f + 1, scipy.stats.norm.logpdf(1.0, scale=0.5) + 0 * f, f),
        (likelihood.gaussian(), (f, rate), 0 * f, scipy.stats.norm.logpdf(0.0, f, rate), f),
        (likelihood.bernoulli(), f, label, scipy.stats.bernoulli.logpmf(label, 1 / (1 + 1 / rate)), 1 / (1 + 1 / rate)),
        (likelihood.poisson(), f, label, scipy.stats.poisson.logpmf(label, rate), rate),
    ):
        prediction = jax.tree.map(jnp.asarray, prediction)
        np.testing.assert_allclose(own.log_density(prediction, jnp.asarray(y)), exact, rtol=1e-12)
        np.testing.assert_allclose(own.mean(prediction), mean, rtol=1e-12)
    logits = np.stack([f, 0 * f, -f], axis=1)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    own = likelihood.categorical()
    np.testing.assert_allclose(
        own.log_density(jnp.asarray(logits), label), np.log(chances[range(3), label]), rtol=1e-12
    )
    np.testing.assert_allclose(own.mean(jnp.asarray(logits)), chances, rtol=1e-12)
    laplace = likelihood.from_function(lambda f, y: -jnp.abs(f - y))
    np.testing.assert_allclose(laplace.log_density(jnp.asarray(f), jnp.zeros(3)), -np.abs(f))


@pytest.mark.parametrize(
    ("own", "labels", "message"),
    [
        (likelihood.categorical(), [0, 3], "labels: expected from 0 to 2, the numbers of the classes, got 3"),
        (likelihood.categorical(), [0.0, 1.0], r"labels: expected integers of shape \(2,\)"),
        (likelihood.bernoulli(), [[0, 1, 2]] * 2, "labels: expected 0 or 1, got 2"),
        (likelihood.poisson(), [[0.5, 1, 2]] * 2, "labels: expected counts, got 0.5"),
        (likelihood.gaussian(1.0), [0.0, 1.0], r"labels: expected the shape of the predictions, \(2, 3\), got \(2,\)"),
    ],
)
def test_labels_that_do_not_fit_are_refused_and_never_another_class(own, labels, message):
    target = networks.posterior(lambda w, x: x @ w, own, prior.gaussian())
    dynamics = td.langevin(target, 0.01, 1.0)
    data = jnp.ones((2, 4)), jnp.asarray(labels)
    with pytest.raises(ValueError, match=message):
        dynamics.init(KEY, jnp.ones((4, 3)), data)
    if "got 3" in message:  # unknown labels, under jit
        energy = jax.jit(lambda labels: target(jnp.ones((4, 3)), (data[0], labels)).energy)(data[1])
        assert np.isnan(energy)


def test_a_minibatch_counts_for_all_data():
    x, y = jnp.arange(6.0), jnp.arange(6.0) ** 2
    target = networks.posterior(lambda w, x: w * x, likelihood.gaussian(2.0), prior.gaussian(3.0))
    w = jnp.array(1.5)
    whole = target(w, (x, y)).energy
    env = networks.batches(KEY, (x, y), size=2, rows="subsets", members=400)
    each = jax.vmap(lambda rows: target(w, env.replace(rows=rows)).energy)(env.rows.values)
    assert abs(np.mean(each) - whole) < 4 * np.std(each) / 20
    known = networks.posterior(lambda w, x: w * x, likelihood.gaussian(2.0), prior.gaussian(3.0), data_size=6)
    pairs = [known(w, (x[k : k + 2], y[k : k + 2])).energy for k in (0, 2, 4)]
    np.testing.assert_allclose(np.mean(pairs), whole, rtol=1e-12)
    inside = networks.posterior(
        lambda w, x: w * x, likelihood.gaussian(2.0), prior.gaussian(3.0), select=lambda env: env["data"]
    )
    np.testing.assert_allclose(inside(w, {"data": (x, y), "more": 1.0}).energy, whole)
    with pytest.raises(ValueError, match=r"env: expected the data as a pair \(inputs, labels\)"):
        target(w, {"data": (x, y)})


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        return flax.linen.Dense(1)(flax.linen.tanh(flax.linen.Dense(4)(x)))[..., 0]


class Nnx(nnx.Module):
    def __init__(self):
        self.first, self.second = nnx.Linear(2, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 1, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))[..., 0]


def models():
    """Return a network of every library, as parameters and the function that applies them."""
    x = jnp.ones((1, 2), jnp.float32)
    yield "linen", Linen().init(KEY, x), Linen().apply
    yield "nnx module", Nnx(), lambda model, x: model(x)
    graph, state = nnx.split(Nnx())
    yield "nnx", state, lambda state, x: nnx.merge(graph, state)(x)
    mlp = eqx.nn.MLP(2, "scalar", 4, 1, activation=jnp.tanh, key=KEY, dtype=jnp.float32)
    yield "equinox", mlp, lambda model, x: jax.vmap(model)(x)
    layers = [{"w": jnp.ones((2, 3), jnp.float32), "b": jnp.zeros(3)}, jnp.ones(3, jnp.bfloat16), "relu"]

    def mixed(layers, x):
        hidden = jnp.tanh((x @ layers[0]["w"]).astype(jnp.float64) + layers[0]["b"][None])
        return hidden @ layers[1].astype(jnp.float64)

    yield "mixed precision", layers, mixed


@pytest.mark.slow
@pytest.mark.parametrize("model", list(models()), ids=lambda model: model[0])
def test_networks_of_every_library_move_and_come_back_as_what_they_were(model):
    _, parameters, apply = model
    x = jax.random.normal(KEY, (20, 2), jnp.float32)
    target = networks.posterior(apply, likelihood.gaussian(0.3), prior.gaussian(), select=lambda env: env["data"])
    env = {"data": networks.batches(KEY, (x, jnp.sin(x[:, 0])), size=5)}
    sampler = networks.sgnht(target, dt=0.01)
    out = td.run(sampler, sampler.init(KEY, parameters, env), env, steps=20)
    assert jax.tree.structure(out.state.position) == jax.tree.structure(parameters)
    before, after = (jax.tree.leaves(td.tree.moving(td.tree.box(x))) for x in (parameters, out.state.position))
    assert all(a.dtype == b.dtype and np.any(a != b) for a, b in zip(before, after, strict=True))
    prediction = apply(out.state.position, x[:3])
    assert prediction.shape == (3,) and np.all(np.isfinite(prediction))


def test_batch_statistics_are_no_parameters():
    target = networks.posterior(lambda v, x: x @ v["params"]["w"], likelihood.gaussian(1.0), prior.gaussian())
    variables = {"params": {"w": jnp.ones(2)}, "batch_stats": {"mean": jnp.zeros(2)}}
    with pytest.raises(ValueError, match="expected parameters alone, got the collection 'batch_stats'"):
        td.langevin(target, 0.1, 1.0).init(KEY, variables, (jnp.ones((3, 2)), jnp.ones(3)))


def diabetes():
    """Return inputs with a column of ones, labels, and the exact mean and covariance of the posterior."""
    x, y = datasets.load_diabetes(return_X_y=True, scaled=False)
    x = np.column_stack([np.ones(len(x)), (x - x.mean(0)) / x.std(0)])
    y = (y - y.mean()) / y.std()
    precision = x.T @ x / 0.5 + np.eye(11)
    return jnp.asarray(x), jnp.asarray(y), np.linalg.solve(precision, x.T @ y / 0.5), np.linalg.inv(precision)


LINEAR = networks.posterior(
    lambda w, x: w["offset"] + x[:, 1:] @ w["slope"], likelihood.gaussian(0.5**0.5), prior.gaussian()
)
ZERO = {"offset": jnp.zeros(()), "slope": jnp.zeros(10)}


def test_the_posterior_of_a_regression_is_exact():
    x, y, mean, covariance = diabetes()
    sd = [0.03361463, 0.03707826, 0.03798769, 0.04126533, 0.04058843, 0.24331156, 0.19853708, 0.12577832]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance))[:8], sd, atol=5e-9)
    found = td.laplace(LINEAR, ZERO, (x, y), force=1e-8)
    np.testing.assert_allclose(found.mean["slope"], mean[1:], atol=1e-9)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.log_evidence, -499.99198377, atol=1e-8)


DT = {"sgld": 4e-5, "baoab": 4e-3, "sghmc": 4e-3}


@pytest.mark.slow
@pytest.mark.parametrize("name", DT)
def test_samples_from_minibatches_have_the_moments_that_the_certificate_predicts(name):
    x, y, mean, covariance = diabetes()
    mode = {"offset": jnp.asarray(mean[0]), "slope": jnp.asarray(mean[1:])}
    env = networks.batches(KEY, (x, y), size=64, rows="subsets", members=50)
    one = networks.batches(KEY, (x, y), size=64, rows="subsets")
    better = networks.control_variate(LINEAR, mode, (x, y))

    def sampler(target, noise):
        if name == "sgld":
            return networks.sgld(target, DT[name])
        if name == "baoab":
            return td.langevin(target, DT[name], 1.0, gamma=30.0)
        return networks.sghmc(target, DT[name], gamma=30.0, gradient_noise=noise)

    excess = []
    for target in (LINEAR, better):
        noise = networks.gradient_noise(target, mode, one)
        matrix = networks.gradient_noise(target, mode, one, matrix=True)
        if target is better:  # no noise at the mode: its mean over the samples is what counts
            spread = np.linalg.cholesky(covariance)
            draws = [spread @ np.random.default_rng(k).normal(size=11) + mean for k in range(20)]
            there = [{"offset": jnp.asarray(d[0]), "slope": jnp.asarray(d[1:])} for d in draws]
            matrix = np.mean([networks.gradient_noise(target, d, one, matrix=True) for d in there], axis=0)
            noise = {"offset": jnp.asarray(matrix[0, 0]), "slope": jnp.asarray(np.diag(matrix)[1:])}
        dynamics = sampler(target, noise)
        start = dynamics.init(KEY, mode, (x, y))
        exactly = dynamics.replace(target=LINEAR)
        predicted = td.certify(exactly, start, (x, y), gradient_noise=matrix)
        quiet = td.certify(exactly, start, (x, y)).position_covariance
        chains = td.ensemble(dynamics, 50)
        out = td.run(chains, chains.init(KEY, mode, env), env, steps=4000, record=lambda s: s.position, every=20)
        draws = np.concatenate([out.records["offset"][..., None], out.records["slope"]], axis=-1)[50:]
        error = td.monte_carlo_error(draws)
        assert np.all(abs(np.mean(draws, axis=(0, 1)) - mean) < 5 * error)
        squares = (draws - mean) ** 2
        wide = np.mean(squares, axis=(0, 1))
        exact = np.diag(predicted.position_covariance)
        # the noise depends on the position, by a tenth of its excess
        allowed = 5 * td.monte_carlo_error(squares) + 0.1 * abs(exact - np.diag(covariance))
        assert np.all(abs(wide - exact) < allowed)
        excess.append(np.max(abs(exact - np.diag(quiet)) / np.diag(covariance)))
    if name != "sghmc":
        assert excess[0] > 10 * excess[1]


def test_the_gauss_newton_matrix_of_a_linear_network_is_its_hessian():
    x, y, mean, covariance = diabetes()
    mode = {"offset": jnp.asarray(mean[0]), "slope": jnp.asarray(mean[1:])}
    found = networks.laplace(LINEAR, mode, (x, y), at_once=100)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found.log_evidence, -499.99198377, atol=1e-8)
    labels = (y > 0).astype(jnp.int32) + (y > 1).astype(jnp.int32)
    classes = networks.posterior(lambda w, x: x @ w["w"], likelihood.categorical(), prior.student_t(3.0, 2.0))
    place = {"w": jax.random.normal(KEY, (11, 3)) / 5, "name": "w"}
    part = td.tree.moving(td.tree.box(place))["w"]
    exact = jax.hessian(lambda w: classes(td.tree.box({"w": w, "name": "w"}), (x, labels)).energy)(part)
    close = networks.laplace(classes, place, (x, labels))
    np.testing.assert_allclose(close.factor @ close.factor.T, exact.reshape(33, 33), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_the_laplace_approximation_of_a_network_has_the_moments_of_its_posterior_where_data_are_many():
    x = jnp.linspace(-2, 2, 400)
    target = networks.posterior(
        lambda p, x: p["a"] * jnp.tanh(p["b"] * x), likelihood.gaussian(0.3), prior.gaussian(3.0)
    )
    data = x, 1.5 * jnp.tanh(0.8 * x) + 0.3 * jax.random.normal(KEY, (400,))
    search = td.lbfgs(target)
    start = {"a": jnp.array(1.0), "b": jnp.array(1.0)}
    mode = td.run(search, search.init(KEY, start, data), data, steps=50).state.position
    near = networks.laplace(target, mode, data)
    chains = td.ensemble(td.nuts(target, dt=0.02, depth=6), members=4)
    state = chains.init(KEY, td.per_member(near.draws(KEY, 4)), data)
    out = td.run(chains, state, data, steps=1500, record=lambda s: s.position)
    for name, draws in out.records.items():
        np.testing.assert_allclose(np.std(draws), near.scales[name], rtol=0.15)


def test_what_is_no_posterior_has_no_gauss_newton_matrix():
    with pytest.raises(ValueError, match=r"target: expected what networks\.posterior returns"):
        networks.laplace(td.from_energy(lambda x, env: x), jnp.ones(()), (jnp.ones(2), jnp.ones(2)))
    flat = networks.posterior(lambda w, x: w[0] * x, likelihood.gaussian(1.0), prior.flat())
    with pytest.raises(ValueError, match="prior: expected one with which the Gauss-Newton matrix is positive definite"):
        networks.laplace(flat, jnp.ones(2), (jnp.ones(2), jnp.ones(2)))
