"""A member that fails stands still and is named; runs of ensembles are killed, resumed and sharded like any other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.helpers import KEY, assert_same_bits
from tests.programs import kill, output, start
from treedyn._status import Status


def trapped(x, env):
    """An energy that is NaN where the environment of a member says so."""
    broken = jnp.where(env["fuse"] & (jnp.sum(x**2) > env["limit"]), jnp.nan, 0.0)
    return jnp.sum(x**2) / 2 + broken


def system(members=64, bad=(17,)):
    fuse = jnp.zeros(members, bool).at[jnp.array(bad, int)].set(True) if bad else jnp.zeros(members, bool)
    env = {"fuse": td.per_member(fuse), "limit": jnp.asarray(6.0)}
    many = td.ensemble(td.langevin(trapped, 0.1, 1.0, 1.0), members)
    return many, many.init(KEY, jnp.ones(3), env), env


OPTIONS = {
    "every": 5,
    "record": lambda s: s.position,
    "reduce": {
        "each": td.stream.mean(lambda s: s.position),
        "all": td.stream.pooled(td.stream.mean(lambda s: s.energy)),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [None, 7])
def test_one_of_64_fails_and_63_are_as_if_nothing_had_happened(chunk):
    many, state, env = system()
    out = td.run(many, state, env, steps=200, chunk=chunk, on_failure="return", **OPTIONS)
    right = td.run(*system(bad=()), steps=200, **OPTIONS)
    assert out.failure is not None and out.failure.members == {17: Status.NONFINITE}
    assert "member 17 failed and stands still (NONFINITE)" in str(out.failure)
    others = np.arange(64) != 17
    for found, expected in ((out.state.position, right.state.position), (out.reduced["each"], right.reduced["each"])):
        np.testing.assert_array_equal(np.asarray(found)[others], np.asarray(expected)[others])
    np.testing.assert_array_equal(out.records[:, others], right.records[:, others])
    # it stands at its last good state
    step = int(out.state.step[17])
    assert 0 < step < 200 and np.isfinite(out.state.position[17]).all() and out.state.status[17] == 0
    np.testing.assert_array_equal(out.records[: step // 5, 17], right.records[: step // 5, 17])
    assert np.all(out.records[step // 5 :, 17] == np.asarray(out.state.position[17]))


@pytest.mark.slow
def test_the_error_comes_when_the_others_are_done_and_has_all_of_it():
    many, state, env = system(8, bad=(3, 5))
    with pytest.raises(td.SimulationError, match="members 3, 5 failed and stand still") as caught:
        td.run(many, state, env, steps=2000, **OPTIONS)
    error = caught.value
    assert error.step == 2000 and len(error.records) == 400 and list(error.members) == [3, 5]
    assert np.sum(np.asarray(error.state.step) == 2000) == 6


@pytest.mark.slow
def test_a_run_ends_where_all_members_failed():
    many, state, env = system(4, bad=(0, 1, 2, 3))
    out = td.run(many, state, env, steps=100_000, on_failure="return")
    assert out.steps < 5000 and len(out.failure.members) == 4


@pytest.mark.slow
def test_a_member_that_starts_in_trouble_is_named_and_the_others_run():
    many, state, env = system(4, bad=(1,))
    env = env | {"limit": jnp.asarray(0.0)}
    state = many.init(KEY, jnp.ones(3), env)
    out = td.run(many, state, env, steps=20, on_failure="return")
    assert out.failure.members == {1: Status.NONFINITE}
    np.testing.assert_array_equal(out.state.step, [20, 0, 20, 20])


@pytest.mark.slow
def test_a_run_in_pieces_ends_in_the_same_bits_with_members_that_failed_and_finished(tmp_path):
    until = lambda s: jnp.sum(s.position**2) < 0.05  # noqa: E731

    def go(steps, **more):
        return td.run(*system(), steps=steps, until=until, on_failure="return", **OPTIONS, **more)

    whole = go(300)
    assert 5 < np.sum(whole.finished) < 63
    for steps in (0, 13, 60, 61, 299, 300):
        out = go(steps, checkpoint=tmp_path, checkpoint_every=9)
    assert_same_bits((out.state, out.records, out.reduced), (whole.state, whole.records, whole.reduced))
    np.testing.assert_array_equal(out.finished, whole.finished)
    assert out.failure.members == whole.failure.members


class Counter(td.Advancing):
    count: jax.Array

    def advance(self, state):
        return self.replace(count=self.count + 1)


@pytest.mark.slow
def test_members_that_stand_still_are_recorded_alike_however_a_run_is_cut():
    many, state, env = system(16, bad=(3,))
    env = env | {"shared": Counter(count=jnp.int32(0)), "own": td.per_member(Counter(count=jnp.arange(16)))}

    def go(chunk):
        return td.run(
            many,
            state,
            env,
            steps=300,
            every=3,
            chunk=chunk,
            on_failure="return",
            until=lambda s: jnp.sum(s.position**2) < 0.2,
            record=lambda s, e: {"x": s.position, "shared": e["shared"].count, "own": e["own"].count},
            reduce=td.stream.mean(lambda s, e: s.energy * e["own"].count.astype(s.energy.dtype)),
        )

    first = go(None)
    assert np.sum(first.finished) > 12
    for chunk in (1, 50, 1000):
        out = go(chunk)
        for name in ("state", "records", "reduced", "finished"):
            assert_same_bits(getattr(out, name), getattr(first, name))
    # what a member has of its own stands still with it, and what is shared goes on with the others
    took = np.asarray(first.state.step)
    np.testing.assert_array_equal(first.records["own"][-1], np.arange(16) + np.minimum(took, first.steps // 3 * 3))
    assert np.all(first.records["shared"] == 3 * np.arange(1, len(first.records["shared"]) + 1)[:, None])


@pytest.mark.slow
def test_outputs_have_the_members_in_every_frame_or_what_they_have_in_common(tmp_path):
    many, state, env = system(4, bad=())
    mean = td.jointly(lambda s: {"energy": jnp.mean(s.energy)})
    with td.store.CSVWriter(tmp_path / "run.csv") as csv, td.store.ZarrWriter(tmp_path / "run.zarr") as zarr:
        outputs = [td.Output(csv, mean, 10), td.Output(zarr, lambda s: {"energy": s.energy}, 5)]
        td.run(many, state, env, steps=20, outputs=outputs)
    assert len((tmp_path / "run.csv").read_text().splitlines()) == 3
    assert td.store.read_zarr(tmp_path / "run.zarr")[:]["energy"].shape == (4, 4)


PROGRAM = """
import sys, numpy as np, jax, jax.numpy as jnp, treedyn as td
from jax.sharding import Mesh, NamedSharding, PartitionSpec
def energy(x): return jnp.sum(x["a"] ** 4) / 4 + jnp.sum(jnp.cos(x["b"]))
one = td.nuts(energy, dt=0.2) if "nuts" in sys.argv else td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
many = td.ensemble(one, 64)
state = many.init(jax.random.key(1), {"a": jnp.ones(7), "b": jnp.zeros((3, 1))})
folder, steps = sys.argv[1], int(sys.argv[2])
if len(jax.devices()) > 1:
    spread = NamedSharding(Mesh(np.array(jax.devices()), ("members",)), PartitionSpec("members"))
    state = jax.device_put(state, spread)
    assert len(state.position["a"].sharding.device_set) == 4
