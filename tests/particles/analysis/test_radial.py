"""The radial distribution function of an ideal gas, of crystals, and from an independent count of pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from treedyn import particles as tp
from treedyn import stream
from treedyn.particles.analysis._radial import radial_distribution
from treedyn.stream import Count

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(5)


def same(x):
    return x


def after(reducer, states, env=None):
    carry = reducer.init(states[0], env)
    for x in states:
        carry = reducer.update(carry, x, env)
    return reducer.result(carry)


def by_hand(space, x, edges, first=None, second=None):
    """Return how many ordered pairs are in every bin."""
    x = np.asarray(x)
    n = len(x)
    first, second = (np.arange(n) if group is None else group for group in (first, second))
    i, j = (k.reshape(-1) for k in np.meshgrid(first, second, indexing="ij"))
    distance = np.asarray(space.distance(jnp.asarray(x[i[i != j]]), jnp.asarray(x[j[i != j]])))
    return np.histogram(distance[distance < edges[-1]], edges)[0]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_ideal_gas_has_one_everywhere(dimension):
    n, states, box = 40, 60, 5.0
    out = after(
        radial_distribution(tp.periodic(box), bins=8, cutoff=2.4, select=same),
        jnp.asarray(RNG.random((states, n, dimension)) * box),
    )
    # pairs of an ideal gas are uncorrelated, so the number in a bin is nearly Poisson distributed
    sigma = 1 / np.sqrt(np.asarray(out.pairs) / 2)
    assert np.all(np.abs(out.g - 1) < 5 * sigma)
    assert abs(np.mean((out.g - 1) / sigma)) < 5 / np.sqrt(8)
    # the test is sharp enough to tell N (N - 1) from N^2
    total = float(np.sum(out.pairs))
    ideal = states * n * (n - 1) * float(np.sum(np.diff(_volume(np.asarray(out.edges), dimension)))) / box**dimension
    assert abs(total / ideal - 1) < 5 / np.sqrt(total / 2) < abs(n / (n - 1) - 1) * 5


def _volume(r, dimension):
    return {1: 2 * r, 2: np.pi * r**2, 3: 4 / 3 * np.pi * r**3}[dimension]


@pytest.mark.parametrize(
    ("lattice", "density", "shells"),
    [
        (tp.fcc, 4.0, [(np.sqrt(1 / 2), 12), (1.0, 6), (np.sqrt(3 / 2), 24), (np.sqrt(2), 12)]),
        (tp.bcc, 2.0, [(np.sqrt(3 / 4), 8), (1.0, 6), (np.sqrt(2), 12)]),
        (tp.sc, 1.0, [(1.0, 6), (np.sqrt(2), 12)]),
    ],
)
def test_crystal_has_its_shells_and_coordination_numbers(lattice, density, shells):
    crystal = lattice(3, density=density)
    out = after(radial_distribution(crystal.space, bins=149, cutoff=1.49, select=same), [crystal.position])
    filled = np.flatnonzero(out.pairs)
    n = len(crystal.position)
    assert [int(out.pairs[k]) for k in filled] == [n * number for _, number in shells]
    for k, (distance, _) in zip(filled, shells, strict=True):
        assert out.edges[k] - 1e-12 <= distance <= out.edges[k + 1] + 1e-12
    np.testing.assert_allclose(out.coordination[-1], sum(number for _, number in shells), rtol=1e-14)
    # density times the integral of g is the number of neighbors, up to the factor 1 - 1/N
    shell = np.diff(_volume(np.asarray(out.edges), 3))
    np.testing.assert_allclose(
        np.sum(np.asarray(out.g) * shell) * density * (n - 1) / n, out.coordination[-1], rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [jnp.float32])
def test_counts_are_those_by_hand_in_a_skew_cell_and_by_species(dtype):
    space = tp.triclinic([[6.0, 0.0, 0.0], [2.0, 5.5, 0.0], [0.5, 0.3, 7.0]])
    states = [jnp.asarray(RNG.random((31, 3)) * 6.0, dtype) for _ in range(3)]
    species = RNG.integers(0, 2, size=31)
    out = after(radial_distribution(space, 7, 2.4, select=same, species=species), states)
    assert out.g.shape == (2, 2, 7) and out.g.dtype == dtype
    groups = [np.flatnonzero(species == a) for a in range(2)]
    for a in range(2):
        for b in range(2):
            exact = sum(by_hand(space, x, np.linspace(0, 2.4, 8), groups[a], groups[b]) for x in states)
            np.testing.assert_array_equal(out.pairs[a, b], exact)
    plain = after(radial_distribution(space, 7, 2.4, select=same), states)
    np.testing.assert_array_equal(plain.pairs, np.sum(out.pairs, axis=(0, 1)))


@pytest.mark.parametrize("moved", [0.0, 3.0])
@pytest.mark.parametrize("reach", [2.0, 1.0])
def test_neighbor_list_gives_the_same_pairs_and_is_used_only_where_it_holds(moved, reach):
    space = tp.periodic(8.0)
    x = jnp.asarray(RNG.random((130, 3)) * 8.0)
    env = {"lists": tp.neighbor_list(space, cutoff=reach, skin=0.3).allocate(x), "other": 1.0}
    reducer = radial_distribution(space, 10, 2.0, select=same)
    # every other particle moves, so that distances change
    x = space.shift(x, jnp.where(jnp.arange(130)[:, None] % 2 == 0, moved, 0.0) * jnp.ones((130, 3)))
    with_list, without = after(reducer, [x], env), after(reducer, [x])
    np.testing.assert_array_equal(with_list.pairs, without.pairs)
    assert np.sum(without.pairs) > 1000


def test_pairs_are_taken_from_the_list_where_it_holds():
    space = tp.periodic(8.0)
    x = jnp.asarray(RNG.random((130, 3)) * 8.0)
    lists = tp.neighbor_list(space, cutoff=2.0, skin=0.3).allocate(x)
    emptied = lists.replace(filled=jnp.zeros_like(lists.filled))
    assert np.sum(after(radial_distribution(space, 10, 2.0, select=same), [x], emptied).pairs) == 0


def test_tiles_do_not_matter(monkeypatch):
    space = tp.periodic(8.0)
    x = jnp.asarray(RNG.random((101, 2)) * 8.0)
    reducer = radial_distribution(space, 10, 3.0, select=same)
    exact = after(reducer, [x]).pairs
    monkeypatch.setattr("treedyn.particles.analysis._radial._TILE", 300)
    jax.clear_caches()
    np.testing.assert_array_equal(after(reducer, [x]).pairs, exact)
    jax.clear_caches()


def test_batch_equals_its_members_and_merges_to_one():
    space = tp.periodic(6.0)
    reducer = radial_distribution(space, 5, 2.5, select=same)
    x = jnp.asarray(RNG.random((2, 4, 20, 3)) * 6.0)

    def feed(states):
        return jax.lax.scan(lambda c, s: (reducer.update(c, s), None), reducer.init(states[0]), states)[0]

    batch = jax.vmap(feed)(x)
    a, b = (jax.tree.map(lambda leaf, k=k: leaf[k], batch) for k in range(2))
    np.testing.assert_array_equal(reducer.result(a).pairs, after(reducer, x[0]).pairs)
    merged = reducer.result(stream.merge(reducer, a, b))
    np.testing.assert_allclose(merged.g, after(reducer, x.reshape(8, 20, 3)).g, rtol=1e-14)


def test_pairs_are_counted_beyond_32_bits():
    space, x = tp.periodic(6.0), jnp.asarray(RNG.random((20, 3)) * 6.0)
    reducer = radial_distribution(space, 1, 3.0, select=same)
    carry = reducer.update(reducer.init(x), x)
    seen = int(carry["pairs"].low[0, 0, 0])
    carry["pairs"] = Count(low=jnp.full((1, 1, 1), 2**32 - 1, jnp.uint32), high=carry["pairs"].high)
    assert float(reducer.result(reducer.update(carry, x)).pairs[0]) == 2.0**32 - 1 + seen


def test_free_space_takes_a_volume():
    x = jnp.array([[0.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match="volume: expected a space"):
        radial_distribution(tp.free(), 2, 2.0, select=same).init(x)
    out = after(radial_distribution(tp.free(), 2, 2.0, volume=4 * np.pi, select=same), [x])
    np.testing.assert_allclose(out.g, [0.0, 4 / 3], rtol=1e-14)


def test_a_cutoff_and_species_that_do_not_fit_the_points_are_refused():
    space, x = tp.periodic(6.0), jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"cutoff: .* half of the smallest box height"):
        tp.radial_distribution(space, 5, 3.1, select=same).init(x)
    with pytest.raises(ValueError, match="species: expected one for each of the 2 points"):
        tp.radial_distribution(space, 5, 2.0, species=[0, 1, 1], select=same).init(x)
