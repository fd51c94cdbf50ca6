"""Parameters that differ from pair to pair."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import mostly_slow
from tests.particles.lists import hand_made, scattered, written_out
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._parameters import (
    BySpecies,
    arithmetic_mean,
    by_particle,
    by_species,
    elementwise,
    geometric_mean,
)
from treedyn.particles.energies._potentials import lennard_jones, soft_sphere
from treedyn.particles.energies._truncation import force_shifted, shifted
from treedyn.particles.neighbors._spec import neighbor_list
from treedyn.particles.space._space import free, periodic

BOX = 6.0
COUNT = 20
POSITION = scattered(COUNT, 3, BOX)
RNG = np.random.default_rng(0)


def agree(energy, u):
    """Assert that energy and forces are those of the sum of `u(i, j, r)`, with all pairs and with a list."""
    expected = jax.jit(jax.value_and_grad(lambda x: written_out(u, x, BOX)))(POSITION)
    for env in (None, hand_made(POSITION, BOX, 2.8)):
        actual = jax.value_and_grad(energy)(POSITION, env)
        np.testing.assert_allclose(actual[0], expected[0], rtol=1e-12)
        np.testing.assert_allclose(actual[1], expected[1], atol=1e-10 * float(jnp.max(jnp.abs(expected[1]))))


@pytest.mark.parametrize("kinds", mostly_slow([1, 3, 7], 3))
def test_every_pair_uses_its_own_entry_of_a_table_and_its_own_shift(kinds):
    species = jnp.asarray(RNG.integers(0, kinds, COUNT))
    epsilon, sigma = (x + x.T for x in jnp.asarray(RNG.uniform(0.4, 0.6, (2, kinds, kinds))))
    u = force_shifted(lennard_jones(by_species(epsilon, species), by_species(sigma, species)), 2.5)
    agree(
        pair_energy(u, periodic(BOX)),
        lambda i, j, r: force_shifted(
            lennard_jones(epsilon[species[i], species[j]], sigma[species[i], species[j]]), 2.5
        )(r),
    )


@pytest.mark.slow
def test_a_cutoff_may_be_a_table():
    species, cutoff = jnp.arange(COUNT) % 2, jnp.array([[2.8, 1.5], [1.5, 2.2]])
    u = shifted(lennard_jones(), by_species(cutoff, species))
    agree(pair_energy(u, periodic(BOX)), lambda i, j, r: shifted(lennard_jones(), cutoff[species[i], species[j]])(r))
    with pytest.raises(ValueError, match=r"cutoff: .* the neighbor list, 2\.5, got 2\.8"):
        pair_energy(u, periodic(BOX))(POSITION, hand_made(POSITION, BOX, 2.5))


@pytest.mark.slow
def test_numbers_of_particles_are_combined_by_the_rule():
    depth, width = (jnp.asarray(x) for x in RNG.uniform(0.8, 1.2, (2, COUNT)))
    u = shifted(lennard_jones(by_particle(depth, geometric_mean), by_particle(width, arithmetic_mean)), 2.5)
    agree(
        pair_energy(u, periodic(BOX)),
        lambda i, j, r: shifted(lennard_jones(jnp.sqrt(depth[i] * depth[j]), (width[i] + width[j]) / 2), 2.5)(r),
    )


def test_a_user_rule_is_called_with_two_numbers():
    charge = jnp.asarray(RNG.normal(size=COUNT))

    def product(a, b):
        assert a.shape == b.shape == ()
        return a * b

    u = shifted(lennard_jones(by_particle(charge, product)), 2.5)
    agree(pair_energy(u, periodic(BOX)), lambda i, j, r: charge[i] * charge[j] * shifted(lennard_jones(), 2.5)(r))


def test_spheres_of_different_size_touch_at_the_mean_of_their_diameters():
    energy = pair_energy(soft_sphere(sigma=by_particle([1.0, 2.0])), free())
    gap = jnp.array([[0.0, 0.0], [1.5, 0.0]])
    assert energy(gap) == 0
    assert energy(0.99 * gap) > 0
    with pytest.raises(ValueError, match="u: expected a parameter of 20 particles"):
        energy(POSITION)


@pytest.mark.parametrize("kinds", [2, 7])
def test_a_traced_species_out_of_range_gives_nan(kinds):
    def energy(species):
        u = lennard_jones(BySpecies(table=jnp.ones((kinds, kinds)), species=species))
        return pair_energy(u, free())(POSITION)

    assert jnp.isfinite(jax.jit(energy)(jnp.arange(COUNT) % kinds))
    assert jnp.isnan(jax.jit(energy)(jnp.arange(COUNT) % (kinds + 1)))
    assert jnp.isnan(jax.jit(energy)(jnp.arange(COUNT) % kinds - 1))


@pytest.mark.slow
def test_elementwise_maps_a_function_of_numbers_over_arrays_that_broadcast():
    def one(a, b):
        assert a.shape == b.shape == ()
        return a - 2 * b

    a, b = jnp.arange(3.0)[:, None], jnp.arange(4.0)[None]
    np.testing.assert_array_equal(elementwise(one, a, b), np.arange(3)[:, None] - 2 * np.arange(4))


@pytest.mark.parametrize(
    "combine, largest", [(lambda a, b: a + b, 1.2), (lambda a, b: abs(a - b), 0.4), (arithmetic_mean, 0.7)]
)
def test_a_range_is_the_largest_over_all_pairs_for_any_rule(combine, largest):
    radii = jnp.array([0.3, 0.5, 0.7, 0.3])
    assert by_particle(radii, combine).maximum() == pytest.approx(largest)
    assert jax.jit(lambda x: by_particle(x, combine).maximum())(radii) == pytest.approx(largest)
    assert by_particle(jnp.repeat(radii, 2), lambda a, b: a + b).maximum() == pytest.approx(1.4)


def test_a_list_that_is_too_short_for_sums_of_radii_is_refused():
    diameter = by_particle(jnp.array([0.5, 0.7]), lambda a, b: a + b)
    energy = pair_energy(soft_sphere(sigma=diameter), periodic(10.0))
    x = jnp.array([[0.0, 0.0], [1.1, 0.0]])
    assert energy(x) > 0
    with pytest.raises(ValueError, match=r"cutoff.*1\.2"):
        energy(x, neighbor_list(periodic(10.0), 0.7, skin=0.1).allocate(x))