print("ready", flush=True)
options = {} if folder == "-" else dict(checkpoint=folder, checkpoint_every=5)
until = lambda s: jnp.all(s.position["a"] < -0.5)
out = td.run(many, state, steps=steps, every=3, record=lambda s: s.position["b"][0], until=until, **options)
numbers = [out.state.position["a"], out.state.momentum["b"], out.records, out.finished]
import hashlib
print(hashlib.sha256(b"".join(np.ascontiguousarray(x).tobytes() for x in numbers)).hexdigest(), int(out.finished.sum()))
"""


@pytest.fixture(scope="module")
def unbroken():
    return output(start(PROGRAM, "-", 1500))


@pytest.mark.slow
def test_an_ensemble_that_is_killed_while_it_writes_ends_in_the_same_bits(tmp_path, unbroken):
    for _ in range(8):
        kill(start(PROGRAM, tmp_path, 1500), tmp_path)
    assert output(start(PROGRAM, tmp_path, 1500)) == unbroken


@pytest.mark.slow
def test_members_that_are_spread_over_four_devices_are_the_same_bits(unbroken):
    four = "--xla_force_host_platform_device_count=4"
    assert output(start(PROGRAM, "-", 1500, XLA_FLAGS=four)) == unbroken
    chains = output(start(PROGRAM, "-", 60, "nuts"))
    assert output(start(PROGRAM, "-", 60, "nuts", XLA_FLAGS=four)) == chains != unbroken


class MeanField(td.Advancing):
    value: jax.Array

    def advance(self, state):
        return self.replace(value=jnp.mean(state.position))


@pytest.mark.slow
def test_what_members_share_sees_all_of_them_whoever_stands_still():
    many = td.ensemble(td.langevin(td.from_energy(lambda x, env: jnp.sum(x**2) / 2), 0.01, 1.0), 4)
    env = MeanField(value=jnp.zeros(()))
    state = many.init(KEY, td.per_member(jnp.arange(1.0, 5)), env)
    options = {"steps": 150, "record": lambda s, env: env.value, "every": 30}
    alone = td.run(many, state, env, until=lambda s: s.slot > 0, **options)
    together = td.run(many, state, env, until=td.jointly(lambda s: s.slot > 0), **options)
    assert_same_bits(alone.records, together.records)


class Boxed(td.Refreshable):
    """A list with room for what has come so far, in a box of a size that a member has of its own."""

    reference: jax.Array
    word: jax.Array
    room: jax.Array
    limit: jax.Array
    flag: bool = True

    @property
    def status(self):
        return self.word

    def valid(self, position, margin=1.0):
        return jnp.all(jnp.abs(position - self.reference) <= margin * 0.2)

    def rebuild(self, position):
        far = jnp.max(jnp.abs(position))
        word = jnp.where(
            far > self.limit, int(Status.BOX), jnp.where(2 * far > len(self.room), int(Status.OVERFLOW), 0)
        )
        return self.replace(reference=position, word=word.astype(jnp.uint32))

    def allocate(self, position):
        made = self.rebuild(position)
        if int(made.word) == Status.BOX:
            raise ValueError("limit: the box allows no list")
        while int(made.word):
            made = made.replace(room=jnp.zeros(2 * len(made.room))).rebuild(position)
        return made


@pytest.mark.slow
def test_a_member_without_room_does_not_take_it_from_the_others():
    def go(limits):
        lists = [
            Boxed(reference=jnp.full(2, x), word=jnp.uint32(0), room=jnp.zeros(8), limit=jnp.asarray(limit))
            for x, limit in zip((2.0, 1.0, 0.5), limits, strict=True)
        ]
        many = td.ensemble(td.nve(lambda x, env: -jnp.sum(x**2) / 2, 0.05), 3)
        env = {"list": td.stack(lists)}
        start = td.per_member(jnp.array([[2.0, 2], [1, 1], [0.5, 0.5]]))
        return td.run(many, many.init(KEY, start, env, momentum=jnp.zeros(2)), env, steps=80, on_failure="return")

    right, out = go((99.0, 99.0, 99.0)), go((3.0, 99.0, 99.0))
    assert right.failure is None and right.allocations > 1
    assert out.failure.members == {0: Status.BOX} and out.allocations > 1
    assert "could not be allocated: limit: the box allows no list" in "".join(out.failure.__notes__)
    np.testing.assert_array_equal(out.state.position[1:], right.state.position[1:])
    np.testing.assert_array_equal(out.env["list"].values.reference[1:], right.env["list"].values.reference[1:])
