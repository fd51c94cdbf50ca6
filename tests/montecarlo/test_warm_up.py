"""Warm-up: the masses and steps that it finds, and that it stops, resumes and ends like any run."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import assert_close, assert_same_bits
from tests.montecarlo.test_metropolize import acceptance, quadratic
from tests.programs import kill, output, start
from treedyn.montecarlo import fisher, variance

KEY = jax.random.key(0)
STIFFNESS = {"a": jnp.array([1e4, 1.0, 1e-4]), "b": jnp.array(25.0, jnp.float32)}
PLACE = {"a": jnp.zeros(3), "b": jnp.float32(0), "name": "inert"}


def wells(x):
    return sum(jnp.sum(STIFFNESS[name] * x[name] ** 2).astype(float) for name in STIFFNESS) / 2


@pytest.mark.slow
@pytest.mark.parametrize("kT", [1.0, 0.01])
def test_the_masses_of_harmonic_wells_are_their_stiffness(kT):
    chain = td.warm_up(td.hmc(wells, dt=0.01, steps=(1, 8), kT=kT), steps=100)
    state = td.run(chain, chain.init(KEY, PLACE), steps=100).state
    found = chain.tuned(state).splitting.mass
    np.testing.assert_allclose(found["a"], STIFFNESS["a"], rtol=1e-9)
    np.testing.assert_allclose(found["b"], STIFFNESS["b"], rtol=1e-3)
    assert found["b"].dtype == jnp.float32


@pytest.mark.slow
def test_masses_from_variances_are_the_inverse_variances():
    chain = td.warm_up(td.nuts(wells, dt=0.1, kT=0.5), steps=1000, metric=variance())
    chains = td.ensemble(chain, 8)
    found = chain.tuned(td.run(chains, chains.init(KEY, PLACE), steps=1000).state).inner.splitting.mass
    # the last two windows have some 150 samples of 8 chains, and the variance of the stiffest is drawn to 0.001
    np.testing.assert_allclose(found["a"][1:], STIFFNESS["a"][1:], rtol=0.25)
    np.testing.assert_allclose(found["b"], STIFFNESS["b"], rtol=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("goal", [0.5, 0.9])
def test_the_step_has_the_acceptance_that_was_asked_for(goal):
    chain = td.warm_up(td.mala(quadratic, dt=0.1), steps=2000, acceptance=goal, metric=None)
    state = chain.init(KEY, jax.random.normal(KEY, 10))
    tuned = chain.tuned(td.run(chain, state, steps=2000).state)
    assert abs(acceptance(float(tuned.splitting.dt), 1, 10) - goal) < 0.05
    walk = td.warm_up(td.random_walk(quadratic, length=10.0), steps=1000, acceptance=goal)
    out = td.run(walk, walk.init(KEY, jnp.zeros(3)), steps=3000, record=lambda s: s.info.acceptance)
    assert abs(np.mean(out.records[1000:]) - goal) < 0.06


@pytest.mark.slow
def test_members_that_start_far_apart_find_the_same_masses():
    chain = td.warm_up(td.hmc(wells, dt=0.01, steps=(1, 8)), steps=100)
    chains = td.ensemble(chain, 3)
    starts = {"a": 5 * jax.random.normal(KEY, (3, 3)), "b": jnp.arange(3, dtype=jnp.float32)}
    state = td.run(chains, chains.init(KEY, td.per_member(starts)), steps=100).state
    found = chain.tuned(state).inner.splitting.mass
    np.testing.assert_allclose(found["a"], STIFFNESS["a"], rtol=1e-9)


CHAIN = td.warm_up(td.nuts(lambda x: jnp.sum(x["a"] ** 4 + x["a"]) + x["b"] ** 2, dt=0.1, depth=5), steps=60)
CHAINS = td.ensemble(CHAIN, 3)
START = {"a": jnp.ones((2, 2)), "b": jnp.array(2.0)}


@pytest.fixture(scope="module")
def whole():
    return td.run(CHAINS, CHAINS.init(KEY, START), steps=100, record=lambda s: s.position)


@pytest.mark.slow
def test_pieces_of_a_run_are_the_whole_run(whole):
    out = td.run(CHAINS, CHAINS.init(KEY, START), steps=37, chunk=7)
    out = td.run(CHAINS, out.state, steps=63, chunk=30)
    assert_same_bits(out.state, whole.state)


@pytest.mark.slow
def test_members_are_tuned_together_or_each_by_itself(whole):
    tuning = whole.state.memory["warm_up"]
    for numbers in (tuning.pace, tuning.mass):
        assert_same_bits(numbers, jax.tree.map(lambda x: jnp.broadcast_to(x[0], x.shape), numbers))
    tuned = CHAIN.tuned(whole.state)
    assert_same_bits(tuned.inner.splitting.mass, jax.tree.map(lambda x: x[0], tuning.mass))
    with pytest.raises(ValueError, match=r"expected those of all members, because they are tuned together"):
        CHAINS.member(0).step(jax.tree.map(lambda x: x[0], whole.state))
    alone = CHAIN.replace(pool=False)
    chains = td.ensemble(alone, 3)
    out = td.run(chains, chains.init(KEY, START), steps=100)
    tuned = alone.tuned(out.state)
    assert len(set(np.asarray(tuned.inner.splitting.dt.values).tolist())) == 3
    one = jax.tree.map(lambda x: x[1], out.state)
    assert_close(td.run(tuned, out.state, steps=1).state.position["a"][1], tuned.member(1).step(one).position["a"])


@pytest.mark.slow
def test_after_the_warm_up_nothing_changes_and_the_tuned_dynamics_takes_the_same_steps(whole):
    later = td.run(CHAINS, whole.state, steps=5).state
    assert_same_bits(later.memory["warm_up"], whole.state.memory["warm_up"])
    same = td.run(CHAIN.tuned(whole.state), whole.state, steps=5).state
    assert_close(same.position, later.position)


@pytest.mark.slow
def test_leaves_that_do_not_move_and_points_on_a_sphere_keep_their_kinds_of_masses():
    def energy(x):
        return jnp.sum(x["free"] ** 2) * 50 + jnp.sum(x["s"][:, 2]) * 3 + jnp.sum(x["fixed"] ** 2)

    space = {"free": td.euclidean(), "fixed": td.euclidean(), "s": td.sphere()}
    mass = {"free": 1.0, "fixed": jnp.inf, "s": 1.0}
    chain = td.warm_up(td.hmc(energy, dt=0.05, steps=3, mass=mass, space=space), steps=80)
    place = {"free": jnp.zeros(2), "fixed": jnp.ones(2), "s": jnp.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])}
    state = td.run(chain, chain.init(KEY, place), steps=120).state
    found = chain.tuned(state).splitting.mass
    np.testing.assert_allclose(found["free"], 100, rtol=1e-6)
    assert np.all(np.isinf(found["fixed"])) and np.all(state.position["fixed"] == 1)
    assert np.all(found["s"] == found["s"][:, :1]) and np.all(found["s"] > 0)
    np.testing.assert_allclose(jnp.linalg.norm(state.position["s"], axis=1), 1, atol=1e-12)


@pytest.mark.slow
def test_a_leaf_that_the_energy_ignores_changes_no_other_number():
    states = []
    for more in ({}, {"z": jnp.zeros(2)}):
        chain = td.warm_up(td.hmc(lambda x: jnp.sum(x["a"] ** 4), dt=0.1, steps=3), steps=50)
        states.append(td.run(chain, chain.init(KEY, {"a": jnp.ones(3), **more}), steps=60).state)
    assert_close(states[0].position["a"], states[1].position["a"], tol=1e-9)
    assert np.all(states[1].memory["warm_up"].mass["z"] == 1)


PROGRAM = """
import sys, jax, jax.numpy as jnp, treedyn as td
chain = td.warm_up(td.nuts(lambda x: jnp.sum(x["a"] ** 4 + x["a"]) + x["b"] ** 2, dt=0.1, depth=5), steps=2000)
chains = td.ensemble(chain, 3)
state = chains.init(jax.random.key(0), {"a": jnp.ones((2, 2)), "b": jnp.array(2.0)})
print("ready", flush=True)
out = td.run(
    chains, state, steps=5000, chunk=20, record=lambda s: s.position["a"], every=10,
    checkpoint=sys.argv[1], checkpoint_every=100,
)
print(float(out.records.sum()).hex(), float(chain.tuned(out.state).inner.splitting.dt).hex(), int(out.state.step[0]))
"""


@pytest.mark.slow
def test_a_warm_up_that_is_killed_resumes_to_the_same_bits(tmp_path):
    whole = output(start(PROGRAM, tmp_path / "whole"))
    for _ in range(2):
        (tmp_path / "killed").mkdir(exist_ok=True)
        kill(start(PROGRAM, tmp_path / "killed"), tmp_path / "killed")
    assert output(start(PROGRAM, tmp_path / "killed")) == whole
    assert whole.split()[2] == "5000" and os.listdir(tmp_path / "killed")


def test_what_cannot_be_tuned_is_refused():
    hmc = td.hmc(quadratic, dt=0.1, steps=2)
    for arguments, said in [
        ((td.ensemble(hmc, 2), 10), r"dynamics: expected that of one member, got an Ensemble"),
        ((td.nve(quadratic, dt=0.1), 10), r"splitting: expected a dynamics with a temperature"),
        ((td.fire(quadratic, 0.1), 10), r"dynamics: expected a Monte Carlo dynamics such as td.nuts"),
        ((td.hmc(quadratic, dt=lambda step: 0.1, steps=2), 10), r"dynamics: expected a constant length of its steps"),
        ((hmc, 0), r"steps: expected an integer of at least 1, got 0"),
    ]:
        with pytest.raises(ValueError, match=said):
            td.warm_up(*arguments)
    for more, said in [
        ({"acceptance": 1.0}, r"acceptance: expected one number between 0 and 1, got 1"),
        ({"metric": "diag"}, r"metric: expected a rule such as td.montecarlo.fisher"),
        ({"pool": 1}, r"pool: expected True or False"),
    ]:
        with pytest.raises(ValueError, match=said):
            td.warm_up(hmc, 10, **more)
    walk = td.random_walk(quadratic, length=0.1)
    with pytest.raises(ValueError, match=r"metric: expected None, because a RandomWalk has no masses"):
        td.warm_up(walk, 10, metric=variance())
    assert td.warm_up(walk, 10, metric=fisher()).metric is None
    chain = td.warm_up(hmc, 10)
    with pytest.raises(ValueError, match=r"state: expected one from the init of a warm-up"):
        chain.step(hmc.init(KEY, jnp.zeros(3)))
