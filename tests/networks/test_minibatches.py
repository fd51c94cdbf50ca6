"""Minibatches: which rows are seen, and the exact moments of samples from noisy forces."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_same_bits
from treedyn import networks
from treedyn.networks import likelihood, prior

KEY = jax.random.key(0)
X, Y = jnp.array([0.5, -1, 1.5, 2, -0.5, 1]), jnp.array([0.8, -1.1, 1.2, 2.5, 0.1, 0.4])
MEAN, VARIANCE = 0.981560284, 0.028368794
TARGET = networks.posterior(lambda t, x: t * x, likelihood.gaussian(0.5), prior.gaussian(2.0))
SUBSETS = np.array(list(itertools.combinations(range(6), 2)), np.int32)
REPEATED = np.array(list(itertools.product(range(6), repeat=2)), np.int32)
PAIRS = itertools.permutations(map(tuple, SUBSETS), 3)
ORDERS = np.array([sum(pairs, ()) for pairs in PAIRS if len(set(sum(pairs, ()))) == 6], np.int32)


def with_rows(env, rows):
    return env.replace(rows=env.rows.replace(rows=jnp.asarray(rows)[None]))


@jax.jit
def step_moments(sampler, env, rows):
    """Return the factor, the offset and the noise of a step of SGLD with these rows."""

    def moved(t, xi):
        now = with_rows(env, rows)
        state = sampler.init(KEY, t, now)
        return sampler.apply(state, now, jax.tree.map(lambda _: xi, sampler.draw(state)))

    def end(t, xi):
        return moved(t, xi).position

    zero = jnp.zeros(())
    return jax.grad(end)(zero, zero), end(zero, zero), jax.grad(end, argnums=1)(zero, zero)


def stationary(steps):
    """Return mean and variance of t' = a t + c + s xi, where (a, c, s) is one of these, each as probable as another."""
    a, c, s = map(np.asarray, steps)
    mean = np.mean(c) / (1 - np.mean(a))
    square = (np.mean(2 * a * c) * mean + np.mean(c**2 + s**2)) / (1 - np.mean(a**2))
    return mean, square - mean**2


def followed(first, second):
    """Return the step (a, c, s) of two steps in turn."""
    (a, c, s), (b, d, t) = first, second
    return b * a, b * c + d, np.hypot(b * s, t)


def all_steps(target, h, rows, data):
    env = networks.batches(KEY, data, size=2)
    return jax.vmap(lambda own: step_moments(networks.sgld(target, h), env, own))(jnp.asarray(rows))


EXACT = {
    "subsets": (SUBSETS, {0.02: (MEAN, 0.089505277), 0.005: (MEAN, 0.037605433)}),
    "independent": (REPEATED, {0.02: (MEAN, 0.104136850), 0.005: (MEAN, 0.039294960)}),
    "epochs": (ORDERS, {0.02: (1.024200944, 0.080405173), 0.005: (0.989766286, 0.030855655)}),
}


@pytest.mark.parametrize("h", [0.02, 0.005])
@pytest.mark.parametrize("rows", EXACT)
def test_moments_of_sgld_are_exact_for_every_way_to_draw_minibatches(rows, h):
    possible, exact = EXACT[rows]
    if rows == "epochs":
        first, second, third = (all_steps(TARGET, h, possible[:, k : k + 2], (X, Y)) for k in (0, 2, 4))
        steps = followed(followed(first, second), third)
    else:
        steps = all_steps(TARGET, h, possible, (X, Y))
    np.testing.assert_allclose(stationary(steps), exact[h], atol=1e-8)


