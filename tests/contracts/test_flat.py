"""The tree is only a way to write a vector: the same noise moves both the same way."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import (
    KEY,
    METHODS,
    TREES,
    VARIANTS,
    assert_close,
    energy,
    lowest,
    make,
    masses,
    moving_leaves,
    table,
    tolerance,
)


class Flattener:
    """Map trees like the moving part of `position` to vectors of the widest dtype, and vectors to positions."""

    def __init__(self, position):
        self.part, self.static = eqx.partition(position, eqx.is_inexact_array)
        self.leaves, self.structure = jax.tree.flatten(self.part)
        self.kind = np.result_type(*[leaf.dtype for leaf in self.leaves])
        self.ends = np.cumsum([leaf.size for leaf in self.leaves])[:-1].tolist()

    def vector(self, tree):
        return jnp.concatenate([leaf.reshape(-1).astype(self.kind) for leaf in jax.tree.leaves(tree)])

    def position(self, vector):
        pieces = zip(jnp.split(vector, self.ends), self.leaves, strict=True)
        leaves = [piece.reshape(leaf.shape).astype(leaf.dtype) for piece, leaf in pieces]
        return eqx.combine(jax.tree.unflatten(self.structure, leaves), self.static)

    def anywhere(self, tree):
        """Return `tree` with every subtree that looks like the moving part, or a stack of it, turned into vectors."""

        def stacked(x):
            """Return how many axes are in front of those of the moving part; `None` for anything else."""
            if jax.tree.structure(x) != self.structure:
                return None
            pairs = list(zip(jax.tree.leaves(x), self.leaves, strict=True))
            lead = {y.shape[: y.ndim - leaf.ndim] for y, leaf in pairs}
            fits = all(y.shape[y.ndim - leaf.ndim :] == leaf.shape for y, leaf in pairs)
            return len(lead.pop()) if len(lead) == 1 and fits else None

        def vectors(x):
            return {0: self.vector, 1: jax.vmap(self.vector)}.get(stacked(x), lambda x: x)(x)

        return jax.tree.map(vectors, tree, is_leaf=lambda x: stacked(x) in (0, 1))


def spread(mass, leaves):
    return [jnp.full(leaf.shape, m) for m, leaf in zip(jax.tree.leaves(mass), leaves, strict=True)]


@table(without=VARIANTS)
def test_trajectory_is_that_of_the_flat_vector_given_the_same_noise(method, name, dtype):
    position = TREES[name](dtype)
    flat = Flattener(position)
    tree_dynamics = make(method, mass=masses(position))
    flat_dynamics = make(
        method, lambda v: energy(flat.position(v)), mass=flat.vector(spread(masses(position), moving_leaves(position)))
    )
    state = tree_dynamics.init(KEY, position)
    given = {"momentum": flat.vector(state.momentum)} if METHODS[method].inertial else {}
    vector_state = flat_dynamics.init(KEY, flat.vector(flat.part), **given)
    alike = method not in ("lbfgs", "warm_up")  # which remember stacks and means of leaves, and none at first
    if alike:
        memory = flat.anywhere(state.memory)
        assert jax.tree.structure(memory) == jax.tree.structure(vector_state.memory)
        vector_state = vector_state.replace(memory=memory)
    for _ in range(3):
        noises = tree_dynamics.draw(state)
        count = {"step": state.step + 1}
        state = tree_dynamics.apply(state, None, noises).replace(**count)
        given_noise = flat.anywhere(noises) if METHODS[method].noisy else flat_dynamics.draw(vector_state)
        vector_state = flat_dynamics.apply(vector_state, None, given_noise).replace(**count)
    tol = tolerance(lowest(position))
    assert_close(flat.vector(moving_leaves(state.position)), vector_state.position, tol)
    if alike:
        assert_close(flat.anywhere(state.memory), vector_state.memory, tol)
    assert_close(state.energy, vector_state.energy, tol)
    if METHODS[method].inertial:
        assert_close(flat.vector(state.momentum), vector_state.momentum, tol)


@pytest.mark.parametrize("method", [m for m in METHODS if METHODS[m].noisy])
def test_step_is_draw_then_apply(method):
    dynamics = make(method)
    state = dynamics.init(KEY, TREES["dict"](jnp.float64))
    taken = dynamics.apply(state, None, dynamics.draw(state))
    assert_close(dynamics.step(state), taken.replace(step=state.step + 1), tol=0)
