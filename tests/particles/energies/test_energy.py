"""Energies add and can be multiplied: values, forces, stress, lists and precision are those of the terms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.particles.lists import hand_made, scattered
from treedyn import particles as tp

BOX = 6.0
SPACE = tp.periodic(BOX)
X = scattered(20, 3, BOX)
PAIRS = tp.pair_energy(tp.force_shifted(tp.lennard_jones(), 2.5), SPACE)
BONDS = tp.bond_energy(tp.harmonic(stiffness=3.0, length=1.1), [[0, 1], [3, 7]], SPACE)


def trap(x):
    return jnp.sum(x**2) / 7


SUMS = {
    "a + b": (PAIRS + BONDS, lambda x: PAIRS(x) + BONDS(x)),
    "a - b": (PAIRS - BONDS, lambda x: PAIRS(x) - BONDS(x)),
    "2 a": (2 * PAIRS, lambda x: 2 * PAIRS(x)),
    "-a / 2 + b": (-PAIRS * np.float64(0.5) + BONDS, lambda x: BONDS(x) - PAIRS(x) / 2),
    "a + f": (PAIRS + trap, lambda x: PAIRS(x) + trap(x)),
    "f + a": (trap + PAIRS, lambda x: PAIRS(x) + trap(x)),
    "f - a": (trap - PAIRS, lambda x: trap(x) - PAIRS(x)),
    "sum": (sum([BONDS, BONDS], PAIRS), lambda x: PAIRS(x) + 2 * BONDS(x)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUMS)
def test_value_and_force_of_a_sum_are_those_of_its_terms_with_and_without_a_list(name):
    energy, expected = SUMS[name]
    value, slope = jax.value_and_grad(expected)(X)
    for env in (None, hand_made(X, BOX, 2.5)):
        found, gradient = jax.jit(jax.value_and_grad(energy))(X, env)
        np.testing.assert_allclose(found, value, rtol=1e-12)
        np.testing.assert_allclose(gradient, slope, rtol=1e-9, atol=1e-9)


def test_stress_of_a_sum_is_the_sum_of_the_stresses():
    both = 2.0 * PAIRS + BONDS
    expected = 2 * tp.stress(PAIRS, X, space=SPACE) + tp.stress(BONDS, X, space=SPACE)
    np.testing.assert_allclose(tp.stress(both, X, space=SPACE), expected, rtol=1e-12)

    def springs(x, *, strain=None):
        stretched = x if strain is None else x + x @ strain.T
        return jnp.sum(stretched**2) / 7

    alone = tp.virial(PAIRS, X) + tp.virial(springs, X)
    np.testing.assert_allclose(tp.virial(PAIRS + springs, X), alone, rtol=1e-12)
    with pytest.raises(ValueError, match=r"energy: the term <function trap .* must take the keyword strain="):
        tp.pressure(PAIRS + trap, X, space=SPACE)


def test_numbers_and_terms_are_leaves_and_precision_is_that_of_every_term():
    slope = jax.grad(lambda factor: (factor * PAIRS + BONDS)(X))(jnp.asarray(2.0))
    np.testing.assert_allclose(slope, PAIRS(X), rtol=1e-12)
    many = jax.vmap(lambda factor: (factor * PAIRS)(X))(jnp.arange(3.0))
    np.testing.assert_allclose(many, np.arange(3.0) * PAIRS(X), rtol=1e-12)
    mixed = tp.pair_energy(PAIRS.u, SPACE, precision=jnp.float32)
    assert (mixed + BONDS)(X) == mixed(X) + BONDS(X) and (2 * PAIRS)(X.astype(jnp.float32)).dtype == jnp.float32


def test_a_sum_is_a_target_and_knows_its_space():
    dynamics = td.nve(PAIRS + trap, dt=1e-4)
    with pytest.warns(UserWarning, match="space: the energy has the space Periodic, but the dynamics has none"):
        dynamics.init(jax.random.key(0), X)
    for space in (SPACE, tp.free()):
        dynamics = td.nve(PAIRS + 2 * BONDS, dt=1e-4, space=space)
        state = dynamics.step(dynamics.init(jax.random.key(0), X))
        assert state.status == 0
    assert jax.tree.leaves((trap + 2 * PAIRS).space) == jax.tree.leaves(SPACE)


@pytest.mark.parametrize("other", [1.0, "x", None, X])
def test_what_is_no_energy_cannot_be_added(other):
    with pytest.raises(ValueError, match="energy: expected a function"):
        PAIRS + other
    with pytest.raises(ValueError, match="factor: expected one number"):
        PAIRS * (lambda x: 1.0)


@pytest.mark.slow
def test_many_particles_without_a_list_are_reported_where_a_cutoff_allows_one():
    crystal = tp.fcc(8, density=1.0)
    assert len(crystal.position) > 2000
    energy = tp.pair_energy(PAIRS.u, crystal.space)
    with pytest.warns(UserWarning, match="env: expected a neighbor list for 2048 particles, got none"):
        jax.eval_shape(energy, crystal.position)
    jax.eval_shape(energy, crystal.position, tp.neighbor_list(crystal.space, 2.5).allocate(crystal.position))
    jax.eval_shape(tp.pair_energy(lambda r: 1 / r, tp.free()), crystal.position)


@pytest.mark.slow
def test_a_warning_names_the_line_of_the_user():
    for energy in (PAIRS + trap, tp.bond_energy(BONDS.u, [[0, 1]], tp.free()) + PAIRS):
        for make in (td.nve, lambda *args, **more: td.ensemble(td.nve(*args, **more), members=2)):
            with pytest.warns(UserWarning, match="space: the energy has the space Periodic") as caught:
                make(energy, dt=1e-4).init(jax.random.key(0), X)
            assert caught[0].filename == __file__
