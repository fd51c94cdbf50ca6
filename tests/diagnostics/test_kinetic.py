"""Momenta at a temperature, kinetic energy, and degrees of freedom."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn.particles.space._space import free
from treedyn.testing import sigmas

KEY = jax.random.key(0)


def kinetic(momentum, mass):
    return sum(np.sum(np.asarray(momentum[leaf]) ** 2 / np.asarray(mass[leaf])) for leaf in momentum)


POSITION = {"atoms": jnp.zeros((4, 3)), "weights": jnp.zeros(5)}
MASS = {"atoms": np.array([[1.0], [2.0], [3.0], [4.0]]), "weights": 0.5}


def test_momenta_have_the_variance_of_their_mass_and_temperature():
    kT = {"atoms": 0.5, "weights": 3.0}
    position = {"atoms": jnp.zeros((5000, 2)), "weights": jnp.zeros(10_000)}
    mass = {"atoms": jnp.tile(jnp.array([1.0, 4.0]), 2500), "weights": 2.0}
    p = jax.jit(lambda key: td.thermal_momentum(key, position, kT, mass=mass))(KEY)
    assert np.all(np.abs(sigmas(p["atoms"].reshape(2500, 2, 2) ** 2, 0.5 * np.array([[1.0], [4.0]]))) < 5)
    assert abs(sigmas(p["weights"] ** 2, 6.0)) < 5
    assert abs(sigmas(p["weights"] ** 2, 3.0)) > 5


@pytest.mark.parametrize(("space", "dof"), [(None, 17), ({"atoms": free(), "weights": td.euclidean()}, 14)])
def test_exact_momenta_have_exactly_the_given_temperature(space, dof):
    kT = 1.7
    p = td.thermal_momentum(
        KEY, POSITION, kT, mass={"atoms": jnp.arange(1.0, 5.0), "weights": 0.5}, space=space, exact=True
    )
    np.testing.assert_allclose(kinetic(p, MASS), dof * kT, rtol=1e-13)
    if space is not None:
        np.testing.assert_allclose(jnp.sum(p["atoms"], axis=0), 0, atol=1e-14)


def test_exact_momenta_do_not_count_infinite_masses():
    mass = jnp.array([1.0, jnp.inf, 2.0])
    p = td.thermal_momentum(KEY, jnp.zeros((3, 2)), 2.0, mass=mass, exact=True)
    np.testing.assert_array_equal(p[1], 0)
    np.testing.assert_allclose(jnp.sum(p**2 / mass[:, None]), 4 * 2.0, rtol=1e-13)


def test_thermal_momenta_are_the_same_as_those_of_init():
    dynamics = td.langevin(lambda x: 0 * jnp.sum(x["weights"]), dt=0.1, kT=1.3, mass=2.0)
    drawn = dynamics.init(KEY, POSITION).momentum
    alone = td.thermal_momentum(KEY, POSITION, 1.3, mass=2.0)
    for leaf in POSITION:
        np.testing.assert_array_equal(drawn[leaf], alone[leaf])


def test_temperature_is_twice_the_kinetic_energy_per_degree_of_freedom():
    mass = {"atoms": jnp.arange(1.0, 5.0), "weights": 0.5}
    dynamics = td.nve(lambda x: 0 * jnp.sum(x["weights"]), dt=0.1, mass=mass)
    state = dynamics.init(KEY, POSITION, kT=1.0)
    np.testing.assert_allclose(2 * td.kinetic_energy(state), kinetic(state.momentum, MASS), rtol=1e-14)
    assert float(td.degrees_of_freedom(state)) == 17
    np.testing.assert_allclose(td.temperature(state), kinetic(state.momentum, MASS) / 17, rtol=1e-14)


def test_a_state_without_momenta_has_no_kinetic_energy():
    state = td.brownian(lambda x: jnp.sum(x**2), dt=0.1, kT=1.0).init(KEY, jnp.ones(2))
    for diagnostic in (td.kinetic_energy, td.temperature, td.degrees_of_freedom):
        with pytest.raises(ValueError, match="state has no momentum"):
            diagnostic(state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [jnp.float16, jnp.bfloat16])
def test_many_degrees_of_freedom_in_half_precision_are_counted_and_summed(kind):
    # 100,000 is infinite in float16, and bfloat16 has 8 bits
    state = td.nve(lambda x: jnp.sum(x), dt=0.1).init(KEY, jnp.zeros(100_000, kind), kT=1.0)
    assert int(td.diagnostics.degrees_of_freedom(state)) == 100_000
    assert abs(float(td.temperature(state)) - 1) < 5 * np.sqrt(2 / 100_000) + float(jnp.finfo(kind).eps)
