"""Lennard-Jones clusters relax to their minima, by every minimizer."""

import ase.cluster
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn import particles as tp

# energy of the global minimum: Wales and Doye, J. Phys. Chem. A 101, 5111 (1997), doi:10.1021/jp970984n
ENERGY = {13: -44.326801, 55: -279.248470}
SHELLS = {13: 2, 55: 3}
MINIMIZERS = {
    "gradient_descent": lambda energy: td.gradient_descent(energy, rate=2e-3, max_step=0.05),
    "fire": lambda energy: td.fire(energy, dt=0.01, max_step=0.1),
}


def icosahedron(count: int) -> jax.Array:
    """Return a Mackay icosahedron whose nearest neighbors are 1.1 apart."""
    position = ase.cluster.Icosahedron("Ar", SHELLS[count]).positions
    distance = np.linalg.norm(position[:, None] - position, axis=-1)
    return jnp.asarray(1.1 * position / np.min(distance[distance > 0]))


@pytest.mark.slow
@pytest.mark.parametrize("method", MINIMIZERS)
@pytest.mark.parametrize("count", ENERGY)
def test_clusters_relax_to_their_published_energy(count, method):
    dynamics = MINIMIZERS[method](tp.pair_energy(tp.lennard_jones(), tp.free()))
    start = dynamics.init(jax.random.key(0), icosahedron(count))
    assert start.energy > ENERGY[count] + 0.1
    out = td.run(dynamics, start, steps=5000, until=lambda state: td.tree.max_abs(state.force) < 1e-6)
    assert out.steps < 5000
    np.testing.assert_allclose(out.state.energy, ENERGY[count], rtol=0, atol=0.6e-6)
