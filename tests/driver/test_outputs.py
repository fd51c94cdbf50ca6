"""What a run writes while it goes on: every frame once, in order, whatever stops it."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position
from tests.helpers import assert_same_bits, mostly_slow
from tests.programs import CHANCE, output, start, wait
from treedyn import store
from treedyn.store import _checkpoint
from treedyn.store._writer import check_steps

DYNAMICS = td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0)


class Kept(store.Writer):
    """Keep frames in memory, and fail at a step."""

    def __init__(self, fails_at=None):
        self.frames, self.threads, self.flushed, self.fails_at = [], set(), [], fails_at

    def write(self, steps, frames):
        if self.fails_at is not None and steps[-1] >= self.fails_at:
            raise OSError(28, "No space left on device")
        steps = check_steps(steps, frames, self.last)
        self.threads.add(threading.current_thread().name)
        self.frames += [(int(s), jax.tree.map(lambda x, k=k: x[k], frames)) for k, s in enumerate(steps)]
        self.last = int(steps[-1])

    def rewind(self, step):
        self.frames = [x for x in self.frames if x[0] <= step]
        self.last = self.frames[-1][0] if self.frames else None

    def flush(self):
        self.flushed.append(self.last)

    def close(self):
        raise AssertionError("a run closes nothing that it did not open")

    @property
    def steps(self):
        return [step for step, _ in self.frames]

    def stacked(self):
        return jax.tree.map(lambda *x: np.stack(x), *(frame for _, frame in self.frames))


def begin():
    position = start_position()
    env = near_list(position, capacity=24)  # grows on the way
    return DYNAMICS.init(KEY, position, env, kT=0.3), env


def energies(state):
    return {"potential": state.energy}


def where(state):
    return {"x": state.position, "deep": (state.energy, state.step)}


@pytest.mark.parametrize("chunk", mostly_slow([1, 7, None], 7))
def test_outputs_are_the_records_at_their_own_rates(chunk):
    expected = td.run(DYNAMICS, *begin(), steps=45, every=3, record=where)
    fine, coarse = Kept(), Kept()
    outputs = [td.Output(fine, where, 3), td.Output(coarse, lambda state, env: env.reference, 10)]
    reduce = td.stream.mean(lambda state: state.energy)
    out = td.run(
        DYNAMICS,
        *begin(),
        steps=45,
        every=5,
        record=td.kinetic_energy,
        reduce=reduce,
        outputs=outputs,
        chunk=chunk,
    )
    assert fine.steps == list(range(3, 46, 3)) and coarse.steps == [10, 20, 30, 40]
    assert_same_bits(fine.stacked(), expected.records)
    assert_same_bits(out.state, expected.state)
    assert out.records.shape == (9,)
    plain = td.run(DYNAMICS, *begin(), steps=45, every=5, reduce=reduce)
    assert_same_bits(out.reduced, plain.reduced)
    assert all(name.startswith("treedyn-writer") for name in fine.threads)


@pytest.mark.slow
def test_another_run_goes_on_in_the_same_file(tmp_path):
    state, env = begin()
    whole = Kept()
    td.run(DYNAMICS, state, env, steps=30, outputs=[td.Output(whole, where, 4)])
    with store.CSVWriter(tmp_path / "energy.csv") as table:
        pieces = [td.Output(Kept(), where, 4), td.Output(table, lambda s: {"potential": s.energy}, 4)]
        first = td.run(DYNAMICS, state, env, steps=12, outputs=pieces)
        td.run(DYNAMICS, first.state, first.env, steps=18, outputs=pieces)
    assert pieces[0].writer.steps == whole.steps == list(store.read_table(tmp_path / "energy.csv")["step"])
    assert_same_bits(pieces[0].writer.stacked(), whole.stacked())


@pytest.mark.slow
def test_a_resumed_run_writes_every_frame_once(tmp_path):
    whole, kept = Kept(), Kept()
    td.run(DYNAMICS, *begin(), steps=60, outputs=[td.Output(whole, where, 4)])

    def go(steps, **options):
        td.run(
            DYNAMICS,
            *begin(),
            steps=steps,
            checkpoint=tmp_path,
            checkpoint_every=20,
            outputs=[td.Output(kept, where, 4)],
            **options,
        )

    go(27)
    later = [*kept.frames[:5], (24, kept.frames[5][1]), (28, None)]
    kept.frames, kept.last = later, 28  # what a process wrote that died before its next checkpoint
    go(60, resume="must")
    assert kept.steps == whole.steps
    assert_same_bits(kept.stacked(), whole.stacked())


def test_no_checkpoint_is_ahead_of_the_outputs(tmp_path, monkeypatch):
    kept, seen = Kept(), []
    write = _checkpoint.Folder.write

    def watched(self, moment, note, fresh, step):
        seen.append((step, kept.flushed[-1] if kept.flushed else None))
        write(self, moment, note, fresh, step)

    monkeypatch.setattr(_checkpoint.Folder, "write", watched)
    out = [td.Output(kept, where, 5)]
    td.run(DYNAMICS, *begin(), steps=30, checkpoint=tmp_path, checkpoint_every=10, outputs=out, chunk=4)
    assert seen == [(0, None), (10, 10), (20, 20), (30, 30)]


@pytest.mark.slow
def test_two_runs_in_one_file_go_on_where_the_second_was_killed(tmp_path):
    def go(steps, writer):
        once = {"every": 4, "record": where, "outputs": [td.Output(writer, where, 4)]}
        first = td.run(DYNAMICS, *begin(), steps=20, checkpoint=tmp_path / "a", **once)
        td.run(DYNAMICS, first.state, first.env, steps=steps, checkpoint=tmp_path / "b", **once)

    whole, kept = Kept(), Kept()
    go(20, whole)
    for file in [*tmp_path.glob("a/*"), *tmp_path.glob("b/*")]:
        file.unlink()
    go(12, kept)
    go(20, kept)
    assert kept.steps == whole.steps == list(range(4, 41, 4))
    assert_same_bits(kept.stacked(), whole.stacked())


@pytest.mark.slow
def test_a_resumed_run_cuts_no_file_that_is_not_its_own(tmp_path):
    def go(steps, path):
        with store.CSVWriter(path, mode="a") as table:
            output = td.Output(table, lambda s: {"potential": s.energy}, 4)
            td.run(DYNAMICS, *begin(), steps=steps, checkpoint=tmp_path / "c", outputs=[output])

    with store.CSVWriter(tmp_path / "other.csv") as table:
        td.run(DYNAMICS, *begin(), steps=40, outputs=[td.Output(table, lambda s: {"potential": s.energy}, 2)])
    other = (tmp_path / "other.csv").read_bytes()
    go(20, tmp_path / "own.csv")
    with pytest.raises(ValueError, match=r"outputs\[0\]: .*up to step 20, where the run begins.*up to step 40"):
        go(30, tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_bytes() == other
    go(28, tmp_path / "new.csv")
    go(32, tmp_path / "own.csv")
    assert list(store.read_table(tmp_path / "new.csv")["step"]) == [24, 28]
    assert list(store.read_table(tmp_path / "own.csv")["step"]) == [4, 8, 12, 16, 20, 32]


def test_a_file_that_is_gone_is_told(tmp_path):
    def go(steps, writer):
        return td.run(DYNAMICS, *begin(), steps=steps, checkpoint=tmp_path, outputs=[td.Output(writer, where, 4)])

    go(20, Kept())
    with pytest.warns(UserWarning, match=r'outputs\[0\].*from step 20.*up to step None, not 20.*mode="a"'):
        go(30, Kept())


def test_frames_that_are_there_already_are_not_written_over():
    kept = Kept()
    td.run(DYNAMICS, *begin(), steps=20, outputs=[td.Output(kept, where, 4)])
    with pytest.raises(ValueError, match=r"outputs\[0\]: .*up to step 0, where the run begins.*up to step 20"):
        td.run(DYNAMICS, *begin(), steps=20, outputs=[td.Output(kept, where, 4)])
    assert len(kept.frames) == 5


@pytest.mark.slow
def test_a_full_disk_gives_back_everything():
    fails, fine = Kept(fails_at=20), Kept()
    outputs = [td.Output(fails, where, 4), td.Output(fine, where, 4)]
    arguments = {"steps": 60, "every": 4, "record": where, "outputs": outputs, "chunk": 4}
    with pytest.raises(td.OutputError, match=r"outputs.*could not be written after step \d+.*No space left") as caught:
        td.run(DYNAMICS, *begin(), **arguments)
    step = caught.value.step
    assert 20 <= step <= 60 and fails.steps == [4, 8, 12, 16]
    assert len(caught.value.records["x"]) == step // 4
    expected = td.run(DYNAMICS, *begin(), steps=step)
    assert_same_bits(caught.value.state, expected.state)
    arguments["outputs"] = [td.Output(Kept(fails_at=20), where, 4)]
    out = td.run(DYNAMICS, *begin(), **arguments, on_failure="return")
    assert isinstance(out.failure, td.OutputError) and out.steps == out.failure.step


def test_what_was_recorded_before_trouble_is_written():
    dynamics = td.nve(lambda x: jnp.sum(jnp.where(x > 1.0, jnp.nan, -x)), dt=0.01)
    state = dynamics.init(KEY, jnp.zeros(3), momentum=jnp.full(3, 1.0))
    kept = Kept()
    with pytest.raises(td.SimulationError) as caught:
        td.run(dynamics, state, steps=500, outputs=[td.Output(kept, where, 10)])
    assert kept.steps == list(range(10, caught.value.step + 1, 10)) and len(kept.steps) > 3


def test_outputs_that_do_not_fit_are_refused():
    state, env = begin()
    kept = Kept()
    for outputs, said in [
        ([td.Output(kept, lambda s: "text", 1)], r"outputs\[0\]: record: expected a function that returns arrays"),
        ([td.Output(kept, lambda s: s.key, 1)], r"outputs\[0\]: record: expected arrays of numbers, got random keys"),
    ]:
        with pytest.raises(ValueError, match=said):
            td.run(DYNAMICS, state, env, steps=3, outputs=outputs)


def test_two_outputs_into_one_file_are_refused(tmp_path):
    state, env = begin()
    (tmp_path / "sub").mkdir()
    with (
        store.CSVWriter(tmp_path / "x.csv", mode="a") as one,
        store.CSVWriter(tmp_path / "sub" / ".." / "x.csv", mode="a") as same,
        store.CSVWriter(tmp_path / "sub" / "x.csv") as other,
    ):
        for second in (same, store.background(same)):
            with pytest.raises(ValueError, match=r"outputs\[1\]: expected a writer of its own"):
                td.run(DYNAMICS, state, env, steps=3, outputs=[td.Output(w, energies, 1) for w in (one, second)])
        td.run(DYNAMICS, state, env, steps=3, outputs=[td.Output(w, energies, 1) for w in (one, other)])
        assert one.last == other.last == 3 and same.last is None
        second.close()


PROGRAM = """
import sys, jax, jax.numpy as jnp, treedyn as td
from treedyn.particles import io as tpf
folder, steps = sys.argv[1], int(sys.argv[2])
dynamics = td.langevin(lambda x: jnp.sum(x**2) / 2, dt=0.1, kT=1.0, gamma=1.0)
state = dynamics.init(jax.random.key(1), jnp.ones((20, 3)))
with td.store.CSVWriter(folder + "/a.csv", mode="a") as a, tpf.writer(folder + "/b.xyz", mode="a") as b:
    outputs = [td.Output(a, td.store.thermo(dt=0.1), 5), td.Output(b, lambda s: {"position": s.position}, 7)]
    print("ready", flush=True)
    td.run(dynamics, state, steps=steps, chunk=20, outputs=outputs, checkpoint=folder + "/c", checkpoint_every=100)
"""


@pytest.mark.slow
def test_files_of_a_run_that_was_killed_are_those_of_one_that_was_not(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir(), killed.mkdir()
    output(start(PROGRAM, whole, 4000))
    for _ in range(8):
        process = start(PROGRAM, killed, 4000)
        wait(process)
        time.sleep(CHANCE.uniform(0.1, 1.5))
        process.kill()
        process.communicate()
    output(start(PROGRAM, killed, 4000))
    for name in ("a.csv", "b.xyz"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    assert store.read_table(whole / "a.csv")["step"][-1] == 4000
