"""The public test helpers detect the faults that they test for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver import environments
from treedyn import operators
from treedyn.testing import flat_difference, log_volume, reversal_error

KEY = jax.random.key(0)
POSITION = {"a": jnp.array([0.5, -0.2]), "b": jnp.array(1.0)}


def energy(x):
    return jnp.sum(x["a"] ** 4) + jnp.sum(x["a"]) * x["b"] + x["b"] ** 2


class FirstLeafOnly(operators.Kick):
    def apply(self, state, h, noise, memory):
        new, memory = super().apply(state, h, noise, memory)
        leaves, structure = jax.tree.flatten(new.momentum)
        rest = jax.tree.leaves(state.momentum)[1:]
        return new.replace(momentum=jax.tree.unflatten(structure, [leaves[0], *rest])), memory


def test_flat_difference_is_round_off_for_a_method_that_works_on_any_tree():
    assert flat_difference(lambda f: td.langevin(f, 0.1, 1.0), energy, KEY, POSITION) < 1e-13


def test_flat_difference_detects_a_method_that_treats_leaves_differently():
    A, B = operators.drift(td.euclidean()), FirstLeafOnly()
    assert flat_difference(lambda f: td.compose(f, (B, A, B), 0.1), energy, KEY, POSITION) > 1e-3


def test_reversal_error_detects_friction():
    dynamics = td.berendsen(energy, dt=0.1, kT=1.0, tau=1.0)
    assert reversal_error(dynamics, dynamics.init(KEY, POSITION), steps=20) > 1e-2


def test_reversal_rebuilds_lists_and_reports_failure():
    x = environments.start_position()
    dynamics, env = td.nve(environments.energy, 0.02), environments.near_list(x, skin=0.3)
    state = dynamics.init(KEY, x, env, momentum=jnp.zeros_like(x))
    assert td.run(dynamics, state, env, steps=150).rebuilds > 1
    assert reversal_error(dynamics, state, env, steps=150) < 1e-10
    with pytest.raises(ValueError, match="steps: expected all of them to succeed, got status"):
        unstable = td.nve(lambda x: -jnp.sum(x**4), 1.0)
        reversal_error(unstable, unstable.init(KEY, x), steps=99)


@pytest.mark.slow
def test_environments_may_contain_functions():
    def bent(x, env):
        return jnp.sum(env["f"](x) ** 2) / 2

    env = {"f": jnp.negative}
    dynamics = td.nve(bent, 0.1)
    state = dynamics.init(KEY, jnp.ones(2), env, momentum=jnp.ones(2))
    assert reversal_error(dynamics, state, env, steps=10) < 1e-12 and abs(log_volume(dynamics, state, env)) < 1e-12
    bath = td.langevin(bent, 0.1, 1.0)
    for options in ({}, {"steps": 2}, {"steps": 2, "gradient_noise": 0.1}):
        found = td.certify(bath, bath.init(KEY, jnp.ones(2), env), env, **options)
        assert np.isfinite(found.position_covariance).all()
    with pytest.raises(ValueError, match="steps: the distribution spreads without bound"):
        td.certify(td.langevin(bent, 9.0, 1.0), bath.init(KEY, jnp.ones(2), env), env, steps=300)
