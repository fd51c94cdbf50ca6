"""Which files belong to a run that goes on: those that it wrote, wherever its folder was moved, and no others."""

import os
import shutil

import pytest

import treedyn as td
from tests.driver.test_outputs import DYNAMICS, begin, energies
from treedyn import store
from treedyn.driver import _resume


def go(folder, steps, *outputs, checkpoint="c", **options):
    """Run with outputs (name, every) in a folder."""
    writers = [store.CSVWriter(folder / name, mode="a") for name, _ in outputs]
    try:
        each = [td.Output(writer, energies, every) for writer, (_, every) in zip(writers, outputs, strict=True)]
        return td.run(DYNAMICS, *begin(), steps=steps, outputs=each, checkpoint=folder / checkpoint, **options)
    finally:
        for writer in writers:
            writer.close()


def steps_in(file):
    return store.read_table(file)["step"].tolist()


@pytest.mark.slow
def test_a_file_of_the_same_name_in_another_folder_is_another_file(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
    go(tmp_path, 40, ("b/x.csv", 4), checkpoint="d")
    go(tmp_path, 20, ("a/x.csv", 4))
    with pytest.raises(ValueError, match=r"outputs\[0\]: .*up to step 20, where the run begins.*up to step 40"):
        go(tmp_path, 30, ("b/x.csv", 4))
    assert steps_in(tmp_path / "b" / "x.csv") == list(range(4, 41, 4))


def test_a_run_whose_folder_was_moved_goes_on_in_its_files(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError, match="killed"), monkeypatch.context() as patch:
        done = []

        def killed(self, *arguments):
            done.append(1)
            if len(done) > 2:
                raise RuntimeError("killed")
            return keep(self, *arguments)

        keep = _resume.Checkpoints.after_chunk
        patch.setattr(_resume.Checkpoints, "after_chunk", killed)
        go(tmp_path / "old", 40, ("x.csv", 4), checkpoint_every=10, chunk=10)
    assert steps_in(tmp_path / "old" / "x.csv")[-1] > 20
    shutil.move(tmp_path / "old", tmp_path / "new")
    go(tmp_path / "new", 40, ("x.csv", 4))
    assert steps_in(tmp_path / "new" / "x.csv") == list(range(4, 41, 4))


def test_another_rate_is_refused(tmp_path):
    go(tmp_path, 20, ("x.csv", 4), ("y.csv", 5))
    with pytest.raises(ValueError, match=r"wrote to CSVWriter \.\./x\.csv every 4 steps, not every 5"):
        go(tmp_path, 40, ("y.csv", 5), ("x.csv", 5))
    go(tmp_path, 40, ("y.csv", 5), ("x.csv", 4))
    assert steps_in(tmp_path / "x.csv") == list(range(4, 41, 4))
    assert steps_in(tmp_path / "y.csv") == list(range(5, 41, 5))


def test_two_tables_on_one_terminal_are_two_outputs(tmp_path, capsys):
    for steps in (10, 20):
        tables = [td.Output(store.ThermoTable(speed=False), energies, every) for every in (5, 10)]
        td.run(DYNAMICS, *begin(), steps=steps, outputs=tables, checkpoint=tmp_path / "c")
    assert len(capsys.readouterr().out) > 100


@pytest.mark.skipif(os.name != "posix", reason="hard links")
def test_a_second_name_of_a_file_is_the_same_file(tmp_path):
    (tmp_path / "x.csv").touch()
    os.link(tmp_path / "x.csv", tmp_path / "y.csv")
    with pytest.raises(ValueError, match=r"outputs\[1\]: expected a writer of its own"):
        go(tmp_path, 20, ("x.csv", 4), ("y.csv", 5))


def test_what_cannot_be_flushed_does_not_hide_why_a_run_failed():
    class Broken(store.Writer):
        def write(self, steps, frames): ...
        def rewind(self, step): ...
        def close(self): ...

        def flush(self):
            raise OSError(28, "No space left on device")

    dynamics = td.langevin(lambda x: (x**2).sum() / 2 + (x**8).sum(), dt=0.2, kT=10.0, gamma=1.0)
    state = dynamics.init(begin()[0].key, begin()[0].position)
    outputs = [td.Output(Broken(), energies, 1)]
    out = td.run(dynamics, state, steps=1000, outputs=outputs, on_failure="return")
    assert isinstance(out.failure, td.SimulationError)
    assert "No space left on device" in out.failure.__notes__[0]
    with pytest.raises(td.SimulationError):
        td.run(dynamics, state, steps=1000, outputs=outputs)
