"""The sum over partners in blocks of particles and tiles of partners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.particles.lists import hand_made
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._potentials import lennard_jones, soft_sphere
from treedyn.particles.energies._truncation import shifted
from treedyn.particles.space._lattice import hexagonal
from treedyn.particles.space._space import periodic
from treedyn.particles.sums import _kernel as kernel


def product(own, partner):
    return own * partner


def of_pairs(own, partner, shared, is_pair):
    del own, partner
    return jnp.where(is_pair, shared, 0)


@pytest.mark.parametrize("count", [2, 9, 520, 701, 1025])
def test_every_particle_is_summed_with_every_other_once(count):
    x = jnp.arange(1.0, count + 1)
    sums = jax.jit(lambda x: kernel.sum_over_partners(product, of_pairs, x, None))(x)
    np.testing.assert_array_equal(sums, x * (jnp.sum(x) - x))


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "height"), [(7, 3), (5, 8), (64, 1), (10, 9), (40, 16), (33, 64)])
@pytest.mark.parametrize("once", [False, True])
def test_blocks_and_tiles_do_not_change_a_sum_over_a_list(monkeypatch, rows, height, once):
    count, slots = 33, 19
    rng = np.random.default_rng(rows)
    order = rng.permutation(count)
    partners = np.array([rng.permutation(np.delete(np.arange(count), row))[:slots] for row in range(count)]).T
    partners[14:] = np.arange(count)
    partners[9, ::2] = np.arange(count)[::2]
    listed = kernel.Partners(
        order=jnp.asarray(order),
        rank=jnp.asarray(np.argsort(order)),
        partners=jnp.asarray(partners, jnp.int32),
        filled=jnp.int32(14),
    )
    x = jnp.arange(1.0, count + 1)
    expected = np.zeros(count)
    for row in range(count):
        expected[order[row]] = sum(x[order[p]] * x[order[row]] for p in partners[:, row] if p != row)
    for name in ("_ROWS", "_ROWS_OF_BLOCK"):
        monkeypatch.setattr(kernel, name, rows)
    for name in ("_TOGETHER", "_SLOTS_OF_FEW", "_SLOTS_TO_DIFFERENTIATE"):
        monkeypatch.setattr(kernel, name, height)
    np.testing.assert_array_equal(kernel.sum_over_partners(product, of_pairs, x, listed, once=once), expected)


@pytest.mark.slow
def test_a_sum_has_the_same_bits_for_any_number_of_slots():
    crystal = hexagonal((9, 7), lattice_constant=1.0)
    position = crystal.position + 0.1 * jax.random.normal(jax.random.key(0), crystal.position.shape)
    energy = pair_energy(shifted(lennard_jones(), 2.2), periodic(crystal.box))
    lists = [hand_made(position, np.asarray(crystal.box), 2.2, spare=spare) for spare in (0, 3, 16, 61)]
    first, *others = (jax.jit(jax.value_and_grad(energy))(position, found) for found in lists)
    for other in others:
        np.testing.assert_array_equal(other[0], first[0])
        np.testing.assert_array_equal(other[1], first[1])


@pytest.mark.slow
def test_a_large_crystal_has_its_energy_zero_force_and_derivatives_in_blocks(monkeypatch):
    monkeypatch.setattr(kernel, "_ROWS", 2**15)
    crystal = hexagonal((208, 80), lattice_constant=1.0)
    count = crystal.position.shape[0]
    assert count > kernel._ROWS
    space = periodic(crystal.box)
    # the first shell only, with a list long enough for several tiles
    neighbors = hand_made(crystal.position, np.asarray(crystal.box), 1.2, spare=6)
    energy = pair_energy(soft_sphere(epsilon=2.0, sigma=1.2), space)
    u = float(soft_sphere(epsilon=2.0, sigma=1.2)(1.0))
    value, force = jax.jit(jax.value_and_grad(energy))(crystal.position, neighbors)
    np.testing.assert_allclose(value, 3 * count * u, rtol=1e-12)
    np.testing.assert_allclose(force, 0, atol=1e-12)
    slope = jax.jit(jax.grad(lambda e: pair_energy(soft_sphere(e, 1.2), space)(crystal.position, neighbors)))(2.0)
    np.testing.assert_allclose(slope, value / 2, rtol=1e-12)
    kick = jnp.zeros_like(crystal.position).at[70, 0].set(1e-6)
    gradient = jax.jit(jax.grad(energy))
    rate = jax.jit(lambda x, v: jax.jvp(lambda x: gradient(x, neighbors), (x,), (v,))[1])(crystal.position, kick)
    moved = gradient(crystal.position + kick, neighbors)
    np.testing.assert_allclose(rate, moved, atol=1e-11)
    assert jnp.abs(rate[70, 0]) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("kind", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("wide", [jnp.float32, jnp.float64])
def test_the_dtype_is_that_of_the_position_for_any_dtype_of_parameters(kind, wide):
    x = jnp.array([[0.0, 0.0, 0.0], [1.1, 0.0, 0.0], [0.0, 1.2, 0.0]], kind)
    u = shifted(lennard_jones(jnp.asarray(1.0, wide), 1.0), jnp.asarray(2.5, wide))
    space = periodic(jnp.full(3, 8.0, wide))
    value, gradient = jax.value_and_grad(pair_energy(u, space))(x, hand_made(x, 8.0, 2.5))
    assert value.dtype == gradient.dtype == kind
    expected = sum(float(u(float(r))) for r in (1.1, 1.2, np.hypot(1.1, 1.2)))
    np.testing.assert_allclose(value, expected, rtol=1e2 * jnp.finfo(jnp.float32).eps)
    assert gradient[1, 0] * gradient[2, 1] != 0