@pytest.mark.parametrize("h", [0.02, 0.005])
def test_moments_with_all_data_and_with_a_control_variate_are_exact(h):
    whole = networks.sgld(TARGET, h)
    state = whole.init(KEY, jnp.array(0.0), (X, Y))
    found = td.certify(whole, state, (X, Y))
    full = {0.02: 0.043812810, 0.005: 0.031110398}[h]
    np.testing.assert_allclose([found.position_mean, found.position_covariance[0, 0]], [MEAN, full], atol=1e-8)
    better = networks.control_variate(TARGET, jnp.asarray(MEAN), (X, Y))
    less = {0.02: 0.053133904, 0.005: 0.032110363}[h]
    np.testing.assert_allclose(stationary(all_steps(better, h, SUBSETS, (X, Y))), (MEAN, less), atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("rows", EXACT)
def test_chains_have_the_exact_moments(rows):
    h, members, epochs = 0.02, 40_000, 40
    sampler = td.ensemble(networks.sgld(TARGET, h), members)
    env = networks.batches(KEY, (X, Y), size=2, rows=rows, members=members)
    state = sampler.init(KEY, jnp.array(MEAN), env)
    out = td.run(sampler, state, env, steps=3 * epochs).state.position
    mean, variance = EXACT[rows][1][h]
    error = np.sqrt(variance / members)
    assert abs(np.mean(out) - mean) < 4 * error
    assert abs(np.var(out) - variance) < 4 * np.sqrt(2 / members) * variance


@pytest.mark.parametrize(
    ("splitting", "fresh", "xx", "pp"),
    [
        ("BAOAB", True, 1.20269315, 1.19267972),
        ("OBABO", True, 1.21480766, 1.19867286),
        ("BAOAB", False, 1.40538631, 1.35535944),
        ("OBABO", False, 1.41548732, 1.36133244),
        ("ABOBA", True, 1.40133244, 1.41548732),
        ("BAOA", False, 1.40538631, 1.32860522),
    ],
)
def test_new_forces_at_the_beginning_of_a_step_halve_the_noise(splitting, fresh, xx, pp):
    dynamics = td.langevin(td.from_energy(lambda x: x**2 / 2), dt=0.2, kT=1.0, splitting=splitting, fresh=fresh)
    found = td.certify(dynamics, dynamics.init(KEY, jnp.array(0.0)), gradient_noise=4.0)
    np.testing.assert_allclose([found.position_covariance[0, 0], found.momentum_covariance[0, 0]], [xx, pp], atol=1e-8)


def test_a_new_force_sees_another_minibatch():
    sampler = td.langevin(TARGET, dt=0.1, kT=0.0, gamma=0.0, fresh=True)
    env = networks.batches(KEY, (X, Y), size=2, per_step=2)
    state = sampler.init(KEY, jnp.array(0.5), env)
    env = td.environment.advance(env, state)
    new = sampler.step(state, env)
    force = lambda rows, t: TARGET(t, with_rows(env, rows)).force  # noqa: E731
    p = state.momentum + 0.05 * force(env.rows.rows[0], state.position)
    x = state.position + 0.1 * p
    np.testing.assert_allclose(new.position, x, rtol=1e-12)
    np.testing.assert_allclose(new.momentum, p + 0.05 * force(env.rows.rows[1], x), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("rows", ["epochs", "subsets", "independent"])
def test_all_rows_are_drawn_equally_often(rows, size):
    env = networks.batches(KEY, jnp.arange(7), size=size, rows=rows)

    def step(env, _):
        return td.environment.advance(env, None), env.current

    steps = 2100
    _, seen = jax.lax.scan(step, env, length=steps)
    counts = np.bincount(np.asarray(seen).ravel(), minlength=7)
    assert counts.sum() == steps * size
    assert np.all(abs(counts - steps * size / 7) < 5 * np.sqrt(steps * size / 7))
    if rows != "independent":
        assert all(len(set(batch.tolist())) == size for batch in np.asarray(seen[:50]))
    if rows == "epochs":
        per_epoch = 7 // size
        for k in range(0, 60, per_epoch):
            assert len(set(np.asarray(seen[k : k + per_epoch]).ravel().tolist())) == per_epoch * size


def test_a_large_subset_and_a_small_one_of_many_rows_have_no_row_twice():
    for size in (5, 900):
        rows = networks.batches(KEY, jnp.arange(1000), size=size, rows="subsets").current
        assert len(set(np.asarray(rows).tolist())) == size


@pytest.mark.parametrize("rows", ["epochs", "subsets"])
def test_a_run_that_stops_in_the_middle_of_an_epoch_goes_on_with_the_same_bits(rows, tmp_path):
    sampler = networks.sgld(TARGET, 0.01)
    env = networks.batches(KEY, (X, Y), size=2, rows=rows)
    state = sampler.init(KEY, jnp.array(0.5), env)
    whole = td.run(sampler, state, env, steps=20)
    half = td.run(sampler, state, env, steps=7, chunk=3)
    assert_same_bits(td.run(sampler, half.state, half.env, steps=13).state, whole.state)
    options = {"checkpoint": tmp_path, "checkpoint_every": 4}
    td.run(sampler, state, env, steps=8, **options)
    assert_same_bits(td.run(sampler, state, env, steps=20, **options).state, whole.state)


def test_members_see_minibatches_of_their_own_or_the_same():
    many = td.ensemble(td.langevin(TARGET, 0.01, kT=0.0), 3)
    for members, differ in ((None, False), (3, True)):
        env = networks.batches(KEY, (X, Y), size=2, members=members)
        state = many.init(KEY, jnp.array(0.5), env, momentum=jnp.array(0.0))
        end = td.run(many, state, env, steps=5).state.position
        assert (len(set(np.asarray(end).tolist())) > 1) == differ


def test_the_noise_of_a_minibatch_is_that_of_all_minibatches():
    data = (jax.random.normal(KEY, (8, 2)), jnp.arange(8.0))
    target = networks.posterior(lambda p, x: x @ p["w"] + p["b"], likelihood.gaussian(0.7), prior.gaussian(2.0))
    position = {"w": jnp.ones(2), "b": jnp.array(0.3)}
    for rows, possible in (
        ("subsets", itertools.combinations(range(8), 3)),
        ("epochs", itertools.combinations(range(8), 3)),
        ("independent", itertools.product(range(8), repeat=3)),
    ):
        env = networks.batches(KEY, data, size=3, rows=rows)
        chosen = jnp.asarray(list(possible), jnp.int32)
        forces = jax.vmap(lambda own, env=env: target(td.tree.box(position), with_rows(env, own)).force)(chosen)
        found = networks.gradient_noise(target, position, env, at_once=3)
        jax.tree.map(lambda v, f: np.testing.assert_allclose(v, np.var(f, axis=0), rtol=1e-10), found, forces)
        flat = np.concatenate([forces["b"][:, None], forces["w"]], axis=1)
        matrix = networks.gradient_noise(target, position, env, matrix=True)
        np.testing.assert_allclose(matrix, np.cov(flat, rowvar=False, ddof=0), rtol=1e-10, atol=1e-10)


def test_data_that_make_no_minibatches_are_refused():
    good = jnp.ones((5, 2)), jnp.ones(5)
    for arguments, message in (
        ((KEY, good, 6), "size: expected at most the 5 rows of the data, got 6"),
        (
            (KEY, (jnp.ones(5), jnp.ones(4)), 2),
            r"data: expected arrays with one first axis for all, the data, got shapes",
        ),
        (
            (KEY, (jnp.array([0.0, jnp.nan, 1.0]), jnp.ones(3)), 2),
            r"data\[0\]: expected finite numbers, got nan in row 1",
        ),
        ((KEY, (), 2), "data: expected arrays with one first axis for all"),
        ((KEY, good, 0), "size: expected an integer of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            networks.batches(*arguments)
    with pytest.raises(ValueError, match="rows: expected 'epochs'"):
        networks.batches(KEY, good, 2, rows="random")
    env = networks.batches(KEY, good, 2, members=3)
    with pytest.raises(ValueError, match="a part of it differs from member to member"):
        networks.sgld(TARGET, 0.1).init(KEY, jnp.zeros(2), env)
    with pytest.raises(ValueError, match=r"env: expected one networks\.batches"):
        networks.gradient_noise(TARGET, jnp.zeros(()), (X, Y))
