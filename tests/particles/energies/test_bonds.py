"""The energy of listed pairs."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.particles.lists import scattered
from treedyn.particles.energies._bonds import bond_energy
from treedyn.particles.energies._potentials import harmonic, morse
from treedyn.particles.space._space import free, periodic, triclinic

BOX = 6.0
POSITION = scattered(10, 3, BOX)
BONDS = np.array([[0, 1], [1, 2], [7, 3], [9, 0]])


def distances(position):
    delta = np.asarray(position)[BONDS[:, 0]] - np.asarray(position)[BONDS[:, 1]]
    return np.linalg.norm(delta - BOX * np.round(delta / BOX), axis=1)


def test_energy_is_the_sum_over_bonds_with_shared_or_individual_numbers():
    r = distances(POSITION)
    length = np.array([1.0, 1.1, 1.2, 1.3])
    for u, expected in (
        (harmonic(2.0, 1.5), np.sum((r - 1.5) ** 2)),
        (harmonic(2.0, length), np.sum((r - length) ** 2)),
        (harmonic(length, length), np.sum(length / 2 * (r - length) ** 2)),
        (lambda r: jnp.exp(-r), np.sum(np.exp(-r))),
    ):
        np.testing.assert_allclose(bond_energy(u, BONDS, periodic(BOX))(POSITION), expected, rtol=1e-14)


def test_derivatives_with_respect_to_everything_are_those_of_the_sum():
    x, u = POSITION, morse(jnp.linspace(1, 2, 4), 2.0, 1.5)

    def ours(x, u, box, strain):
        return bond_energy(u, BONDS, periodic(box))(x, strain=strain)

    def plain(x, u, box, strain):
        delta = x[BONDS[:, 0]] - x[BONDS[:, 1]]
        delta = (delta - box * jnp.round(delta / box)) @ (jnp.eye(3) + strain).T
        r = jnp.linalg.norm(delta, axis=1)
        return sum(morse(u.epsilon[k], u.alpha, u.sigma)(r[k]) for k in range(4))

    args = (x, u, BOX, jnp.zeros((3, 3)))
    actual = jax.jit(jax.grad(ours, argnums=range(4)))(*args)
    expected = jax.jit(jax.grad(plain, argnums=range(4)))(*args)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12 * float(jnp.max(jnp.abs(b))))


def test_a_bond_leads_to_the_nearest_image_in_any_space():
    position = jnp.array([[0.1, 0.0], [5.9, 0.0]])
    spring = harmonic(2.0, 0.0)
    for space in (periodic(BOX), triclinic(BOX * np.eye(2)), (lambda a, b: (a - b + 3) % 6 - 3, lambda x, dx: x + dx)):
        np.testing.assert_allclose(bond_energy(spring, [[0, 1]], space)(position), 0.04, rtol=1e-12)
    np.testing.assert_allclose(bond_energy(spring, [[0, 1]], free())(position), 5.8**2)


def test_single_precision_stays_single():
    u = harmonic(jnp.full(4, 2.0), 1.5)
    value, gradient = jax.jit(jax.value_and_grad(bond_energy(u, BONDS, periodic(BOX))))(POSITION.astype(jnp.float32))
    assert value.dtype == gradient.dtype == jnp.float32


def test_no_bonds_have_no_energy():
    assert bond_energy(harmonic(), np.zeros((0, 2), int), free())(POSITION) == 0
    assert bond_energy(harmonic(), [], free())(POSITION) == 0


def test_a_traced_bond_out_of_range_gives_nan():
    energy = bond_energy(harmonic(), [[0, 9]], free())
    compiled = jax.jit(lambda energy, x: energy(x))
    assert jnp.isfinite(compiled(energy, POSITION))
    assert jnp.isnan(compiled(energy, POSITION[:9]))
