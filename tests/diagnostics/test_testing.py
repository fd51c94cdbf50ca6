"""The helpers for authors of new methods see what they are there to see."""

import jax
import jax.numpy as jnp
import pytest

import treedyn as td
from treedyn import operators
from treedyn.testing import convergence_order, flat_difference, reversal_error

KEY = jax.random.key(0)
POSITION = {"a": jnp.array([0.5, -0.2]), "b": jnp.array(1.0)}


def energy(x):
    return jnp.sum(x["a"] ** 4) + jnp.sum(x["a"]) * x["b"] + x["b"] ** 2


class Lopsided(operators.Kick):
    """Forgets every leaf but the first."""

    def apply(self, state, h, noise, memory):
        new, memory = super().apply(state, h, noise, memory)
        leaves, structure = jax.tree.flatten(new.momentum)
        rest = jax.tree.leaves(state.momentum)[1:]
        return new.replace(momentum=jax.tree.unflatten(structure, [leaves[0], *rest])), memory


def test_flat_difference_is_round_off_for_a_method_that_works_on_any_tree():
    assert flat_difference(lambda f: td.langevin(f, 0.1, 1.0), energy, KEY, POSITION) < 1e-13


def test_flat_difference_sees_a_method_that_treats_leaves_differently():
    A, B = operators.drift(td.euclidean()), Lopsided()
    assert flat_difference(lambda f: td.compose(f, (B, A, B), 0.1), energy, KEY, POSITION) > 1e-3


def test_reversal_error_sees_friction():
    dynamics = td.berendsen(energy, dt=0.1, kT=1.0, tau=1.0)
    assert reversal_error(dynamics, dynamics.init(KEY, POSITION), steps=20) > 1e-2


@pytest.mark.parametrize("dts", [(0.1,), (0.1, 0.03)])
def test_convergence_order_needs_steps_that_divide_the_time(dts):
    with pytest.raises(ValueError, match=r"dts: expected at least two time steps that divide time=1\.0"):
        convergence_order(lambda dt: td.nve(energy, dt), lambda d: d.init(KEY, POSITION), time=1.0, dts=dts)
