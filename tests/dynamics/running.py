"""Compiled helpers that start and run a dynamics, and energies that several files use."""

import jax
import jax.numpy as jnp

KEY = jax.random.key(0)


@jax.jit
def begin(dynamics, position, momentum=None, kT=None):
    given = {"momentum": momentum, "kT": kT}
    return dynamics.init(KEY, position, **{name: value for name, value in given.items() if value is not None})


@jax.jit
def run(dynamics, state, steps):
    return jax.lax.fori_loop(0, steps, lambda _, s: dynamics.step(s), state)


def nothing(position):
    """Return an energy without force, which leaves the bath alone."""
    return sum(0 * jnp.sum(leaf) for leaf in jax.tree.leaves(position))


def harmonic(x):
    return jnp.sum(x**2) / 2
