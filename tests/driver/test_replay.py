"""However a run is cut, recorded, stopped or short of room, it is the same run: the same bits at every step.

What is compiled is compiled once for every system; only numbers are drawn.
"""

import functools
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import treedyn as td
from tests.driver.environments import KEY, Near, energy, start_position
from tests.helpers import assert_same_bits, make, matrix, plain, vector
from treedyn import stream
from treedyn._status import word

pytestmark = pytest.mark.slow

STEPS = 40

TREES = {
    "scalar": lambda: jnp.asarray(0.7),
    "mixed": lambda: {
        "single": vector(jnp.float32),
        "double": matrix(jnp.float64),
        "half": jnp.array([0.5, -0.25, 1.0], jnp.bfloat16),
        "empty": jnp.zeros((0, 3)),
        "label": "a string",
        "number": 3,
        "counts": jnp.arange(3),
    },
    "nested": lambda: (matrix(jnp.float32), (vector(jnp.float32), [jnp.asarray(0.3, jnp.float32)]), {"none": None}),
    "named": lambda: {"b": {"w": matrix(jnp.float64), "f": jnp.tanh}, "a": vector(jnp.float64), "": 0.25},
}
SYSTEMS = [
    ("langevin_baoab", "mixed"),
    ("brownian_leimkuhler_matthews", "scalar"),
    ("nose_hoover", "nested"),
    ("fire", "named"),
    ("langevin_baoab", "nested"),
    ("nve", "mixed"),
    ("nose_hoover", "mixed"),
    ("csvr", "mixed"),
    ("fire", "mixed"),
]
MEAN = stream.mean(lambda state: state.energy.astype(float))


def tied(position):
    """Return an energy that ties all leaves together, whatever their dtypes."""
    leaves = [leaf.astype(float) for leaf in jax.tree.leaves(td.tree.moving(td.tree.box(position)))]
    own = sum(jnp.sum((1 + 0.3 * k) * leaf**2 / 2 + leaf**4 / 20) for k, leaf in enumerate(leaves))
    return own + 0.1 * sum(jnp.sum(leaf) for leaf in leaves) ** 2


def observe(state):
    return {"moving": state.moving, "momentum": state.momentum, "energy": state.energy}


class System:
    """A start, and every step of the run from there, taken in one chunk."""

    def __init__(self, dynamics, state, env=None):
        self.dynamics, self.state, self.env = dynamics, state, env

    def run(self, steps, every=1, after=None, **options):
        state, env = (self.state, self.env) if after is None else (after.state, after.env)
        options = {"record": observe, "reduce": MEAN, **options}
        return td.run(self.dynamics, state, env, steps=steps, every=every, **options)

    @functools.cached_property
    def whole(self):
        return self.run(STEPS, chunk=STEPS)

    def assert_replayed(self, out, steps, every=1, first=0):
        """Require a run to be the steps `first` to `steps` of the whole one."""
        assert out.state.step == steps and out.state.status == 0
        expected = jax.tree.map(lambda x: x[first:steps][every - 1 :: every], self.whole.records)
        assert_same_bits(out.records, expected)
        if steps:
            assert_same_bits(
                jax.device_get(observe(out.state)), jax.tree.map(lambda x: x[steps - 1], self.whole.records)
            )


@functools.cache
def of_trees(method, name):
    # named as an energy: a scalar position leaves no other way to tell
    dynamics = make(method, td.from_energy(tied), dt=0.05)
    return System(dynamics, dynamics.init(KEY, TREES[name]()))


systems = pytest.mark.parametrize("method, name", SYSTEMS)


