"""Potentials of one pair and their truncations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from treedyn.particles.energies._parameters import by_particle, by_species
from treedyn.particles.energies._potentials import harmonic, lennard_jones, morse, soft_sphere
from treedyn.particles.energies._truncation import cut, cutoff_of, force_shifted, shifted, smooth

positive = st.floats(0.1, 3.0)
WRAPPERS = [cut, shifted, force_shifted, lambda u, cutoff: smooth(u, 0.8 * cutoff, cutoff)]
wrappers = pytest.mark.parametrize("wrap", WRAPPERS)


def slope(u, r):
    return float(jax.grad(u)(float(r)))


@given(epsilon=positive, sigma=positive, r=st.floats(0.5, 3.0))
def test_values_are_those_of_the_formulas(epsilon, sigma, r):
    x = r * sigma
    np.testing.assert_allclose(lennard_jones(epsilon, sigma)(x), 4 * epsilon * (r**-12 - r**-6), rtol=1e-12, atol=1e-13)
    well = epsilon * ((1 - np.exp(-2.0 * (x - sigma))) ** 2 - 1)
    np.testing.assert_allclose(morse(epsilon, 2.0, sigma)(x), well, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(harmonic(epsilon, sigma)(x), epsilon / 2 * (x - sigma) ** 2)
    for alpha in (2, 2.5, 3.0):
        expected = epsilon / alpha * max(0.0, 1 - r) ** alpha
        np.testing.assert_allclose(soft_sphere(epsilon, sigma, alpha)(x), expected, rtol=1e-10, atol=1e-13)


def test_a_soft_sphere_is_zero_with_finite_derivatives_beyond_contact():
    u = soft_sphere(2.0, 1.5, 2.5)
    assert cutoff_of(u) == 1.5
    for r in (1.5, 1.6, 5.0):
        gradient = jax.grad(lambda u, r: u(r), argnums=(0, 1))(u, r)
        assert u(r) == 0
        assert all(x == 0 for x in jax.tree.leaves(gradient))


def test_an_integer_exponent_is_static_and_a_float_is_a_leaf():
    assert jax.tree.leaves(soft_sphere(2.0, 1.5, 3)) == [2.0, 1.5]
    assert jax.tree.leaves(soft_sphere(2.0, 1.5, 3.0)) == [2.0, 1.5, 3.0]


@wrappers
def test_a_truncated_potential_is_zero_from_its_cutoff_on(wrap):
    u = wrap(lennard_jones(), 2.5)
    assert cutoff_of(u) == 2.5
    assert [float(u(r)) for r in (2.5, 2.6, 100.0)] == [0, 0, 0]
    assert [slope(u, r) for r in (2.5, 2.6)] == [0, 0]


@wrappers
def test_a_potential_is_not_evaluated_beyond_its_cutoff(wrap):
    u = wrap(lambda r: jnp.sqrt(2.5001 - r), 2.5)
    values, gradients = jax.vmap(jax.value_and_grad(u))(jnp.linspace(0.5, 5.0, 40))
    assert jnp.all(jnp.isfinite(values))
    assert jnp.all(jnp.isfinite(gradients))


@pytest.mark.parametrize(
    ("wrap", "jump", "kink"),
    [
        (cut(lennard_jones(), 2.5), True, True),
        (shifted(lennard_jones(), 2.5), False, True),
        (force_shifted(lennard_jones(), 2.5), False, False),
        (smooth(lennard_jones(), 2.0, 2.5), False, False),
    ],
)
def test_energy_and_force_are_continuous_at_the_cutoff_where_promised(wrap, jump, kink):
    inside = 2.5 - 1e-9
    assert (abs(wrap(inside)) > 1e-3) == jump
    assert (abs(slope(wrap, inside)) > 1e-3) == kink
    if not jump:
        np.testing.assert_allclose(wrap(inside), 0, atol=1e-9)
    if not kink:
        np.testing.assert_allclose(slope(wrap, inside), 0, atol=1e-7)


@given(r=st.floats(0.8, 2.49))
def test_forces_of_every_truncation(r):
    u, end = lennard_jones(), slope(lennard_jones(), 2.5)
    np.testing.assert_allclose(slope(cut(u, 2.5), r), slope(u, r))
    np.testing.assert_allclose(slope(shifted(u, 2.5), r), slope(u, r))
    np.testing.assert_allclose(slope(force_shifted(u, 2.5), r), slope(u, r) - end, rtol=1e-12, atol=1e-12)
    if r < 2.0:
        np.testing.assert_allclose(smooth(u, 2.0, 2.5)(r), u(r))


def test_smooth_switches_as_in_hoomd_blue_and_is_smooth_at_its_onset():
    u, on, off = smooth(lambda r: jnp.ones_like(r), 2.0, 2.5), 2.0, 2.5
    r = np.linspace(2.0, 2.5, 11)
    expected = (off**2 - r**2) ** 2 * (off**2 + 2 * r**2 - 3 * on**2) / (off**2 - on**2) ** 3
    np.testing.assert_allclose(jax.vmap(u)(jnp.asarray(r)), expected, atol=1e-15)
    assert u(1.9) == 1
    np.testing.assert_allclose([u(2.0 + 1e-6), slope(u, 2.0 + 1e-9)], [1, 0], atol=1e-7)


def test_shifts_differentiate_with_respect_to_the_cutoff():
    gradient = jax.grad(lambda cutoff: shifted(lennard_jones(), cutoff)(1.5))(2.5)
    np.testing.assert_allclose(gradient, -slope(lennard_jones(), 2.5))


def test_the_cutoff_of_a_parameter_is_its_largest_number():
    assert cutoff_of(shifted(lennard_jones(), by_species([[2.5, 3.0], [3.0, 2.0]], [0, 1]))) == 3.0
    assert cutoff_of(soft_sphere(sigma=by_particle([1.0, 1.4, 1.2]))) == 1.4
    assert cutoff_of(lambda r: r) == np.inf
    with pytest.raises(ValueError, match="cutoff: must be positive"):
        shifted(lennard_jones(), by_species([[1.0, 0.0], [0.0, 1.0]], [0]))


def test_numbers_of_a_potential_are_leaves_that_vmap_and_grad_see():
    u = shifted(lennard_jones(1, 2), 3)
    assert jax.tree.leaves(u) == [3.0, 1.0, 2.0]
    deep = jax.vmap(lambda epsilon: shifted(lennard_jones(epsilon), 2.5)(1.5))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(deep[1], 2 * deep[0])
    np.testing.assert_allclose(jax.grad(lambda u: u(1.5))(u).u.epsilon, u(1.5))
