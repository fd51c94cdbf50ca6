"""A stochastic step: rejection, and noise that belongs to a slot."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import energy, energy_of_all_pairs, near_list, start_position
from tests.helpers import assert_same_bits
from treedyn import environment, noise, tree
from treedyn import particles as tp
from treedyn._status import Status
from treedyn.testing import sigmas

KEY = jax.random.key(3)


def test_step_is_final():
    assert getattr(td.Dynamics.step, "__final__", False)
    assert "step" not in {name for kind in (td.Splitting, td.Minimizer, td.Ensemble) for name in vars(kind)}


# --- rejection --------------------------------------------------------------------------------------------------------


def proposal(bits, **changes):
    dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, 0.1, 1.0)
    state = dynamics.init(KEY, jnp.ones(3))
    new = dynamics.step(state).replace(info=jnp.asarray(0.3), **changes)
    return state.replace(info=jnp.asarray(0.0)), new.replace(status=jnp.uint32(int(bits)))


@pytest.mark.parametrize("accept", [True, False])
def test_counter_key_and_report_are_those_of_the_proposal_and_other_fields_those_of_the_choice(accept):
    state, new = proposal(Status.OK)
    out = jax.jit(lambda a, s, n: s.select(a, n))(jnp.asarray(accept), state, new)
    chosen = new if accept else state
    for name in ("boxed", "momentum", "force", "energy", "memory", "clock"):
        assert_same_bits(getattr(out, name), getattr(chosen, name))
    assert out.step == 1 and out.info == 0.3
    assert_same_bits(out.key, new.key)


@pytest.mark.parametrize("bit", list(Status.STALE | Status.OVERFLOW | Status.BOX))
def test_an_invalid_list_survives_rejection(bit):
    state, new = proposal(bit)
    for accept in (True, False):
        assert Status(int(state.select(jnp.asarray(accept), new).status)) == bit


@pytest.mark.parametrize("bit", list(Status.NONFINITE | Status.EXPLODING | Status.TOO_FAR))
def test_errors_of_values_are_rejected_with_them(bit):
    state, new = proposal(bit | Status.STALE, energy=jnp.asarray(jnp.nan))
    out = state.select(new.energy < state.energy, new)
    assert Status(int(out.status)) == Status.STALE and np.isfinite(out.energy)
    assert Status(int(state.select(jnp.asarray(True), new).status)) == bit | Status.STALE


class Walk(td.Targeted):
    """Random-walk Metropolis, as a user would write it."""

    jumps = True
    kT: float
    length: float

    def init(self, key, position, env=None):
        return self.begin(key, position, env, None).replace(info=jnp.asarray(False))

    def look(self, state, env):
        return self.explore(state, env)

    def draw(self, state):
        key = noise.at_step(state.stream, state.step)
        return noise.normal(key, state.moving), jax.random.uniform(noise.at_path(key, "accept"))

    def apply(self, state, env, noise):
        way, chance = noise
        moved = tree.merge(tree.axpy(self.length, way, state.moving), state.boxed)
        new = self.look(state.replace(boxed=moved), env)
        accept = chance < jnp.exp((state.energy - new.energy) / self.kT)
        return state.select(accept, new.replace(info=accept))


@pytest.mark.slow
def test_a_metropolis_walk_samples():
    walk = Walk(target=lambda x: jnp.sum(x**4), space=td.euclidean(), kT=0.5, length=0.8)
    many = td.ensemble(walk, 2000)
    state = many.init(KEY, jnp.zeros(2))
    out = td.run(many, state, steps=300, record=lambda s: s.info, every=300)
    # <x^4> = kT/4 by the virial theorem
    assert abs(sigmas(np.mean(np.asarray(out.state.position) ** 4, axis=1), 0.125)) < 5
    assert 0.2 < np.mean(out.records) < 0.8


def test_proposals_of_infinite_energy_are_rejected():
    walk = Walk(target=lambda x: -jnp.sum(jnp.log(x)) + jnp.sum(x), space=td.euclidean(), kT=1.0, length=1.5)
    out = td.run(walk, walk.init(KEY, jnp.ones(2)), steps=500, record=lambda s: s.info)
    assert out.failure is None and 0.1 < np.mean(out.records) < 0.9 and np.all(np.asarray(out.state.position) > 0)


class Careless(Walk):
    """The same walk with a list that is never refreshed."""

    def look(self, state, env):
        return self.evaluate(state, env)


@pytest.mark.slow
def test_a_decision_on_a_stale_list_fails_the_step():
    x = start_position()
    for kind, fails in ((Walk, False), (Careless, True)):
        walk = kind(target=energy, space=td.euclidean(), kT=0.2, length=0.5)
        env = near_list(x, skin=0.4)
        out = td.run(walk, walk.init(KEY, x, env), env, steps=200, on_failure="return")
        assert (out.failure is not None) == fails
        if fails:
            assert out.failure.status == Status.TOO_FAR
            assert Status(int(walk.step(walk.init(KEY, x, env), env).status)) == Status.STALE
        else:
            assert out.steps == 200 and out.rebuilds > 2


@pytest.mark.slow
def test_a_walk_with_a_list_is_the_walk_with_all_pairs():
    x = start_position()
    a, b = (Walk(target=f, space=td.euclidean(), kT=0.2, length=0.15) for f in (energy, energy_of_all_pairs))
    env = near_list(x, skin=0.2)
    out = td.run(a, a.init(KEY, x, env), env, steps=200, record=lambda s: s.info)
    other = td.run(b, b.init(KEY, x), steps=200, record=lambda s: s.info)
    np.testing.assert_array_equal(out.records, other.records)
    np.testing.assert_allclose(out.state.position, other.state.position, rtol=1e-12)
    assert out.rebuilds > 3 and 0.1 < np.mean(out.records) < 0.9


def test_refresh_rebuilds_only_lists_that_are_not_valid():
    x = start_position()
    env = {"near": near_list(x, skin=0.4), "data": jnp.arange(3)}
    state = td.nve(energy, 0.1).init(KEY, x, env["near"])
    still = jax.jit(environment.refresh)(env, state.replace(position=x.at[0, 0].add(0.19)))
    np.testing.assert_array_equal(still["near"].reference, x)
    far = x.at[0, 0].add(0.3)
    np.testing.assert_array_equal(jax.jit(environment.refresh)(env, state.replace(position=far))["near"].reference, far)


# --- noise belongs to a slot ------------------------------------------------------------------------------------------


def noises(dynamics, state):
    return np.asarray(jax.tree.leaves(dynamics.draw(state))[0])


@pytest.mark.slow
def test_a_state_that_is_copied_into_a_slot_has_the_noise_of_that_slot():
    dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, 0.1, 1.0)
    many = td.ensemble(dynamics, 4)
    state = many.init(KEY, td.per_member(jnp.arange(8.0).reshape(4, 2)))
    for order in ([1, 1, 3, 3], [3, 2, 1, 0], [2, 2, 2, 2]):
        gathered = jax.tree.map(lambda x, order=order: x[jnp.array(order)], state)
        drawn = noises(many, gathered)
        assert len(np.unique(drawn[:, 0])) == 4
        moved = many.step(gathered)
        np.testing.assert_array_equal(moved.slot, np.arange(4))
    # one state for all members
    one = dynamics.init(KEY, jnp.ones(2))
    spread = many.adopt(one)
    assert len(np.unique(noises(many, spread)[:, 0])) == 4
    np.testing.assert_array_equal(spread.position, np.ones((4, 2)))
    # the same state in another slot
    swapped = jax.tree.map(lambda x: x[jnp.array([1, 0, 2, 3])], spread)
    assert not np.any(noises(many, spread)[0] == noises(many, spread)[1])
    np.testing.assert_array_equal(noises(many, swapped), noises(many, spread))


@pytest.mark.slow
def test_a_list_that_overflows_in_a_proposal_grows_for_one_system_and_for_many():
    box = tp.periodic(jnp.full(3, 5.0))
    x = 1.25 * jnp.stack(jnp.meshgrid(*[jnp.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
    walk = Walk(target=tp.pair_energy(tp.soft_sphere(sigma=1.2), box, cutoff=1.2), space=box, kT=2.0, length=0.6)
    lists = tp.neighbor_list(box, cutoff=1.2, skin=0.04)
    many = td.ensemble(walk, 3)
    envs = td.per_member(lists.allocate_members(jnp.broadcast_to(x, (3, *x.shape))))
    state = many.init(KEY, x, envs)
    all_ = td.run(many, state, envs, steps=40, record=lambda s: s.position)
    alone = jax.tree.map(lambda leaf: leaf[1], state)
    one = td.run(walk, alone, lists.allocate(x), steps=40, record=lambda s: s.position)
    for out, env in ((all_, all_.env.values), (one, one.env)):
        assert out.allocations > 1 and out.state.status.max() == 0
        assert env.partners.shape[-2] > lists.allocate(x).partners.shape[0]
    np.testing.assert_array_equal(all_.records[:, 1], one.records)


@pytest.mark.slow
def test_a_list_that_lacks_room_for_a_proposal_grows_until_there_is_enough():
    pair = tp.pair_energy(tp.shifted(tp.lennard_jones(), 1.6), tp.free())

    class Squeeze(Walk):
        """A proposal that brings all particles together, for which only a list of all pairs has room."""

        def init(self, key, position, env=None):
            state = self.begin(key, position, env, None)
            return state.replace(info=state.energy)

        def apply(self, state, env, noise):
            moved = jax.tree.map(lambda x: x * jnp.where(state.step % 3 == 2, 0.2, 1.0), state.moving)
            new = self.explore(state.replace(boxed=moved), env)
            return state.select(jnp.asarray(False), new.replace(info=new.energy))

    x = 1.2 * jnp.stack(jnp.meshgrid(*[jnp.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
    env = tp.neighbor_list(tp.free(), 1.6, skin=0.1, headroom=1.0).allocate(x)
    walk = Squeeze(target=pair, space=tp.free(), kT=1.0, length=0.1)
    out = td.run(walk, walk.init(KEY, x, env), env, steps=9, record=lambda s: s.info)
    assert out.failure is None and out.allocations > 2 and out.env.capacity >= 63
    np.testing.assert_allclose(out.records[2::3], pair(0.2 * x), rtol=1e-10)
    np.testing.assert_allclose(out.records[1::3], pair(x), rtol=1e-10)
