"""Training and sampling are one thing; predictions and their scores."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import treedyn as td
from tests.helpers import assert_close
from treedyn import networks
from treedyn.networks import likelihood, prior

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (30, 3))
Y = jnp.sin(X[:, 0])
START = {"w": jax.random.normal(KEY, (3, 4)), "v": jnp.ones(4) / 4}


def net(p, x):
    return jnp.tanh(x @ p["w"]) @ p["v"]


def test_langevin_without_noise_is_gradient_descent_with_momentum():
    settings = networks.from_sgd(learning_rate=0.05, momentum=0.9, data_size=30, weight_decay=0.01)
    # the mean of half the squares is the likelihood at a noise of 1
    target = networks.posterior(net, likelihood.gaussian(1.0), prior.gaussian(settings.prior_scale))
    env = networks.batches(KEY, (X, Y), size=5)
    dynamics = td.langevin(target, settings.dt, kT=0.0, gamma=settings.gamma, splitting="OBA")
    state = dynamics.init(KEY, START, env)
    out = td.run(dynamics, state, env, steps=20, record=lambda s: s.position)

    def loss(p, batch):
        decay = 0.01 * sum(jnp.sum(x**2) for x in jax.tree.leaves(p)) / 2
        return jnp.mean((net(p, batch[0]) - batch[1]) ** 2) / 2 + decay

    optimizer = optax.sgd(0.05, momentum=0.9)
    p, memory = START, optimizer.init(START)
    for step in range(20):
        # the force of a step is that of the end of the last one
        change, memory = optimizer.update(jax.grad(loss)(p, env.current), memory)
        p = optax.apply_updates(p, change)
        env = td.environment.advance(env, None)
        assert_close(jax.tree.map(lambda x, step=step: x[step], out.records), p, tol=1e-10)
    back = networks.to_sgd(settings.dt, settings.gamma, 30, settings.prior_scale)
    np.testing.assert_allclose(back, (0.05, 0.9, 0.01), rtol=1e-12)


def test_frozen_layers_stay_while_others_are_sampled():
    target = networks.posterior(net, likelihood.gaussian(0.1), prior.gaussian())
    last = td.langevin(target, 0.01, 1.0, mass={"w": jnp.inf, "v": 1.0})
    state = td.run(last, last.init(KEY, START, (X, Y)), (X, Y), steps=10).state
    assert np.all(state.position["w"] == START["w"]) and np.all(state.position["v"] != START["v"])


def test_one_thermostat_moves_a_network_beside_atoms():
    target = networks.posterior(
        lambda p, x: net(p["net"], x), likelihood.gaussian(0.5), {"net": prior.gaussian(), "atoms": prior.flat()}
    )

    def energy(x, env):
        return target(td.tree.box(x), env).energy + jnp.sum(x["atoms"] ** 2) / 2

    dynamics = networks.sgnht(energy, dt=0.02, groups={"net": 0, "atoms": 1})
    place = {"net": START, "atoms": jnp.ones((5, 3))}
    state = td.run(dynamics, dynamics.init(KEY, place, (X, Y)), (X, Y), steps=20).state
    assert state.status == 0 and np.all(state.position["atoms"] != 1)


@pytest.mark.slow
def test_an_adaptive_thermostat_finds_the_friction_for_noise_of_unknown_size():
    # constant isotropic noise of variance 4 in the force heats langevin, and not sgnht
    class Noisy(td.Advancing):
        key: jax.Array
        count: jax.Array
        value: jax.Array

        def advance(self, state):
            key = jax.random.fold_in(self.key, self.count)
            return self.replace(count=self.count + 1, value=2 * jax.random.normal(key, self.value.shape))

    target = td.from_energy(lambda x, env: jnp.sum(x**2) / 2 + jnp.sum(env.value * x))
    found = {}
    for name, dynamics in (
        ("langevin", td.langevin(target, 0.1, 1.0)),
        ("sgnht", networks.sgnht(target, 0.1)),
        ("sghmc", networks.sghmc(target, 0.1, gradient_noise=4.0)),
    ):
        env = Noisy(key=KEY, count=jnp.int32(0), value=jnp.zeros(500))
        state = dynamics.init(KEY, jnp.zeros(500), env)
        square = td.stream.mean(lambda s: jnp.mean(s.position**2))
        state = td.run(dynamics, state, env, steps=1000)
        found[name] = td.run(dynamics, state.state, state.env, steps=4000, reduce=square).reduced
    assert found["langevin"] > 1.15 and abs(found["sgnht"] - 1) < 0.03 and abs(found["sghmc"] - 1) < 0.03


def test_the_mean_prediction_is_that_of_the_mixture_and_its_scores_are_the_definitions():
    own = likelihood.categorical()
    logits = jax.random.normal(KEY, (7, 20, 3))
    labels = np.random.default_rng(1).integers(0, 3, 20)
    observe = networks.predict(lambda k, _: logits[k["n"]], own, (None, labels))
    each = [observe(td.langevin(lambda x: x["x"] ** 2, 0.1, 1.0).init(KEY, {"x": 1.0, "n": n})) for n in range(7)]
    mean = np.mean([e.mean for e in each], axis=0)
    density = np.mean([e.density for e in each], axis=0)
    np.testing.assert_allclose(density, mean[np.arange(20), labels], rtol=1e-12)
    np.testing.assert_allclose(networks.log_score(density), np.mean(np.log(density)))
    assert networks.accuracy(mean, labels) == np.mean(mean.argmax(1) == labels)
    found = networks.calibration(mean, labels, bins=5)
    assert found.size.sum() == 20
    direct, sure, hit = 0.0, mean.max(1), mean.argmax(1) == np.asarray(labels)
    for low in np.arange(5) / 5:
        inside = (sure >= low) & (sure < low + 0.2)
        direct += abs(np.sum(sure[inside]) - np.sum(hit[inside])) / 20
    np.testing.assert_allclose(found.error, direct)
    np.testing.assert_allclose(networks.entropy(np.array([[0.5, 0.5], [1.0, 0.0]])), [np.log(2), 0])
    with pytest.raises(ValueError, match="labels: expected 20 integers"):
        networks.accuracy(mean, labels[:3])


def test_what_is_no_setting_is_refused():
    for arguments, message in (
        ({"momentum": 1.0}, "momentum: expected one number between 0 and 1"),
        ({"weight_decay": -1.0}, "weight_decay: expected zero or a positive"),
        ({"data_size": 0}, "data_size: expected an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            networks.from_sgd(**{"learning_rate": 0.1, "momentum": 0.9, "data_size": 10, **arguments})
    with pytest.raises(ValueError, match="got a bath of negative temperature"):
        networks.sghmc(lambda x: jnp.sum(x**2), dt=0.1, gradient_noise=1e3)
    with pytest.raises(ValueError, match="part: expected one number between 0 and 1"):
        networks.cold(1.0, 10, part=1.5)
    with pytest.raises(ValueError, match="expected an energy, got a force"):
        networks.control_variate(td.from_force(lambda x, env: -x), jnp.ones(2), None)
