"""Every derivative of a pair energy against plain autodiff of the sum written out pair by pair."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.particles.lists import hand_made, scattered, written_out
from treedyn.particles.energies._pair import pair_energy
from treedyn.particles.energies._parameters import BySpecies, by_particle, geometric_mean
from treedyn.particles.energies._potentials import lennard_jones, morse
from treedyn.particles.energies._truncation import force_shifted, shifted
from treedyn.particles.space._space import periodic

BOX = 6.0
COUNT = 20


def relative_error(a, b):
    """Return the largest difference of any leaf, in units of its largest number."""
    return max(
        float(jnp.max(jnp.abs(x - y)) / jnp.max(jnp.abs(y)))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def arguments(dimension):
    """Return positions, potential, box and strain at which nothing is zero, and a direction of differentiation."""
    rng = np.random.default_rng(dimension)
    u = jax.tree.map(jnp.asarray, force_shifted(morse(1.3, 2.0, 1.2), 2.5))
    strain = jnp.asarray(rng.normal(size=(dimension,) * 2) / 50)
    x = (scattered(COUNT, dimension, BOX), u, jnp.full(dimension, BOX), strain)
    return x, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), x)


def library(position, u, box, strain, env):
    return pair_energy(u, periodic(box))(position, env, strain=strain)


def plain(position, u, box, strain):
    return written_out(lambda i, j, r: u(r), position, box, strain)


def first(f, x, v):
    """Return the gradient by reverse mode and the slope by forward mode."""
    return jax.value_and_grad(f, argnums=range(4))(*x), jax.jvp(f, x, v)[1]


def second(f, x, v):
    """Return the Hessian times a vector by all four orders of forward and reverse."""
    gradient = jax.grad(f, argnums=range(4))

    def along(*x):
        return jax.jvp(f, x, v)[1]

    def project(*x):
        return sum(jnp.sum(g * t) for g, t in zip(jax.tree.leaves(gradient(*x)), jax.tree.leaves(v), strict=True))

    each = [jax.jvp(gradient, x, v)[1], jax.grad(project, argnums=range(4))(*x), jax.grad(along, argnums=range(4))(*x)]
    return each, jax.jvp(along, x, v)[1]


def third(f, x, v):
    """Return the gradient of the curvature along a vector."""
    return jax.grad(lambda *x: jax.jvp(lambda *x: jax.jvp(f, x, v)[1], x, v)[1], argnums=range(4))(*x)


@pytest.mark.parametrize(
    ("order", "dimension", "listed"),
    [
        (first, 2, False),
        (first, 3, True),
        pytest.param(second, 2, False, marks=pytest.mark.slow),
        pytest.param(third, 2, True, marks=pytest.mark.slow),
    ],
)
def test_derivatives_with_respect_to_everything_are_those_of_the_sum_over_pairs(order, dimension, listed):
    x, v = arguments(dimension)
    f = functools.partial(library, env=hand_made(x[0], BOX, 2.6) if listed else None)
    actual, expected = (jax.jit(functools.partial(order, energy))(x, v) for energy in (f, plain))
    assert relative_error(actual, expected) < 1e-10


@pytest.mark.slow
def test_gradients_of_tables_and_of_numbers_per_particle_are_those_of_the_sum_over_pairs():
    x = scattered(COUNT, 3, BOX)
    species = np.arange(COUNT) % 2
    table, values = jnp.array([[1.0, 1.5], [1.5, 0.5]]), jnp.linspace(0.8, 1.2, COUNT)

    def ours(x, table, values, env):
        u = lennard_jones(BySpecies(table=table, species=jnp.asarray(species)), by_particle(values, geometric_mean))
        return pair_energy(shifted(u, 2.5), periodic(BOX))(x, env)

    def reference(x, table, values):
        def u(i, j, r):
            kinds = jnp.asarray(species)[i], jnp.asarray(species)[j]
            return shifted(lennard_jones(table[kinds], jnp.sqrt(values[i] * values[j])), 2.5)(r)

        return written_out(u, x, BOX)

    expected = list(jax.jit(jax.grad(reference, argnums=range(3)))(x, table, values))
    # pairs are not ordered, so both entries of the table share the derivative
    expected[1] = (expected[1] + expected[1].T) / 2
    for env in (None, hand_made(x, BOX, 2.5)):
        actual = jax.jit(jax.grad(functools.partial(ours, env=env), argnums=range(3)))(x, table, values)
        assert relative_error(actual, tuple(expected)) < 1e-12


@pytest.mark.slow
def test_reverse_mode_through_a_trajectory_is_that_of_the_sum_over_pairs():
    x = scattered(COUNT, 3, BOX, apart=1.0)
    u = jax.tree.map(jnp.asarray, force_shifted(morse(1.3, 2.0, 1.2), 2.5))

    def end(energy, x, u):
        def step(state, _):
            x, p = state
            p = p - 0.01 * jax.grad(energy)(x, u)
            return (x + 0.01 * p, p), None

        (x, p), _ = jax.lax.scan(step, (x, jnp.zeros_like(x)), length=5)
        return jnp.sum(x**3) + jnp.sum(p**2)

    neighbors = hand_made(x, BOX, 2.8)
    energies = (lambda x, u: pair_energy(u, periodic(BOX))(x, neighbors), lambda x, u: plain(x, u, BOX, None))
    actual, expected = (jax.jit(jax.grad(functools.partial(end, f), argnums=(0, 1)))(x, u) for f in energies)
    assert relative_error(actual, expected) < 1e-10


@pytest.mark.slow
def test_vmap_over_systems_lists_and_parameters_is_a_loop():
    systems = jnp.stack([scattered(COUNT, 3, BOX, seed) for seed in range(3)])
    lists = [hand_made(x, BOX, 2.5) for x in systems]
    batch = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *lists)
    depth = jnp.array([0.5, 1.0, 2.0])

    def energy(x, depth, env):
        return pair_energy(shifted(lennard_jones(depth), 2.5), periodic(BOX))(x, env)

    def evaluate(x, depth, env):
        return jax.value_and_grad(energy, argnums=(0, 1))(x, depth, env)

    loop = [jax.jit(evaluate)(x, e, None) for x, e in zip(systems, depth, strict=True)]
    expected = jax.tree.map(lambda *leaves: jnp.stack(leaves), *loop)
    assert relative_error(jax.jit(jax.vmap(evaluate, in_axes=(0, 0, None)))(systems, depth, None), expected) < 1e-13
    assert relative_error(jax.jit(jax.vmap(evaluate))(systems, depth, batch), expected) < 1e-13
    through = jax.jit(jax.grad(lambda x, e: jnp.sum(jax.vmap(energy)(x, e, batch)), argnums=(0, 1)))(systems, depth)
    assert relative_error(through, expected[1]) < 1e-13


def test_vmap_over_strain_alone_gives_the_stress_of_one_direction_each():
    x, _ = arguments(3)
    slope = jax.jit(jax.grad(library, argnums=3))(*x[:3], jnp.zeros((3, 3)), None)
    directions = jnp.eye(9).reshape(9, 3, 3)
    along = jax.vmap(lambda v: jax.jvp(lambda s: library(*x[:3], s, None), (jnp.zeros((3, 3)),), (v,))[1])
    each = jax.jit(along)(directions)
    np.testing.assert_allclose(each.reshape(3, 3), slope, rtol=1e-12)


def test_forces_never_scatter():
    x = scattered(COUNT, 3, BOX)
    energy = pair_energy(shifted(lennard_jones(), 2.5), periodic(BOX))
    program = str(jax.make_jaxpr(jax.value_and_grad(energy))(x, hand_made(x, BOX, 2.5)))
    assert "gather" in program
    assert "scatter" not in program


def test_new_numbers_do_not_retrace():
    traces = []

    def u(r):
        traces.append(r)
        return jnp.exp(-r)

    force = jax.jit(lambda energy, x, env: jax.grad(energy)(x, env))
    x = scattered(COUNT, 3, BOX)
    for seed, cutoff in enumerate((2.4, 2.5)):
        force(pair_energy(u, periodic(BOX + seed), cutoff=cutoff), x + seed, hand_made(x, BOX, 2.8))
        seen = seen if seed else len(traces)
    assert len(traces) == seen > 0
