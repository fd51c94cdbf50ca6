"""The metric with correlations: its algebra, its estimate from samples, and what it gains in a warm-up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_close, assert_same_bits
from treedyn.metric import Diagonal, LowRank
from treedyn.montecarlo import low_rank

KEY = jax.random.key(0)
SAME = Diagonal(mass=jnp.ones(()))


def rotated(stiffness, seed=0):
    """Return a matrix with these eigenvalues."""
    vectors = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(stiffness),) * 2))[0]
    return jnp.asarray(vectors * stiffness @ vectors.T)


@pytest.mark.parametrize("kind", [jnp.float32, jnp.float64])
def test_the_metric_is_that_of_its_matrix(kind):
    mass = jnp.array([[1.0, 4.0, 0.25], [9.0, 2.0, 1.0]], kind)
    directions = jnp.linalg.qr(jax.random.normal(KEY, (6, 2), kind))[0].T.reshape(2, 2, 3)
    own = LowRank(mass=mass, directions=directions, factors=jnp.array([100.0, 0.01], kind))
    root, u = np.sqrt(np.diag(mass.ravel())), np.asarray(directions).reshape(2, 6)
    dense = root @ (np.eye(6) + (u.T * (np.asarray(own.factors) - 1)) @ u) @ root
    p = jax.random.normal(jax.random.key(1), (2, 3), kind)
    tol = 100 * float(jnp.finfo(kind).eps) * np.linalg.cond(dense)
    flat = np.asarray(p).ravel()
    velocity = np.linalg.solve(dense, flat)
    np.testing.assert_allclose(own.velocity(p, p).ravel(), velocity, rtol=tol, atol=tol)
    np.testing.assert_allclose(jnp.sum(own.twice_kinetic(p, p)), flat @ velocity, rtol=tol)
    spread = jax.jacobian(lambda xi: own.thermal(p, xi, jnp.asarray(0.5, kind)))(p).reshape(6, 6)
    np.testing.assert_allclose(spread @ spread.T, dense / 2, rtol=tol, atol=tol)
    assert own.degrees(p) == 6


@pytest.mark.slow
def test_forces_of_a_well_give_its_stiffness_to_the_factor_at_which_directions_are_left_out():
    stiffness = rotated(np.geomspace(1e-2, 1e4, 12))
    rule = low_rank(rank=12, samples=40)
    old = rule.start(SAME, jnp.zeros((3, 4)), td.euclidean())
    carry = rule.begin(jnp.zeros((3, 4)))
    for x in np.random.default_rng(1).normal(size=(30, 12)) @ np.linalg.cholesky(np.linalg.inv(stiffness)).T + 5:
        carry = rule.add(carry, jnp.asarray(x.reshape(3, 4)), jnp.asarray((-stiffness @ (x - 5)).reshape(3, 4)))
    found = rule.mass(jax.tree.map(lambda x: x[None], carry), old, td.euclidean(), 1.0)
    inverse = jax.vmap(lambda p: found.velocity(p, p).ravel())(jnp.eye(12).reshape(12, 3, 4))
    left = np.sort(np.linalg.eigvals(np.asarray(inverse @ stiffness)).real)
    assert left[0] > 0.499 and left[-1] < 2.001


def test_samples_that_say_nothing_leave_the_metric_as_it_was():
    rule = low_rank(rank=2, samples=5)
    old = rule.start(SAME, jnp.zeros(3), td.euclidean())
    same = jax.tree.map(lambda x: x[None], rule.add(rule.begin(jnp.zeros(3)), jnp.ones(3), jnp.ones(3)))
    for carry in (jax.tree.map(lambda x: x[None], rule.begin(jnp.zeros(3))), same):
        assert_same_bits(rule.mass(carry, old, td.euclidean(), 1.0), old)


@pytest.mark.slow
def test_a_rotated_well_takes_a_tenth_of_the_gradients_that_the_masses_of_its_elements_take():
    stiffness = rotated(np.geomspace(1, 1e4, 20))
    gains = []
    for rule in (td.montecarlo.fisher(), low_rank(rank=10)):
        chain = td.warm_up(td.nuts(lambda x: x @ stiffness @ x / 2, dt=0.01), steps=400, metric=rule)
        chains = td.ensemble(chain, 2)
        start = chains.init(KEY, jnp.zeros(20))
        out = td.run(chains, start, steps=900, record=lambda s: (s.position, s.info.steps))
        draws, steps = (np.asarray(x)[400:] for x in out.records)
        gains.append(np.min(td.effective_sample_size(draws)) / steps.sum())
    error = td.monte_carlo_error(draws**2)
    assert np.all(np.abs(np.mean(draws**2, axis=(0, 1)) - np.diag(np.linalg.inv(stiffness))) < 5 * error)
    assert gains[1] > 10 * gains[0]


@pytest.mark.slow
@pytest.mark.parametrize("pool", [True, False])
def test_leaves_of_many_kinds_are_tuned_each_by_itself_in_pieces_as_in_one_run(pool):
    def energy(x):
        along = x["a"].sum().astype(float)
        return 50 * along**2 + jnp.sum(x["a"] ** 2).astype(float) + jnp.sum(x["b"] ** 4) + x["c"] ** 2 + jnp.sum(x["d"])

    place = {"a": jnp.ones((2, 3), jnp.float32), "b": jnp.ones(50), "c": jnp.array(1.0), "d": jnp.ones(2), "name": "x"}
    mass = {"a": 1.0, "b": 1.0, "c": 1.0, "d": jnp.inf, "name": None}
    inner = td.hmc(energy, dt=0.05, steps=5, mass=mass)
    chain = td.warm_up(inner, steps=200, metric=low_rank(rank=3, samples=40), pool=pool)
    chains = td.ensemble(chain, 3)
    whole = td.run(chains, chains.init(KEY, place), steps=240).state
    half = td.run(chains, chains.init(KEY, place), steps=43, chunk=9).state
    assert_same_bits(td.run(chains, half, steps=197).state, whole)
    found = chain.tuned(whole).inner.splitting.mass
    found = found if pool else jax.tree.map(lambda x: x[0], found.values)
    assert found["a"].mass.dtype == jnp.float32 and found["b"].directions.shape == (3, 50)
    assert np.all(np.isinf(found["d"].mass))
    # the stiff direction of `a` is that of its sum
    stiffest = found["a"].directions[jnp.argmax(found["a"].factors)]
    assert abs(float(jnp.sum(stiffest)) / 6**0.5) > 0.99
    later = td.run(chains, whole, steps=2).state
    assert_close(td.run(chain.tuned(whole), whole, steps=2).state.moving, later.moving)


def test_what_has_no_low_rank_metric_is_refused():
    sphere = td.hmc(lambda x: x[2], dt=0.1, steps=2, space=td.sphere())
    with pytest.raises(ValueError, match="low_rank expected leaves in flat space, got one on a Sphere"):
        td.warm_up(sphere, steps=10, metric=low_rank()).init(KEY, jnp.array([0.0, 0.0, 1.0]))
    for bad in ({"rank": 0}, {"samples": 1}, {"rank": 1.5}):
        with pytest.raises(ValueError, match=next(iter(bad))):
            low_rank(**bad)
    metric = LowRank(mass=jnp.ones(2), directions=jnp.zeros((1, 2)), factors=jnp.ones(1))
    with pytest.raises(ValueError, match="kT: expected one number for a leaf with a LowRank metric"):
        metric.thermal(jnp.ones(2), jnp.ones(2), jnp.ones(2))
