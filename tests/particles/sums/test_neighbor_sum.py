"""Sums over neighbors of any function of two particles, against sums over all pairs that are written out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import mostly_slow
from tests.particles.lists import hand_made, scattered
from treedyn import particles as tp

BOX, CUTOFF, COUNT = 6.0, 2.3, 30
U = tp.force_shifted(tp.morse(1.3, 2.0, 1.2), CUTOFF)
CHARGE = jnp.asarray(np.random.default_rng(1).normal(size=COUNT))


def one(position, own, partner):
    """Return what is summed in the tests: the number of neighbors, their energy, a vector, and a matrix."""
    r = jnp.sqrt(jnp.sum(position**2))
    field = partner["charge"] * position / r**3
    return {"number": 1, "energy": 0.5 * U(r), "field": own["charge"] * field, "moment": jnp.outer(field, own["spin"])}


def written_out(x, quantities, box=BOX, cutoff=CUTOFF):
    def of(i):
        def of_pair(j):
            delta = x[i] - x[j]
            delta = delta - box * jnp.round(delta / box)
            near = (i != j) & (jnp.sum(delta**2) < cutoff**2)
            own, partner = (jax.tree.map(lambda q, k=k: q[k], quantities) for k in (i, j))
            found = one(jnp.where(near, delta, 1.0), own, partner)
            return jax.tree.map(lambda y: jnp.where(near, jnp.asarray(y).astype(x.dtype), 0), found)

        return jax.tree.map(lambda y: jnp.sum(y, axis=0), jax.vmap(of_pair)(jnp.arange(len(x))))

    return jax.vmap(of)(jnp.arange(len(x)))


def system(dimension, dtype=jnp.float64, seed=0):
    count = 5 if dimension == 1 else COUNT
    x = scattered(count, dimension, BOX, seed).astype(dtype)
    return x, {"charge": CHARGE[:count].astype(dtype), "spin": x[:, :1] + jnp.ones((1, 2), dtype)}


def close(actual, expected, dtype=jnp.float64):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.dtype == dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=2e3 * jnp.finfo(dtype).eps * max(1, float(jnp.max(jnp.abs(b)))))


@pytest.mark.slow
@pytest.mark.parametrize("dimension, dtype", [(2, jnp.float32), *mostly_slow([(1, jnp.float32), (3, jnp.float64)])])
def test_sums_are_those_of_all_pairs_whatever_finds_the_neighbors(dimension, dtype):
    x, q = system(dimension, dtype)
    space = tp.periodic(BOX)
    expected = jax.jit(written_out)(x, q)
    lists = [tp.neighbor_list(space, CUTOFF, skin=skin).allocate(x) for skin in (0.0, 0.5)]
    close(
        jax.jit(lambda x, q: tp.neighbor_sum(one, x, quantities=q, cutoff=CUTOFF, space=space))(x, q), expected, dtype
    )
    for env in (*lists, {"beads": 1.0, "list": lists[0]}):
        close(jax.jit(lambda x, env, q: tp.neighbor_sum(one, x, env, quantities=q))(x, env, q), expected, dtype)
    close(tp.neighbor_sum(one, x, hand_made(x, BOX, CUTOFF), quantities=q, space=space), expected, dtype)


@pytest.mark.parametrize("listed", mostly_slow([True, False], True))
def test_half_the_sum_of_a_potential_is_the_pair_energy_with_its_gradients(listed):
    x, _ = system(3)
    env = tp.neighbor_list(tp.periodic(BOX), CUTOFF).allocate(x) if listed else None

    def total(x, u, box):
        def each(r, own, partner):
            return 0.5 * u(jnp.sqrt(jnp.sum(r**2)))

        return jnp.sum(tp.neighbor_sum(each, x, env, cutoff=CUTOFF, space=tp.periodic(box)))

    arguments = x, jax.tree.map(jnp.asarray, U), jnp.asarray(BOX)
    by_sum = jax.jit(jax.value_and_grad(total, argnums=range(3)))(*arguments)
    of_pairs = jax.value_and_grad(lambda x, u, box: tp.pair_energy(u, tp.periodic(box))(x, env), argnums=range(3))
    close(by_sum, jax.jit(of_pairs)(*arguments))


@pytest.mark.slow
def test_second_derivatives_and_those_of_quantities_are_those_of_all_pairs():
    x, q = system(2)

    def norm(sums):
        return sum(jnp.sum(jnp.sin(y)) for y in jax.tree.leaves(sums))

    env = tp.neighbor_list(tp.periodic(BOX), CUTOFF).allocate(x)
    actual, expected = (
        jax.jit(jax.grad(lambda x, q, f=f: jnp.sum(jax.grad(lambda x, q: norm(f(x, q)))(x, q) ** 2), argnums=(0, 1)))(
            x, q
        )
        for f in (lambda x, q: tp.neighbor_sum(one, x, env, quantities=q), written_out)
    )
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9 * float(jnp.max(jnp.abs(b))))


@pytest.mark.slow
def test_vmap_over_systems_is_a_loop():
    systems = [system(3, seed=seed) for seed in range(3)]
    x, q = (jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts) for parts in zip(*systems, strict=True))
    lists = tp.neighbor_list(tp.periodic(BOX), CUTOFF).allocate_members(x)
    together = jax.jit(jax.vmap(lambda x, env, q: tp.neighbor_sum(one, x, env, quantities=q)))(x, lists, q)
    for k, (position, quantities) in enumerate(systems):
        close(jax.tree.map(lambda leaf, k=k: leaf[k], together), written_out(position, quantities))


@pytest.mark.slow
def test_coordination_numbers_of_a_crystal_of_many_atoms():
    crystal = tp.fcc(12, lattice_constant=1.0)
    env = tp.neighbor_list(crystal.space, 1.1).allocate(crystal.position)
    for cutoff, number in ((0.8, 12), (1.1, 18), (None, 18)):
        found = tp.neighbor_sum(lambda r, own, partner: True, crystal.position, env, cutoff=cutoff)
        np.testing.assert_array_equal(found, number)


@pytest.mark.slow
def test_nan_is_not_far_away_and_a_traced_cutoff_that_is_too_long_gives_nan():
    x, _ = system(3)
    env = tp.neighbor_list(tp.periodic(BOX), CUTOFF).allocate(x)

    def count(r, own, partner):
        return jnp.sum(r) * 0 + 1

    assert jnp.isnan(tp.neighbor_sum(count, x.at[3, 1].set(jnp.nan), env)[3])
    late = jax.jit(lambda cutoff: tp.neighbor_sum(count, x, env, cutoff=cutoff))
    assert jnp.all(jnp.isfinite(late(0.9 * CUTOFF))) and jnp.all(jnp.isnan(late(1.1 * CUTOFF)))
    assert tp.neighbor_sum(count, x[:0], space=tp.free()).shape == (0,)
