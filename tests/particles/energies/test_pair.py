"""The energy of all pairs: values, invariances, neighbor lists, and refused cutoffs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers import mostly_slow
from tests.particles.lists import hand_made, scattered, written_out
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._parameters import by_particle, by_species
from treedyn.particles.energies._potentials import lennard_jones, morse, soft_sphere
from treedyn.particles.energies._truncation import cut, force_shifted, shifted
from treedyn.particles.neighbors import neighbor_list
from treedyn.particles.space._space import free, periodic, triclinic
from treedyn.particles.sums import neighbor_sum

BOX = 6.0
U = force_shifted(morse(1.3, 2.0, 1.2), 2.5)
ENERGY = pair_energy(U, periodic(BOX))
seeds = st.integers(0, 10**6)


def close(a, b, factor=1e3):
    """Assert equality to within `factor` units in the last place of the largest number."""
    a, b = np.asarray(a), np.asarray(b)
    np.testing.assert_allclose(a, b, rtol=0, atol=factor * np.finfo(a.dtype).eps * max(1, np.max(np.abs(b), initial=0)))


@pytest.mark.parametrize(
    ("dimension", "listed"), [(2, True), (4, False), *mostly_slow([(1, False), (3, False), (3, True)])]
)
def test_energy_and_force_are_those_of_the_sum_over_pairs(dimension, listed):
    position = scattered(5 if dimension == 1 else 20, dimension, BOX)
    expected = jax.jit(jax.value_and_grad(lambda x: written_out(lambda i, j, r: U(r), x, BOX)))(position)
    value, gradient = jax.value_and_grad(ENERGY)(position, hand_made(position, BOX, 2.5) if listed else None)
    close(value, expected[0])
    close(gradient, expected[1])


def test_a_list_is_found_in_a_tree():
    position = scattered(20, 3, BOX)
    neighbors = hand_made(position, BOX, 2.5)
    for env in ({"list": neighbors, "kick": 3.0}, [None, (neighbors,)]):
        assert ENERGY(position, env) == ENERGY(position, neighbors)


def test_net_force_and_torque_of_a_free_cluster_are_zero():
    position = scattered(20, 3, 4.0)
    force = -jax.grad(pair_energy(lennard_jones(), free()))(position)
    scale = float(jnp.max(jnp.abs(force)))
    np.testing.assert_allclose(jnp.sum(force, axis=0) / scale, 0, atol=1e-13)
    np.testing.assert_allclose(jnp.sum(jnp.cross(position, force), axis=0) / scale, 0, atol=1e-12)


@given(seed=seeds)
def test_energy_is_invariant_under_translation_permutation_and_wrapping(seed):
    rng = np.random.default_rng(seed)
    position = scattered(20, 3, BOX, seed)
    order = rng.permutation(20)
    moved = (position + jnp.asarray(rng.normal(size=(1, 3))))[order] + jnp.asarray(BOX * rng.integers(-2, 3, (20, 3)))
    value, gradient = jax.value_and_grad(ENERGY)(position)
    close(jax.value_and_grad(ENERGY)(moved)[0], value)
    close(jax.value_and_grad(ENERGY)(moved)[1], gradient[order], factor=1e5)


@given(seed=seeds)
def test_energy_of_a_cluster_is_invariant_under_rotation_and_reflection(seed):
    turn = jnp.linalg.qr(jnp.asarray(np.random.default_rng(seed).normal(size=(3, 3))))[0]
    position = scattered(20, 3, 4.0, seed)
    energy = pair_energy(lennard_jones(), free())
    value, gradient = jax.value_and_grad(energy)(position)
    turned = jax.value_and_grad(energy)(position @ turn)
    close(turned[0], value)
    close(turned[1], gradient @ turn, factor=1e5)


@pytest.mark.slow
def test_a_user_function_is_equivalent_to_the_library_potential():
    position = scattered(20, 3, BOX)
    own = pair_energy(lambda r: 4 * ((1 / r) ** 12 - (1 / r) ** 6), periodic(BOX), cutoff=2.5)
    library = pair_energy(cut(lennard_jones(), 2.5), periodic(BOX))
    close(jax.grad(own)(position), jax.grad(library)(position))


@pytest.mark.slow
def test_a_space_of_plain_functions_gives_the_same_as_the_library_space():
    def displacement(a, b):
        return (a - b + BOX / 2) % BOX - BOX / 2

    position = scattered(20, 3, BOX)
    own = pair_energy(U, (displacement, lambda x, dx: (x + dx) % BOX))
    close(jax.grad(own)(position), jax.grad(ENERGY)(position))
    close(jax.grad(own)(position, hand_made(position, BOX, 2.5)), jax.grad(ENERGY)(position))


@pytest.mark.slow
def test_a_curved_space_gets_the_gradient_of_its_own_distance():
    def chord(a, b):
        return jnp.stack([jnp.cos(a[0]) - jnp.cos(b[0]), jnp.sin(a[0]) - jnp.sin(b[0])])

    angle = jnp.array([[0.1], [1.7], [4.0]])
    energy = pair_energy(lambda r: 1 / r, (chord, lambda x, dx: x + dx))
    close(
        jax.grad(energy)(angle),
        jax.grad(lambda a: written_out(lambda i, j, r: 1 / r, jnp.concatenate([jnp.cos(a), jnp.sin(a)], axis=1)))(
            angle
        ),
    )


@pytest.mark.slow
def test_fractional_coordinates_give_the_energy_of_the_real_ones_and_its_gradient():
    cell = jnp.array([[6.0, 0.0, 0.0], [1.0, 6.5, 0.0], [-0.5, 1.2, 5.8]])
    position = scattered(20, 3, 5.0)
    real = pair_energy(U, triclinic(cell))
    fractional = pair_energy(U, triclinic(cell, fractional=True))
    fraction = position @ jnp.linalg.inv(cell)
    close(fractional(fraction), real(position))
    close(jax.grad(fractional)(fraction), jax.grad(real)(position) @ cell.T)


def test_open_axes_are_not_wrapped():
    space = periodic(BOX, axes=[True, False, True])
    position = jnp.array([[0.2, 0.2, 0.2], [5.9, 0.2, 0.2], [0.2, 5.9, 0.2]])
    close(pair_energy(U, space)(position), U(jnp.asarray(0.3)))


def test_coinciding_particles_interact():
    position = jnp.array([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [3.0, 3.0, 3.0]])
    energy = pair_energy(shifted(lennard_jones(), 2.5), periodic(BOX))
    for env in (None, hand_made(position, BOX, 2.5)):
        assert not np.isfinite(energy(position, env))
        assert not np.all(np.isfinite(jax.grad(energy)(position, env)))
        bump = pair_energy(cut(lambda r: jnp.exp(-r), 2.5), periodic(BOX))
        close(bump(position, env), 1.0)


@pytest.mark.parametrize("u", [U, shifted(lennard_jones(), 2.5), soft_sphere(sigma=2.5)])
def test_a_nan_position_gives_a_nan_energy(u):
    position = scattered(20, 3, BOX)
    broken = position.at[3, 1].set(jnp.nan)
    assert jnp.isnan(pair_energy(u, periodic(BOX))(broken))
    assert jnp.isnan(pair_energy(u, periodic(BOX))(broken, hand_made(position, BOX, 2.5)))


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_particles_for_a_pair_have_no_energy(count):
    position = jnp.ones((count, 3))
    energy = pair_energy(lennard_jones(), free())
    assert energy(position) == 0
    np.testing.assert_array_equal(jax.grad(energy)(position), jnp.zeros((count, 3)))


def test_a_list_without_neighbors_gives_no_energy():
    position = jnp.array([[0.0, 0.0], [3.0, 3.0], [0.0, 3.0]])
    assert ENERGY(position, hand_made(position, BOX, 2.5, spare=0)) == 0
    assert jnp.all(jax.grad(ENERGY)(position, hand_made(position, BOX, 2.5)) == 0)


@pytest.mark.parametrize(
    ("u", "space", "position", "message"),
    [
        (lennard_jones(), periodic(BOX), jnp.ones((2, 3)), "cutoff: the space repeats"),
        (cut(lennard_jones(), 3.1), periodic(BOX), jnp.ones((2, 3)), "cutoff: .* box height"),
        (cut(lennard_jones(), 2.5), periodic([8.0, 4.9]), jnp.ones((2, 2)), "cutoff: .* box height"),
        (U, triclinic([[6.0, 0.0], [5.0, 6.0]]), jnp.ones((2, 2)), "cutoff: .* box height"),
        (U, free(), jnp.ones((2, 4, 3)), "position: .*vmap"),
    ],
)
def test_cutoffs_and_positions_that_do_not_fit_are_refused(u, space, position, message):
    with pytest.raises(ValueError, match=message):
        pair_energy(u, space)(position)


def test_known_cutoffs_are_refused_inside_jit():
    position = scattered(20, 3, BOX)
    neighbors = hand_made(position, BOX, 2.4)
    for u in (U, soft_sphere(sigma=by_particle([2.5] * 20)), soft_sphere(sigma=by_species([[2.5]], [0] * 20))):
        with pytest.raises(ValueError, match="cutoff: expected at most that of the neighbor list"):
            jax.jit(lambda x, u=u: pair_energy(u, periodic(BOX))(x, neighbors))(position)
        with pytest.raises(ValueError, match=r"cutoff: .* box height"):
            jax.jit(lambda x, u=u: pair_energy(u, periodic(4.9))(x))(position)


def test_a_traced_cutoff_that_is_too_long_gives_nan():
    position = scattered(8, 3, 4.0)
    compiled = jax.jit(lambda box, x: jax.value_and_grad(pair_energy(U, periodic(box)))(x))
    assert all(np.all(np.isfinite(x)) for x in compiled(5.01, position))
    assert all(np.all(np.isnan(x)) for x in compiled(4.99, position))
    listed = jax.jit(jax.value_and_grad(ENERGY))
    assert all(np.all(np.isfinite(x)) for x in listed(position, hand_made(position, BOX, 2.5)))
    assert all(np.all(np.isnan(x)) for x in listed(position, hand_made(position, BOX, 2.4)))


def test_a_list_that_is_no_longer_valid_gives_nan():
    lists = neighbor_list(periodic(BOX), 2.5, skin=0.3).allocate(position := scattered(20, 3, BOX))
    both = (jax.value_and_grad(ENERGY), jax.jit(jax.value_and_grad(ENERGY)))
    for moved, valid in ((0.14, True), (0.16, False)):
        there = position.at[3].add(jnp.asarray([moved, 0, 0]))
        assert lists.valid(there) == valid
        for energy in (*both, lambda x, env: neighbor_sum(lambda r, a, b: 1.0, x, env)):
            found = jax.tree.leaves(energy(there, lists))
            assert all(np.all(np.isfinite(x) if valid else np.isnan(x)) for x in found)
