"""Pairs in float32 and everything else in float64: the only error is that of float32 pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import particles as tp

CRYSTAL = tp.fcc(4, density=0.8442)
X = CRYSTAL.position + 0.05 * jax.random.normal(jax.random.key(0), CRYSTAL.position.shape)
EPS = float(jnp.finfo(jnp.float32).eps)


def make(precision, space=None):
    u = tp.force_shifted(tp.lennard_jones(), 2.5)
    return tp.pair_energy(u, tp.periodic(CRYSTAL.box) if space is None else space, precision=precision)


@pytest.mark.parametrize("listed", mostly_slow([True, False], True))
def test_energy_and_force_are_those_of_float64_to_the_precision_of_pairs(listed):
    env = tp.neighbor_list(tp.periodic(CRYSTAL.box), 2.5, skin=0.2).allocate(X) if listed else None
    (energy, force), (exact, right) = (jax.jit(jax.value_and_grad(make(p)))(X, env) for p in (jnp.float32, None))
    assert energy.dtype == force.dtype == jnp.float64
    # positions are rounded to eps times the box, which stiffness converts to an error of the force
    np.testing.assert_allclose(energy, exact, rtol=20 * EPS)
    np.testing.assert_allclose(force, right, atol=EPS * float(CRYSTAL.box[0]) * 1e4)
    assert not np.array_equal(force, right)


def test_energies_are_summed_in_float64():
    x = X.astype(jnp.float32)
    each = float(make(None)(x)), float(make(jnp.float32)(x.astype(jnp.float64)))
    assert each[0] == pytest.approx(each[1], rel=20 * EPS)
    assert float(np.float32(each[1])) != each[1], "the sum was rounded to float32"


def test_a_precision_of_float64_differs_from_none():
    x = X.astype(jnp.float32)
    narrow, wide = make(None)(x), make(jnp.float64)(x)
    assert narrow.dtype == wide.dtype == jnp.float32
    exact = float(make(None)(x.astype(jnp.float64)))
    assert abs(float(wide) - exact) <= EPS * abs(exact)


@pytest.mark.slow
def test_derivatives_have_the_dtype_of_the_position():
    energy, direction = make(jnp.float32), jnp.ones_like(X).at[0].set(0)
    value, rate = jax.jvp(jax.grad(energy), (X,), (direction,))
    exact = jax.jvp(jax.grad(make(None)), (X,), (direction,))[1]
    assert value.dtype == rate.dtype == jnp.float64
    np.testing.assert_allclose(rate, exact, atol=1e-3 * float(jnp.max(jnp.abs(exact))))
    stress, right = (tp.stress(make(p), X, space=CRYSTAL.space) for p in (jnp.float32, None))
    assert stress.dtype == jnp.float64
    np.testing.assert_allclose(stress, right, rtol=1e-4, atol=1e-4)

    def of_epsilon(epsilon, precision):
        return tp.pair_energy(tp.cut(tp.lennard_jones(epsilon), 2.5), CRYSTAL.space, precision=precision)(X)

    slope = jax.grad(of_epsilon)(1.0, jnp.float32)
    np.testing.assert_allclose(slope, of_epsilon(1.0, None), rtol=1e-5)


@pytest.mark.slow
def test_a_trajectory_conserves_energy_as_float64_does():
    def drift(precision):
        energy = make(precision)
        env = tp.neighbor_list(CRYSTAL.space, 2.5, skin=0.2).allocate(X)
        dynamics = td.nve(energy, dt=0.002, space=CRYSTAL.space)
        state = dynamics.init(jax.random.key(1), X, env, kT=0.5)
        return np.ptp(
            td.run(dynamics, state, env, steps=400, every=20, record=lambda s: s.energy + td.kinetic_energy(s)).records
        ) / len(X)

    assert drift(jnp.float32) < 2 * drift(None)
