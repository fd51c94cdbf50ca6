"""Crystals: neighbor shells, density, and every site once inside the box."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.particles.lists import hand_made
from treedyn.particles.space._lattice import bcc, diamond, fcc, hcp, hexagonal, sc

# sites per cell, then number and distance (in lattice constants) of the nearest and of the second neighbors
SHELLS = {
    sc: (1, 6, 1.0, 12, np.sqrt(2)),
    bcc: (2, 8, np.sqrt(3) / 2, 6, 1.0),
    fcc: (4, 12, np.sqrt(1 / 2), 6, 1.0),
    diamond: (8, 4, np.sqrt(3) / 4, 12, np.sqrt(1 / 2)),
    hcp: (4, 12, 1.0, 6, np.sqrt(2)),
    hexagonal: (2, 6, 1.0, 6, np.sqrt(3)),
}
crystals = pytest.mark.parametrize("make", SHELLS, ids=lambda make: make.__name__)


@crystals
def test_every_site_has_the_neighbors_of_its_crystal(make):
    sites, near, distance, far, further = SHELLS[make]
    crystal = make(4, lattice_constant=1.3)
    dimension = crystal.position.shape[1]
    assert crystal.position.shape[0] == sites * 4**dimension
    for shell, reach in ((near, distance), (near + far, further)):
        neighbors = hand_made(crystal.position, np.asarray(crystal.box), 1.3 * reach * 1.001, spare=0)
        used = np.asarray(neighbors.partners) != np.arange(len(crystal.position))
        np.testing.assert_array_equal(used.sum(axis=0), shell)
    assert np.all(np.asarray(crystal.position) >= 0)
    assert np.all(np.asarray(crystal.position) < np.asarray(crystal.box))


@crystals
@given(density=st.floats(0.01, 10.0))
def test_density_and_lattice_constant_give_the_same_crystal(make, density):
    crystal = make(2, density=density)
    np.testing.assert_allclose(crystal.density, density, rtol=1e-12)
    np.testing.assert_allclose(crystal.space.volume(len(crystal.box)), crystal.position.shape[0] / density, rtol=1e-12)
    constant = float(crystal.box[0]) / 2
    np.testing.assert_allclose(make(2, lattice_constant=constant).position, crystal.position, rtol=1e-12)


def test_repeats_may_differ_between_axes():
    crystal = fcc((1, 2, 3), lattice_constant=2.0)
    np.testing.assert_allclose(crystal.box, [2, 4, 6])
    assert crystal.position.shape == (24, 3)


def test_a_crystal_is_differentiable_with_respect_to_its_density():
    slope = jax.grad(lambda density: jnp.sum(sc(2, density=density).box))(1.0)
    np.testing.assert_allclose(slope, 3 * 2 * -1 / 3)
    assert [x.dtype for x in jax.tree.leaves(fcc(1, density=1.0))] == [jnp.float64] * 2


def test_density_and_lattice_constant_together_are_refused():
    with pytest.raises(ValueError, match="lattice_constant, density: expected one of the two"):
        fcc(2, density=1.0, lattice_constant=1.0)
