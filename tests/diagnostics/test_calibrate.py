"""Calibration and joint distribution tests: right samplers pass, and a Metropolis step of a wrong temperature fails."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn.diagnostics import calibrate, joint_test


def prior(key):
    a, b = jax.random.normal(key, (2, 2))
    return {"a": a[0], "b": b}


def simulate(key, position):
    return position["a"] + position["b"] + 0.7 * jax.random.normal(key, (2,))


def energy(position, data):
    misfit = (data - position["a"] - position["b"]) / 0.7
    return (position["a"] ** 2 + jnp.sum(position["b"] ** 2) + jnp.sum(misfit**2)) / 2


TARGET = td.from_energy(energy)
QUICK = {"repeats": 320, "draws": 31, "every": 6, "skip": 30}


def hmc(kT):
    return td.hmc(TARGET, dt=0.35, steps=(2, 6), kT=kT)


@pytest.mark.slow
def test_ranks_are_uniform_for_a_right_sampler_and_not_for_a_wrong_temperature():
    right = calibrate(jax.random.key(1), prior, simulate, hmc(1.0), **QUICK)
    assert right.ranks["b"].shape == (320, 2) and right.p_values["a"].shape == ()
    assert np.min(right.ranks["b"]) >= 0 and np.max(right.ranks["b"]) <= 31
    np.testing.assert_allclose(right.p_value, min(1, 3 * min(right.p_values["a"], *right.p_values["b"])))
    assert right.p_value > 1e-3
    assert calibrate(jax.random.key(1), prior, simulate, hmc(2.5), **QUICK).p_value < 1e-6


@pytest.mark.slow
def test_a_sampler_that_stands_still_is_caught():
    still = td.random_walk(TARGET, length=1e-9)
    assert calibrate(jax.random.key(1), prior, simulate, still, **QUICK).p_value < 1e-6


@pytest.mark.slow
def test_the_joint_distribution_stays_for_a_right_sampler_and_not_for_a_wrong_temperature():
    right, wrong = (joint_test(jax.random.key(0), prior, simulate, hmc(kT)) for kT in (1.0, 1.5))
    assert right.p_value > 1e-3 and wrong.p_value < 1e-6
    # the wrong one is too wide, and right in the mean
    means, squares = (np.concatenate([np.ravel(x) for x in jax.tree.leaves(t)]) for t in (wrong.mean, wrong.square))
    assert np.max(squares) > 5 and np.max(np.abs(means)) < 5 and len(means) == 5


def test_the_joint_test_keeps_momenta_of_dynamics_that_keep_them():
    langevin = td.langevin(TARGET, dt=0.1, kT=1.0, gamma=1.0)
    assert joint_test(jax.random.key(0), prior, simulate, langevin, kT=1.0).p_value > 1e-3


def test_wrong_arguments_are_refused():
    key, good = jax.random.key(0), (prior, simulate, hmc(1.0))
    for call, said in [
        (lambda: calibrate(key, *good, draws=50), "draws: expected one less than a multiple of bins=16, got 50.*63"),
        (lambda: calibrate(key, *good, repeats=10), "repeats: expected an integer of at least 80"),
        (lambda: calibrate(key, *good, bins=1), "bins: expected an integer of at least 2"),
        (lambda: calibrate(key, 1.0, *good[1:]), "prior: expected a function of key"),
        (lambda: calibrate(key, prior, prior, good[2]), "simulate: expected a function of key and position"),
        (lambda: calibrate(key, prior, simulate, energy), "dynamics: expected a dynamics"),
        (lambda: joint_test(key, prior, simulate, td.ensemble(hmc(1.0), 2)), "dynamics: .*got an Ensemble"),
        (lambda: joint_test(key, *good, steps=0), "steps: expected an integer of at least 1"),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
