"""Samplers beside those of BlackJAX, where those were found to be wrong.

Its SGHMC scales the noise by the temperature, and redraws the momenta at a temperature of 1 (version 1.7.1). On a unit
Gaussian it returns a variance of 0.8 for 0.01 and of 1.9 for 4.
"""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td

CHAINS, STEPS, BURN, DT, GAMMA = 2000, 400, 200, 0.05, 1.0


def by_blackjax(kT):
    sghmc = blackjax.sghmc(lambda position, minibatch: -position, num_integration_steps=10, alpha=GAMMA)

    def step(position, key):
        position = sghmc.step(key, position, 0, DT, kT)
        return position, position

    return jax.lax.scan(step, jnp.zeros(CHAINS), jax.random.split(jax.random.key(0), STEPS))[1]


def by_treedyn(kT):
    dynamics = td.langevin(td.from_force(lambda x: -x), DT, kT, GAMMA)
    state = dynamics.init(jax.random.key(0), jnp.zeros(CHAINS))
    return td.trajectory(dynamics, state, steps=10 * STEPS, every=10, record=lambda s: s.position).records


@pytest.mark.slow
@pytest.mark.parametrize("kT", [0.01, 0.25, 1.0, 4.0])
def test_the_temperature_of_a_stochastic_gradient_sampler_is_that_of_its_samples(kT):
    theirs, ours = (np.asarray(jax.jit(f, static_argnums=0)(kT))[BURN:] / kT**0.5 for f in (by_blackjax, by_treedyn))
    found, error = np.mean(ours**2), np.std(np.mean(ours**2, axis=0)) / CHAINS**0.5
    assert abs(found - 1) < 4 * error  # the positions of langevin are exact for a Gaussian
    # 1 + 5 % of the time step, where the temperature is 1
    assert (abs(np.mean(theirs**2) - 1) < 0.15) == (kT == 1)


def test_a_chain_that_is_stuck_has_no_effective_samples():
    stuck = np.ones((1000, 2))
    assert np.isnan(td.effective_sample_size(stuck)) and np.isnan(td.r_hat(stuck))
    apart = np.broadcast_to(np.arange(4.0), (500, 4))
    assert td.effective_sample_size(apart) < 5 and not td.r_hat(apart) < 1e3
    one = np.array(jax.random.normal(jax.random.key(0), (500, 4)))
    one[:, 0] = 1
    assert td.effective_sample_size(one) < 100 and td.r_hat(one) > 1.05
