"""A step that gains energy from nowhere is refused, even if every number stays finite; no other step is."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import mostly_slow
from treedyn import operators as to
from treedyn import particles as tp

KEY = jax.random.key(0)
LJ = tp.pair_energy(tp.lennard_jones(), td.euclidean())


def inspected(dynamics, state):
    """Return the state after a step, and what a run would find in it."""
    new = dynamics.step(state)
    return new, td.Status(int(new.status | dynamics.inspect(state, new)))


def cluster(apart, dtype=jnp.float64):
    """Return a piece of a crystal with one more atom that is too near to another one."""
    x = tp.fcc(2, density=1.0).position.astype(dtype)
    return jnp.concatenate([x, x[:1] + jnp.asarray([[apart, 0, 0]], dtype)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, apart, dtype",
    [
        *(("langevin", apart, jnp.float32) for apart in (0.05, 0.2, 0.4)),
        *mostly_slow([("nve", apart, jnp.float64) for apart in (0.05, 0.4)]),
    ],
)
def test_overlapping_particles_stop_a_run_at_its_start(kind, apart, dtype):
    dynamics = td.nve(LJ, dt=5e-3) if kind == "nve" else td.langevin(LJ, dt=5e-3, kT=1.0, gamma=1.0)
    x = cluster(apart, dtype)
    state = dynamics.init(KEY, x, kT=1.0)
    with pytest.raises(td.SimulationError, match="reduce dt, minimize the start configuration") as caught:
        td.run(dynamics, state, steps=1000)
    assert td.Status.EXPLODING in caught.value.status or caught.value.status == td.Status.NONFINITE
    assert caught.value.step == 0 and bool(jnp.all(caught.value.state.position == x))


def test_all_numbers_of_the_refused_step_were_finite():
    dynamics = td.nve(LJ, dt=5e-3)
    state = dynamics.init(KEY, cluster(0.3), kT=1.0)
    after, status = inspected(dynamics, state)
    assert status == td.Status.EXPLODING and after.status == 0
    assert np.isfinite(after.energy) and np.isfinite(td.kinetic_energy(after))


@pytest.mark.slow
def test_a_collision_that_dt_is_too_long_for_is_found_on_the_way():
    x = jnp.array([[0.0, 0, 0], [3.0, 0.1, 0]])
    dynamics = td.nve(LJ, dt=0.05)
    state = dynamics.init(KEY, x, momentum=jnp.array([[0.0, 0, 0], [-10.0, 0, 0]]))
    with pytest.raises(td.SimulationError) as caught:
        td.run(dynamics, state, steps=100)
    assert caught.value.status == td.Status.EXPLODING and caught.value.step > 2
    last = caught.value.state
    assert abs(last.energy + td.kinetic_energy(last) - state.energy - td.kinetic_energy(state)) < 100 * 60


@pytest.mark.slow
def test_a_run_without_the_check_takes_the_step():
    dynamics = td.nve(LJ, dt=5e-3)
    state = dynamics.init(KEY, cluster(0.3), kT=1.0)
    assert td.run(dynamics, state, steps=1, check_energy=False).steps == 1
    many = td.ensemble(dynamics, 3)
    states = many.init(KEY, td.stack([cluster(0.3), cluster(-3.0), cluster(0.3)]), kT=1.0)
    out = td.run(many, states, steps=5, on_failure="return")
    assert sorted(out.failure.members) == [0, 2] and out.steps == 5


def test_one_leaf_of_a_tree_is_enough_and_a_loop_of_ones_own_can_ask():
    def energy(tree):
        return jnp.sum(tree["soft"] ** 2) / 2 + 1e6 * jnp.sum(tree["stiff"] ** 2)

    dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
    state = dynamics.init(KEY, {"soft": jnp.ones((100, 3)), "stiff": jnp.full(2, 1e-3)})
    found = []
    for _ in range(5):
        state, status = inspected(dynamics, state)
        found.append(td.Status.EXPLODING in status)
    assert any(found)


DOUBLE_WELL = td.from_energy(lambda x: (x**2 - 1) ** 2)


BATHS = {
    "nve": td.nve,
    "langevin": lambda f, dt: td.langevin(f, dt=dt, kT=1.0, gamma=0.1),
    "ramp": lambda f, dt: td.langevin(f, dt=dt, kT=lambda step: 1e-3 * step, gamma=30.0),
    "nose_hoover": lambda f, dt: td.nose_hoover(f, dt=dt, kT=1.0, tau=5.0),
    "csvr": lambda f, dt: td.csvr(f, dt=dt, kT=1.0, tau=1.0),
    "andersen": lambda f, dt: td.andersen(f, dt=dt, kT=1.0, rate=0.5),
}


@pytest.mark.parametrize("bath", mostly_slow(BATHS, "langevin"))
def test_single_degrees_of_freedom_at_rest_on_tops_and_slopes_are_no_explosion(bath):
    def walk(key, start, dt, kT):
        dynamics = BATHS[bath](DOUBLE_WELL, dt)
        state = dynamics.init(key, start, kT=kT)

        def one(_, carry):
            old, status = carry
            new = dynamics.step(old)
            return new, status | new.status | dynamics.inspect(old, new)

        return jax.lax.fori_loop(0, 2000, one, (state, jnp.uint32(0)))[1]

    cases = jnp.array(list(itertools.product([0.0, 1e-12, 1.0, 1.7], [1e-6, 0.01, 0.2], [0.0, 1.0]))).repeat(4, axis=0)
    keys = jax.random.split(KEY, len(cases))
    words = np.asarray(jax.jit(jax.vmap(walk))(keys, *cases.T))
    assert not np.any(words & ~np.uint32(td.Status.AT_REST))
    assert not np.any(words[np.asarray(cases[:, 2] > 0)])  # those that moved at the start


@pytest.mark.slow
def test_free_particles_at_rest_take_up_heat_without_complaint():
    dynamics = td.langevin(lambda x: 0.0 * jnp.sum(x), dt=1e-8, kT=1.0, gamma=1e-3)
    out = td.run(dynamics, dynamics.init(KEY, jnp.zeros(5), kT=0.0), steps=1000)
    assert out.state.status == 0


def test_a_force_without_energy_is_taken_as_it_comes():
    dynamics = td.nve(td.from_force(lambda x: 1e9 * jnp.ones(3)), dt=0.1)
    assert inspected(dynamics, dynamics.init(KEY, jnp.zeros(3), momentum=jnp.zeros(3)))[1] == td.Status.OK


class Push(to.Operator):
    """Puts energy into a system at rest, and may keep account of it."""

    name = "push"
    strength: float

    def init(self, state):
        return jnp.zeros(())

    def apply(self, state, h, noise, memory):
        old = td.kinetic_energy(state)
        state = state.replace(momentum=jax.tree.map(lambda p: p + h * self.strength, state.momentum))
        return state, memory - (td.kinetic_energy(state) - old)


class Untold(Push):
    accounts = False


class Told(Push):
    def energy(self, state, memory):
        return memory


@pytest.mark.parametrize("push, fine", [(Push, False), (Untold, True), (Told, True)])
def test_energy_that_is_put_in_on_purpose_is_said_to_be(push, fine):
    A, B, D = to.drift(td.euclidean()), to.kick(), push(strength=10.0)
    dynamics = td.compose(td.from_energy(lambda x: jnp.sum(x**2) / 200), (D, B, A, B), dt=0.1)
    state, status = inspected(dynamics, dynamics.init(KEY, jnp.zeros(4)))
    assert status == (td.Status.OK if fine else td.Status.EXPLODING)
    if fine:
        assert td.run(dynamics, state, steps=100).steps == 100
    else:
        assert "accounts = False" in td.Status.EXPLODING.advice


def test_an_account_of_one_operator_is_no_excuse_for_another():
    x = cluster(0.3)
    A, B, D = to.drift(td.euclidean()), to.kick(), Told(strength=1e-3)
    dynamics = td.compose(LJ, (D, B, A, B), dt=5e-3)
    assert td.Status.EXPLODING in inspected(dynamics, dynamics.init(KEY, x, kT=1.0))[1]


@pytest.mark.slow
def test_kinetic_energies_fit_into_half_precision_where_squares_of_momenta_do_not():
    dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1, mass=1e4)
    state = dynamics.init(KEY, jnp.zeros(4, jnp.float16), momentum=jnp.full(4, 400.0, jnp.float16))
    assert float(td.kinetic_energy(state)) == pytest.approx(4 * 400**2 / 2e4, rel=2e-3)
    assert td.run(dynamics, state, steps=3).steps == 3


THERMOSTATS = {"csvr": td.csvr, "nose_hoover": td.nose_hoover, "berendsen": td.berendsen}


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(THERMOSTATS, "csvr"))
def test_a_factor_cannot_heat_what_is_at_rest_in_a_minimum(name):
    def springs(x):
        return jnp.sum(x["a"] ** 2) + jnp.sum(x["b"] ** 2)

    rest = {"a": jnp.zeros(3), "b": jnp.zeros((2, 2))}
    dynamics = THERMOSTATS[name](springs, dt=0.1, kT={"a": 1.0, "b": 0.5}, tau=1.0)
    for momentum in (rest, {"a": jnp.ones(3), "b": jnp.zeros((2, 2))}):
        state = dynamics.init(KEY, rest, momentum=momentum)
        with pytest.raises(td.SimulationError, match="cannot heat what is at rest: let init draw momenta") as caught:
            td.run(dynamics, state, steps=10)
        assert caught.value.status == td.Status.AT_REST and caught.value.step == 0
        assert inspected(dynamics, state)[1] == td.Status.AT_REST
    assert inspected(dynamics, dynamics.init(KEY, rest))[1] == td.Status.OK
    off = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
    assert inspected(dynamics, dynamics.init(KEY, off, momentum=rest))[1] == td.Status.OK


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_slow(["csvr", "berendsen"], "csvr"))
def test_at_a_temperature_of_zero_and_without_degrees_of_freedom_rest_is_no_fault(name):
    still = {"momentum": jnp.zeros((1, 3))}
    cold = THERMOSTATS[name](lambda x: jnp.sum(x**2), dt=0.1, kT=0.0, tau=1.0)
    assert inspected(cold, cold.init(KEY, jnp.zeros((1, 3)), **still))[1] == td.Status.OK
    one = THERMOSTATS[name](LJ, dt=0.1, kT=1.0, tau=1.0, space=tp.free(), remove_drift=True)
    out = td.run(one, one.init(KEY, jnp.zeros((1, 3))), steps=20)
    assert np.all(out.state.momentum == 0) and out.state.dof == 0
