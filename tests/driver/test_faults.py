"""A table of faults: what happens to a run when something in it goes wrong at one step, and what is left of it.

A process that is killed, a disk that is full and bytes that are damaged are in `test_checkpoint.py`, lists that run out
of room in `test_fault_lists.py`, boxes that move in `test_moving_boxes.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position
from tests.helpers import assert_same_bits, plain
from treedyn import stream

pytestmark = pytest.mark.slow

CHUNKS = (1, 7, 50)


def finite(tree):
    return all(np.isfinite(plain(leaf)).all() for leaf in jax.tree.leaves(tree))


# --- something that is not finite, at one step -----------------------------------------------------------------------


class Clock(td.Advancing):
    """Something happens once, in the step after `steps` of them."""

    steps: jax.Array
    taken: jax.Array

    def advance(self, state):
        return self.replace(taken=self.taken + 1)


class Fuse(Clock):
    """Goes off; `fault` is the number of what goes wrong then."""

    fault: jax.Array


def fuse(fault, steps):
    return Fuse(steps=jnp.int32(steps), fault=jnp.int32(list(FAULTS).index(fault)), taken=jnp.int32(-1))


def infinite_slope(x, now):
    # zero, with the slope of a square root at zero
    return jnp.sqrt(jnp.where(now, 0, 1) + (x - jax.lax.stop_gradient(x)))


def slope_of_no_number(x, now):
    # zero, with the slope 0/0
    return jnp.sqrt(jnp.where(now, 0, 1) * (1 + x**2))


FAULTS = {
    "none": lambda position, now: 0.0,
    "one particle": lambda position, now: jnp.where(now, jnp.nan, 0) * position["points"][3, 1],
    "one leaf, which has no noise": lambda position, now: jnp.where(now, jnp.nan, 0) * position["net"]["bias"][0],
    "energy only": lambda position, now: jax.lax.stop_gradient(jnp.where(now, jnp.nan, 0)),
    "energy only, infinite": lambda position, now: jax.lax.stop_gradient(jnp.where(now, -jnp.inf, 0)),
    "force only": lambda position, now: slope_of_no_number(position["points"][3, 1], now),
    "force only, infinite": lambda position, now: infinite_slope(position["net"]["bias"][0], now),
}


def faulty(position, env):
    """Return an energy of particles and weights, and of the fault of the fuse."""
    net, fuse = position["net"], env["fuse"]
    value = energy(position, env["near"]) + jnp.sum((net["weight"] - net["bias"][None]) ** 2)
    for k, fault in enumerate(FAULTS.values()):
        value = value + fault(position, (fuse.fault == k) & (fuse.taken == fuse.steps))
    return value


NOISELESS = {"points": 0.3, "net": {"weight": 0.2, "bias": 0.0}}
FAULTY = td.langevin(faulty, dt=0.05, kT=NOISELESS, gamma=1.0)


def begin(fault, steps):
    net = {"weight": jnp.array([[0.3, -0.2], [0.5, 0.1]]), "bias": jnp.array([0.4, -0.1])}
    position = {"points": start_position(), "net": net}
    env = {"near": near_list(position), "fuse": fuse(fault, steps)}
    return FAULTY.init(KEY, position, env), env


def observe(state):
    return {"x": state.position, "energy": state.energy, "step": state.step}


MEAN = {"energy": stream.mean(lambda state: state.energy)}


def take(fault, at, steps=60, **options):
    return td.run(FAULTY, *begin(fault, at), **{"every": 4, "record": observe, "reduce": MEAN, **options}, steps=steps)


@pytest.mark.parametrize("fault", list(FAULTS)[1:])
@pytest.mark.parametrize("at", [5, 24, 39])
def test_what_is_not_finite_stops_the_run_at_its_step_with_all_before_it(fault, at):
    expected = take("none", at, steps=at)
    for chunk in CHUNKS:
        with pytest.raises(td.SimulationError, match=rf"after step {at} \(.*NONFINITE\)") as caught:
            take(fault, at, chunk=chunk)
        error, out = caught.value, take(fault, at, chunk=chunk, on_failure="return")
        assert td.Status.NONFINITE in error.status and error.step == error.state.step == out.steps == at
        assert error.state.status == 0 and finite((error.state, error.records, error.reduced))
        assert_same_bits((error.state, error.records), (expected.state, expected.records))
        assert_same_bits(error.reduced, expected.reduced)
        assert len(error.records["step"]) == at // 4
        assert str(out.failure) == str(error)
        assert_same_bits((out.state, out.env, out.records, out.reduced), (
            error.state, error.env, error.records, error.reduced
        ))  # fmt: skip


def test_a_run_that_failed_leaves_checkpoints_of_what_is_good(tmp_path):
    kept = {"checkpoint": tmp_path, "checkpoint_every": 5}
    for _ in range(2):  # the second time it begins with the checkpoint, and ends where the first one did
        with pytest.raises(td.SimulationError, match=r"after step 13 \(NONFINITE\)") as caught:
            take("one particle", 13, **kept)
        assert sorted(file.name for file in tmp_path.glob("step-*")) == [
            "step-000000000005.npz",
            "step-000000000010.npz",
        ]
        expected = take("none", 13, steps=13)
        assert_same_bits((caught.value.state, caught.value.records), (expected.state, expected.records))
    out, expected = take("one particle", 13, steps=10, resume="must", **kept), take("none", 13, steps=10)
    assert finite((out.state, out.records)) and out.failure is None
    assert_same_bits((out.state, out.records), (expected.state, expected.records))


@pytest.mark.parametrize("what", ["position", "momentum"])
@pytest.mark.parametrize("leaf", ["points", "net"])
def test_a_number_that_was_put_into_the_state_is_found_at_the_first_step(what, leaf):
    state, env = begin("none", 0)
    tree = getattr(state, what)
    broken = jax.tree.map(lambda x: x.at[1].set(jnp.nan), tree[leaf])
    options = {"every": 4, "record": observe, "reduce": MEAN, "on_failure": "return"}
    out = td.run(FAULTY, state.replace(**{what: {**tree, leaf: broken}}), env, steps=9, **options)
    assert out.failure is not None and out.steps == 0 and len(out.records["step"]) == 0
    assert td.Status.NONFINITE in out.failure.status


def test_a_number_in_the_environment_stops_the_run_where_it_is_used():
    class Drifting(td.Advancing):
        centre: jax.Array
        taken: jax.Array

        def advance(self, state):
            broken = jnp.where(self.taken == 6, jnp.nan, self.centre)
            return self.replace(centre=broken, taken=self.taken + 1)

    def pulled(x, env):
        return jnp.sum((x - env["used"].centre) ** 2)

    dynamics, x = td.nve(pulled, dt=0.05), start_position()
    env = {"used": Drifting(centre=jnp.asarray(0.3), taken=jnp.int32(0)), "unused": jnp.full(3, jnp.nan)}
    state = dynamics.init(KEY, x, env, kT=0.3)
    for chunk in CHUNKS:
        out = td.run(dynamics, state, env, steps=30, chunk=chunk, on_failure="return")
        assert out.failure is not None and out.failure.status == td.Status.NONFINITE
        assert out.steps == 6 and finite(out.state)
    assert_same_bits(out.state, td.run(dynamics, state, env, steps=6).state)


# --- someone who moves too far ---------------------------------------------------------------------------------------


class Gun(Clock):
    """Pushes one particle."""

    push: jax.Array


def shot(position, env):
    gun = env["gun"]
    return energy(position, env["near"]) - jnp.where(gun.taken == gun.steps, gun.push, 0) * position[4, 0]


SHOT = td.nve(shot, dt=0.05)


@pytest.mark.parametrize("at", [1, 17])
def test_a_particle_that_is_shot_through_the_box_stops_the_run_and_says_when(at):
    def start(push):
        gun = Gun(steps=jnp.int32(at), push=jnp.asarray(push), taken=jnp.int32(-1))
        env = {"near": near_list(start_position()), "gun": gun}
        return SHOT.init(KEY, start_position(), env, kT=0.3), env

    # the push comes at the end of a step, with its force; the next one moves
    expected = td.run(SHOT, *start(4000.0), steps=at + 1, every=4, record=observe)
    for chunk in CHUNKS:
        with pytest.raises(td.SimulationError, match=rf"after step {at + 1} \(TOO_FAR\)") as caught:
            td.run(SHOT, *start(4000.0), steps=60, every=4, record=observe, chunk=chunk)
        error = caught.value
        assert error.status == td.Status.TOO_FAR and error.step == at + 1 and finite(error.state)
        assert_same_bits((error.state, error.records), (expected.state, expected.records))
    # half the skin, 0.4, is what one may move in a step
    assert td.run(SHOT, *start(60.0), steps=at + 3, every=4, record=observe).state.status == 0


# --- a temperature that is none --------------------------------------------------------------------------------------

BATHS = {
    "csvr": lambda kT: td.csvr(bowl, 0.1, kT, 1.0),
    "andersen": lambda kT: td.andersen(bowl, 0.1, kT, 4.0),
    "langevin": lambda kT: td.langevin(bowl, 0.1, kT, 1.0),
    "langevin, bath last": lambda kT: td.langevin(bowl, 0.1, kT, 1.0, splitting="BABO"),
    "nose_hoover": lambda kT: td.nose_hoover(bowl, 0.1, kT, 1.0),
    "berendsen": lambda kT: td.berendsen(bowl, 0.1, kT, 1.0),
}


def bowl(x):
    return jnp.sum(x**2) / 2


@pytest.mark.parametrize("bath", BATHS)
def test_a_temperature_that_is_no_number_stops_the_run_at_its_step(bath):
    dynamics = BATHS[bath](lambda step: jnp.where(step == 4, jnp.nan, 1.0))
    state = dynamics.init(KEY, jnp.zeros(3), kT=1.0)
    for steps in (5, 30):
        out = td.run(dynamics, state, steps=steps, on_failure="return")
        assert out.failure is not None and td.Status.NONFINITE in out.failure.status
        assert out.steps == 4 and finite(out.state)
