"""NUTS: its definition in NumPy, exact from equilibrium, what it reports, and steps that are halved."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from treedyn.montecarlo._stride import Strides
from treedyn.testing import sigmas

KEY = jax.random.key(0)


def quadratic(x):
    return jnp.sum(x**2 * jnp.linspace(1.0, 3.0, x.size)) / 2


def in_numpy(dynamics, state):
    """Return position, depth and steps after a step, by recursion over stored paths: the definition, in flat space."""
    dt, kT, stiffness = float(dynamics.splitting.dt), float(dynamics.kT), np.linspace(1.0, 3.0, state.position.size)
    fresh, forward, between, within = (np.asarray(x) for x in dynamics.draw(state))
    x0, p0 = np.asarray(state.position), np.sqrt(kT) * fresh

    def leapfrog(x, p, h):
        p = p - h / 2 * stiffness * x
        x = x + h * p
        return x, p - h / 2 * stiffness * x

    def energy(x, p):
        return np.sum(stiffness * x**2 + p**2) / 2

    def turned(points):
        way = sum(p for _, p in points) - (points[0][1] + points[-1][1]) / 2
        return points[0][1] @ way <= 0 or points[-1][1] @ way <= 0

    path, chosen, weight, steps = [(x0, p0)], x0, 0.0, 0
    for depth in range(dynamics.depth):
        new, (x, p) = [], path[-1] if forward[depth] else path[0]
        pick, total, stop = None, -np.inf, False
        for k in range(2**depth):
            x, p = leapfrog(x, p, dt if forward[depth] else -dt)
            new.append((x, p))
            steps += 1
            w = (energy(x0, p0) - energy(x, p)) / kT
            total = np.logaddexp(total, w)
            pick = x if within[2**depth - 1 + k] < np.exp(w - total) else pick
            # subtrees that are complete now
            sizes = [2**m for m in range(1, depth + 1) if (k + 1) % 2**m == 0]
            if any(turned(new[-size:]) for size in sizes):
                stop = True
                break
        if stop:
            return chosen, depth + 1, steps
        if between[depth] < np.exp(total - weight):
            chosen = pick
        weight = np.logaddexp(weight, total)
        path = path + new if forward[depth] else new[::-1] + path
        if turned(path):
            return chosen, depth + 1, steps
    return chosen, dynamics.depth, steps


@pytest.mark.slow
@pytest.mark.parametrize("dt", [0.05, 0.3, 0.9])
def test_a_step_is_that_of_the_definition(dt):
    dynamics = td.nuts(quadratic, dt=dt, kT=1.7, depth=6)
    state = dynamics.init(KEY, jnp.asarray([0.3, -1.0, 0.7, 0.2, 1.4]))
    step, depths = jax.jit(dynamics.step), set()
    for _ in range(40):
        position, depth, steps = in_numpy(dynamics, state)
        state = step(state)
        np.testing.assert_allclose(state.position, position, rtol=1e-9)
        assert (state.info.depth, state.info.steps) == (depth, steps)
        depths.add(depth)
    assert len(depths) > 1 and not state.info.divergent


@pytest.mark.slow
@pytest.mark.parametrize(("dt", "d"), [(0.9, 1), (0.4, 10)])
def test_a_gaussian_is_stationary(dt, d):
    dynamics = td.nuts(lambda x: jnp.sum(x**2) / 2, dt=dt, depth=4)
    start = jax.random.normal(jax.random.key(1), (20_000, d))
    step = jax.jit(jax.vmap(lambda key, x: dynamics.step(dynamics.init(key, x))))
    end = step(jax.random.split(KEY, len(start)), start)
    for power, exact in ((1, 0.0), (2, 1.0), (4, 3.0)):
        assert abs(sigmas(jnp.mean(end.position**power, axis=1), exact)) < 4
    assert np.mean(np.sum(end.position * start, axis=1)) / d < 0.6  # and the states are new
    assert 0.5 < np.mean(end.info.acceptance) < 1 and np.all(end.info.turned | (end.info.depth == 4))


@pytest.mark.slow
def test_a_trajectory_that_explodes_is_a_divergence_and_the_run_goes_on():
    dynamics = td.nuts(lambda x: jnp.sum(x**4), dt=10.0)
    out = td.run(dynamics, dynamics.init(KEY, jnp.ones(3)), steps=5, record=lambda s: s.info)
    assert np.all(out.records.divergent) and np.all(out.records.steps == 1) and out.state.status == 0
    np.testing.assert_array_equal(out.state.position, 1)


@pytest.mark.slow
def test_trajectories_do_not_depend_on_units():
    one, other = (
        td.nuts(lambda x, scale=scale: jnp.sum((x / scale) ** 2) / 2, dt=0.2, mass=1 / scale**2)
        for scale in (1.0, 10.0)
    )
    a, b = (d.step(d.init(KEY, scale * jnp.ones(5))) for d, scale in ((one, 1.0), (other, 10.0)))
    np.testing.assert_allclose(10 * a.position, b.position, rtol=1e-9)
    assert a.info.steps == b.info.steps > 3


def test_depth_is_an_integer_of_at_least_one():
    for depth in (0, -1, 1.5, "a", None):
        with pytest.raises(ValueError, match="depth: expected an integer"):
            td.nuts(quadratic, dt=0.1, depth=depth)
    with pytest.raises(ValueError, match="halvings: expected an integer of at least 0"):
        td.nuts(quadratic, dt=0.1, halvings=-1)
    with pytest.raises(ValueError, match="tolerance: expected one number, positive"):
        td.nuts(quadratic, dt=0.1, tolerance=0.0)


def stiff(x):
    return jnp.sum(x**2 * jnp.array([1.0, 100.0])) / 2 + jnp.sum(x**4)


@pytest.mark.slow
def test_steps_that_are_halved_leave_the_density_as_it_is():
    # the larger frequency needs steps below 0.2
    dynamics = td.nuts(stiff, dt=0.5, depth=4, halvings=6, tolerance=0.4)
    grid = jnp.linspace(-4, 4, 40_001)
    keys = jax.random.split(KEY, 4000)

    def draw(key, k):
        weight = jnp.exp(-jnp.asarray([1.0, 100.0])[k] * grid**2 / 2 - grid**4)
        chance = jax.random.uniform(jax.random.fold_in(key, k))
        return jnp.interp(chance, jnp.cumsum(weight) / jnp.sum(weight), grid)

    start = jax.vmap(lambda key: jnp.stack([draw(key, 0), draw(key, 1)]))(keys)
    end = jax.jit(jax.vmap(lambda key, x: dynamics.step(dynamics.init(key, x))))(keys, start)
    assert np.mean(end.info.steps) > 4 * np.mean(end.info.depth) and np.mean(end.info.acceptance) < 0.5
    assert abs(np.corrcoef(start[:, 0], end.position[:, 0])[0, 1]) < 0.6
    for k in range(2):
        weight = np.exp(-[1.0, 100.0][k] * grid**2 / 2 - grid**4)
        for power in (1, 2, 4):
            assert abs(sigmas(end.position[:, k] ** power, np.sum(weight * grid**power) / np.sum(weight))) < 4


@pytest.mark.slow
def test_halved_steps_can_be_retraced_or_are_refused():
    dynamics, rule = td.nve(stiff, dt=0.5), Strides(halvings=8, tolerance=0.2)

    @jax.jit
    @jax.vmap
    def there_and_back(key, x):
        start = dynamics.init(key, x, kT=1.0)
        there = rule.take(dynamics, start, None, 1.0)
        back = rule.take(dynamics, dynamics.reverse(there.end), None, 1.0)
        return start, there, back

    start, there, back = there_and_back(jax.random.split(KEY, 300), jax.random.normal(KEY, (300, 2)))
    same = np.max(np.abs(back.end.position - start.position), axis=1) < 1e-9
    fits = np.isfinite(there.change)
    np.testing.assert_array_equal(same[fits], there.retraced[fits])
    assert np.all(fits) and np.any(~there.retraced) and np.mean(there.retraced) > 0.9
    np.testing.assert_allclose((there.change + back.change)[same], 0, atol=1e-9)


@pytest.mark.slow
def test_the_neck_of_a_funnel_is_reached_by_halving():
    def funnel(x):
        return x["v"] ** 2 / 18 + jnp.sum(x["w"] ** 2) * jnp.exp(-x["v"]) / 2 + x["w"].size * x["v"] / 2

    chains = td.ensemble(td.nuts(funnel, dt=0.6, depth=7, halvings=9), 16)
    state = chains.init(KEY, td.per_member({"v": jnp.linspace(-6, 6, 16), "w": jnp.zeros((16, 9))}))
    v = td.run(chains, state, steps=1000, record=lambda s: s.position["v"]).records[100:]
    for value, exact, width in ((v, 0.0, 3.0), (v**2, 9.0, 9 * np.sqrt(2)), (v < -6, 0.0227501319, 0.149)):
        error = np.std(np.mean(value, axis=0), ddof=1) / 4
        assert abs(np.mean(value) - exact) < 4 * error < width / 2


def test_a_list_without_room_in_an_attempt_that_was_dropped_fails_the_step():
    dynamics, rule = td.nve(stiff, dt=0.5), Strides(halvings=8, tolerance=0.2)
    start = dynamics.init(KEY, jnp.array([0.3, 0.1]), kT=1.0)
    reach = jnp.abs(rule.take(dynamics, start, None, 1.0).end.position[1]) + 0.1

    class Flagged(td.Target):
        def __call__(self, position, env=None):
            found = td.from_energy(stiff)(position, env)
            far = jnp.abs(td.tree.unbox(position)[1]) > reach
            return found.replace(status=jnp.where(far, jnp.uint32(int(td.Status.OVERFLOW)), jnp.uint32(0)))

    flagged = td.nve(Flagged(function=stiff), dt=0.5)
    stride = rule.take(flagged, flagged.init(KEY, jnp.array([0.3, 0.1]), kT=1.0), None, 1.0)
    assert not stride.whole and jnp.abs(stride.end.position[1]) < reach
    assert stride.end.status == int(td.Status.OVERFLOW)
