"""Holding the center of mass: momenta that sum to zero, degrees of freedom, and no silent bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.dynamics.running import KEY, begin, nothing, run
from treedyn.particles.space._space import free
from treedyn.testing import sigmas


def springs(x):
    """Return the energy of springs between all particles, across both leaves."""
    points = jnp.concatenate([x["light"], x["heavy"]])
    return jnp.sum((points[:, None] - points[None, :]) ** 2) / 8


START = {
    "light": jnp.array([[0.0, 1.0, 0.2], [1.0, 0.3, -0.4], [0.5, 0.1, 0.8]]),
    "heavy": jnp.array([[0.2, -1.0, 0.0]]),
}
MASS = {"light": jnp.array([1.0, 2.0, 3.0]), "heavy": 10.0}


def total_momentum(state):
    return sum(jnp.sum(p, axis=0) for p in jax.tree.leaves(state.momentum))


HELD = {
    "nve": lambda: td.nve(springs, dt=0.1, mass=MASS, space=free(), remove_drift=True),
    "langevin": lambda: td.langevin(springs, dt=0.1, kT=1.0, mass=MASS, space=free(), remove_drift=True),
    "nose_hoover": lambda: td.nose_hoover(springs, 0.1, 1.0, 1.0, mass=MASS, space=free(), order=1, remove_drift=True),
    "csvr": lambda: td.csvr(springs, 0.1, 1.0, 1.0, mass=MASS, space=free(), remove_drift=True),
    "berendsen": lambda: td.berendsen(springs, 0.1, 1.0, 1.0, mass=MASS, space=free(), remove_drift=True),
}


@pytest.mark.parametrize("method", ["nve", *(pytest.param(m, marks=pytest.mark.slow) for m in HELD if m != "nve")])
def test_total_momentum_stays_zero_to_round_off(method):
    dynamics = HELD[method]()
    state = begin(dynamics, START, kT=2.0)
    np.testing.assert_allclose(total_momentum(state), 0, atol=1e-14)
    np.testing.assert_allclose(td.degrees_of_freedom(state), 4 * 3 - 3, rtol=1e-14)
    end = run(dynamics, state, 300)
    np.testing.assert_allclose(total_momentum(end), 0, atol=1e-12)
    assert int(end.status) == 0


def test_removal_is_weighted_by_mass():
    # relative velocities stay
    dynamics = td.nve(lambda x: 0 * springs(x), dt=0.1, mass=MASS, space=free(), remove_drift=True)
    momentum = jax.tree.map(lambda x: x + 1.0, START)
    state = begin(dynamics, START, momentum=momentum)
    end = run(dynamics, state, 1)
    velocity = state.velocity
    center = total_momentum(state) / (1 + 2 + 3 + 10)
    after = end.velocity
    for leaf in START:
        np.testing.assert_allclose(after[leaf], np.asarray(velocity[leaf]) - np.asarray(center), rtol=1e-13)


@pytest.mark.slow
def test_every_leaf_keeps_its_share_of_the_degrees_of_freedom():
    # the light leaf has 6/16 of the mass: it loses 6/16 of three degrees of freedom, and so does its kinetic energy
    kT = 0.7
    dynamics = td.langevin(
        springs, dt=0.3, kT=kT, gamma=1.0, mass=MASS, space=free(), remove_drift=True, splitting="BAOA"
    )
    state = begin(dynamics, START)
    dof = {"light": 9 - 3 * 6 / 16, "heavy": 3 - 3 * 10 / 16}
    for leaf, expected in dof.items():
        np.testing.assert_allclose(state.dof[leaf], expected, rtol=1e-14)
    keys = jax.random.split(KEY, 10_000)
    ends = jax.jit(jax.vmap(lambda key: run(dynamics, state.replace(key=key), 30)))(keys)
    total = 0
    for leaf, expected in dof.items():
        twice = np.sum(np.asarray(ends.momentum[leaf]) ** 2 / np.asarray(state.metric[leaf].mass), axis=(1, 2))
        assert abs(sigmas(twice, expected * kT)) < 5
        assert abs(sigmas(twice, START[leaf].size * kT)) > 5
        total = total + twice
    # chi^2(9) as a whole: mean and variance
    assert abs(sigmas(total / kT, 9)) < 5
    assert abs(sigmas((total / kT - 9) ** 2, 18)) < 5
    assert abs(sigmas(total / kT, 12)) > 5


@pytest.mark.slow
def test_only_leaves_of_a_translation_invariant_space_are_held():
    def energy(x):
        return jnp.sum(x["atoms"][0] * x["atoms"][1]) + jnp.sum(x["weights"] ** 2)

    space = {"atoms": free(), "weights": td.euclidean()}
    dynamics = td.langevin(energy, dt=0.1, kT=1.0, space=space, remove_drift=True)
    state = begin(dynamics, {"atoms": jnp.ones((2, 2)), "weights": jnp.ones((4, 2))})
    np.testing.assert_allclose((state.dof["atoms"], state.dof["weights"]), (2, 8))
    end = run(dynamics, state, 1)
    assert np.all(np.abs(np.sum(end.momentum["weights"], axis=0)) > 1e-3)


@pytest.mark.slow
def test_center_of_leaves_of_different_dimension_is_held_for_each_dimension():
    dynamics = td.nve(lambda x: 0 * jnp.sum(x["flat"]), dt=0.1, space=free(), remove_drift=True)
    state = begin(dynamics, {"flat": jnp.zeros((3, 2)), "deep": jnp.zeros((4, 3))}, kT=1.0)
    assert td.degrees_of_freedom(state) == 6 - 2 + 12 - 3
    for leaf in state.momentum.values():
        np.testing.assert_allclose(jnp.sum(leaf, axis=0), 0, atol=1e-14)


BIASED = {
    "kT": lambda: td.langevin(springs, 0.1, kT={"light": 1.0, "heavy": 2.0}, space=free(), remove_drift=True),
    "gamma": lambda: td.langevin(springs, 0.1, 1.0, {"light": 1.0, "heavy": 2.0}, space=free(), remove_drift=True),
    "gamma of atoms": lambda: td.langevin(springs, 0.1, 1.0, jnp.ones(4), space=free(), remove_drift=True),
    "dt": lambda: td.langevin(springs, {"light": 0.1, "heavy": 0.2}, 1.0, space=free(), remove_drift=True),
    "kT of chains": lambda: td.nose_hoover(
        springs, 0.1, {"light": 1.0, "heavy": 2.0}, 1.0, space=free(), remove_drift=True
    ),
    "groups": lambda: td.csvr(springs, 0.1, 1.0, 1.0, groups={"light": 0, "heavy": 1}, space=free(), remove_drift=True),
}


@pytest.mark.parametrize("case", BIASED)
def test_options_that_would_bias_the_momenta_are_errors(case):
    with pytest.raises(ValueError, match=f"remove_drift: .*{case.split()[0]}"):
        BIASED[case]()


def test_schedules_of_one_number_are_no_bias():
    dynamics = td.langevin(springs, 0.1, kT=lambda step: 1.0, gamma=lambda step: 1.0, space=free(), remove_drift=True)
    assert "remove_drift" in dynamics.names


def test_no_leaf_to_hold_is_an_error():
    dynamics = td.nve(springs, 0.1, remove_drift=True)
    with pytest.raises(ValueError, match=r"remove_drift: .*translation-invariant space"):
        begin(dynamics, START)


def test_infinite_mass_among_the_held_is_an_error():
    dynamics = td.nve(nothing, 0.1, mass=jnp.array([1.0, jnp.inf]), space=free(), remove_drift=True)
    with pytest.raises(ValueError, match=r"remove_drift: .* infinite mass"):
        dynamics.init(KEY, jnp.zeros((2, 3)))