# no shrinking: an example that fails is as good as a smaller one, and each of them may compile
FIRST = (Phase.explicit, Phase.reuse, Phase.generate)
cuts = {"steps": st.integers(0, STEPS), "chunk": st.integers(1, STEPS), "every": st.integers(1, STEPS // 2)}


@systems
@settings(max_examples=8, phases=FIRST)
@example(steps=STEPS, chunk=1, every=1)
@given(**cuts)
def test_a_run_in_any_chunks_is_the_run_in_one(method, name, steps, chunk, every):
    system = of_trees(method, name)
    out = system.run(steps, every, chunk=chunk)
    system.assert_replayed(out, steps, every)
    assert_same_bits(out.reduced, system.run(steps, every).reduced) if steps >= every else None


@systems
@settings(max_examples=6, phases=FIRST)
@given(first=st.integers(0, STEPS), **cuts)
def test_two_runs_one_after_the_other_are_one_run(method, name, first, steps, chunk, every):
    system, first = of_trees(method, name), min(first, steps)
    begun = system.run(first, every, chunk=chunk)
    system.assert_replayed(system.run(steps - first, every, begun), steps, every, first)


@systems
@settings(max_examples=4, phases=FIRST)
@given(stops=st.lists(st.integers(0, STEPS), max_size=3), checkpoint_every=st.integers(1, STEPS), **cuts)
def test_a_run_that_goes_on_from_a_checkpoint_was_never_stopped(
    method, name, stops, checkpoint_every, steps, chunk, every
):
    system = of_trees(method, name)
    with tempfile.TemporaryDirectory() as folder:
        for stop in (*sorted(stop for stop in stops if stop < steps), steps):
            out = system.run(stop, every, chunk=chunk, checkpoint=folder, checkpoint_every=checkpoint_every)
    system.assert_replayed(out, steps, every)


# --- lists -----------------------------------------------------------------------------------------------------------


class Roomy(Near):
    """A list whose room is a number: pairs beyond it are lost, until it is allocated anew."""

    room: jax.Array

    def rebuild(self, position):
        full = super().rebuild(position)
        count = jnp.sum(full.pairs[:, 0] < len(self.reference))
        kept = jnp.where(jnp.arange(len(full.pairs))[:, None] < self.room, full.pairs, len(self.reference))
        return full.replace(pairs=kept, word=self.word | word(td.Status.OVERFLOW, count > self.room))

    def allocate(self, position):
        return _with_room_for(self, position)


@jax.jit
def _with_room_for(roomy, position):
    count = jnp.sum(Near.rebuild(roomy, position).pairs[:, 0] < len(position))
    return roomy.replace(word=jnp.uint32(0), room=jnp.maximum(count, roomy.room)).rebuild(position)


def with_room(skin, room):
    blank = {"pairs": jnp.zeros((81, 2), int), "reference": start_position(), "word": jnp.uint32(0)}
    return jax.jit(Roomy.rebuild)(Roomy(**blank, skin=jnp.asarray(skin), room=jnp.asarray(room)), start_position())


LISTED = {
    "langevin": td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0),
    "brownian": td.brownian(energy, dt=0.004, kT=0.3, gamma=1.0),
}


@functools.cache
def of_lists(method):
    env = with_room(skin=1.1, room=81)
    state = LISTED[method].init(KEY, start_position(), env)
    return System(LISTED[method], state, env)


@pytest.mark.parametrize("method", LISTED)
@settings(max_examples=6, phases=FIRST)
@example(skin=0.5, room=0, steps=STEPS, chunk=1, every=1, stop=0)
@given(skin=st.floats(0.5, 1.1), room=st.integers(0, 40), stop=st.integers(0, STEPS), **cuts)
def test_no_skin_and_no_lack_of_room_changes_a_bit(method, skin, room, steps, chunk, every, stop):
    system = of_lists(method)
    assert system.whole.allocations == 0
    small = System(system.dynamics, system.state, with_room(skin, room))
    out = small.run(steps, every, chunk=chunk)
    system.assert_replayed(out, steps, every)
    enough = System(system.dynamics, system.state, with_room(skin, 81)).run(steps, every)
    assert (out.rebuilds, enough.allocations) == (enough.rebuilds, 0)
    assert_same_bits(out.env.replace(room=enough.env.room), enough.env)
    begun = small.run(min(stop, steps), every)
    system.assert_replayed(small.run(steps - begun.steps, every, begun), steps, every, begun.steps)
    with tempfile.TemporaryDirectory() as folder:
        for last in (min(stop, steps), steps):
            kept = small.run(last, every, chunk=chunk, checkpoint=folder)
    system.assert_replayed(kept, steps, every)
    assert_same_bits((kept.env, kept.reduced), (out.env, out.reduced)) if steps >= every else None


def test_the_systems_move_and_their_lists_run_out_of_room():
    system = of_lists("langevin")
    assert system.whole.rebuilds > 1
    small = System(system.dynamics, system.state, with_room(0.5, 0)).run(STEPS)
    assert small.allocations > 3 and small.rebuilds > system.whole.rebuilds
    for row in SYSTEMS[:4]:
        for leaf in jax.tree.leaves(of_trees(*row).whole.records["moving"]):
            leaf = np.asarray(plain(leaf), float)
            assert leaf.size == 0 or np.all(np.any(leaf != leaf[:1], axis=0))
