"""The promises of all writers of files: no frame is lost, none is there twice, and nothing is overwritten unasked."""

import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import treedyn as td
from tests.driver.test_outputs import DYNAMICS, begin
from tests.store.samples import STEPS, content, open_writer, read, tolerance
from treedyn import store

ALL = [".csv", ".jsonl", ".zarr", ".xyz", ".h5md", ".gsd"]
SUFFIXES = pytest.mark.parametrize("suffix", ALL)
SOME_SLOW = pytest.mark.parametrize(
    "suffix", [pytest.param(x, marks=pytest.mark.slow if x in ALL[3:] else ()) for x in ALL]
)


def write(writer, steps):
    writer.write(np.array(steps), content(writer.path.suffix, steps))


def assert_holds(path, steps):
    """Check that a file has the frames of these steps; GSD stores images, which costs the last bits of positions."""
    found, frames = read(path)
    extra = {name: frames[name] for name in ("cell", "species", "periodic") if name in frames}
    expected = content(path.suffix, steps) | extra
    assert found == list(steps) and jax.tree.structure(frames) == jax.tree.structure(expected)
    kept = tolerance(np.float64) if path.suffix == ".gsd" else 0.0
    for x, y in zip(jax.tree.leaves(frames), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype
        if x.dtype.kind == "f":
            np.testing.assert_allclose(x, y, rtol=kept, atol=10 * kept)
        else:
            np.testing.assert_array_equal(x, y)


@SOME_SLOW
def test_continuing_and_rewinding_leave_no_gap_and_no_duplicate(suffix, tmp_path):
    path, steps = tmp_path / f"t{suffix}", range(0, 100, 10)
    for part, last in ((steps[:4], None), (steps[4:8], 30)):
        with open_writer(path, "a") as out:
            assert out.last == last
            write(out, part)
    with open_writer(path, "a") as out:
        out.rewind(45)
        assert out.last == 40
        assert_holds(path, steps[:5])
        out.rewind(1000)
        for step in steps[5:]:
            write(out, [step])
        out.flush()
        assert_holds(path, steps)  # while it is open
        out.rewind(60)
        with pytest.raises(ValueError, match="rewind"):
            write(out, [60])
    assert_holds(path, steps[:7])
    with open_writer(path, "a") as out:
        out.rewind(-1)
        assert out.last is None
        write(out, [5])
    assert_holds(path, [5])


_KILLED = """
import pathlib, sys
import numpy as np
from tests.store.samples import content, open_writer
path = pathlib.Path(sys.argv[1])
out = open_writer(path, "a")
for step in range(10, 10**9, 10):
    out.write(np.array([step]), content(path.suffix, [step]))
    print(step, flush=True)
"""


@pytest.mark.slow
@SOME_SLOW
def test_the_death_of_the_process_loses_no_frame_that_was_written(suffix, tmp_path):
    path = tmp_path / f"t{suffix}"
    with subprocess.Popen([sys.executable, "-c", _KILLED, str(path)], stdout=subprocess.PIPE, text=True) as process:
        written = [int(process.stdout.readline()) for _ in range(23)]
        process.send_signal(signal.SIGKILL)
        written += [int(line) for line in process.stdout if line.endswith("\n")]
    steps = read(path)[0]
    assert steps[: len(written)] == written and len(steps) <= len(written) + 1
    assert_holds(path, steps)
    with open_writer(path, "a") as out:
        assert out.last == steps[-1]
        out.rewind(50)
        write(out, [60, 70])
    assert_holds(path, range(10, 80, 10))


@SUFFIXES
def test_files_are_overwritten_only_on_request(suffix, tmp_path):
    path = tmp_path / f"t{suffix}"
    with open_writer(path) as out:
        write(out, STEPS)
    with pytest.raises(FileExistsError, match='mode="a"'):
        open_writer(path)
    with pytest.raises(ValueError, match="mode"):
        open_writer(path, "r")
    with pytest.raises(FileNotFoundError, match="directory"):
        open_writer(tmp_path / "nowhere" / path.name)
    assert_holds(path, STEPS)
    with open_writer(path, "w") as out:
        assert out.last is None
        write(out, [3])
    assert_holds(path, [3])


@SUFFIXES
def test_a_closed_writer_refuses_all_calls_and_leaves_its_file_unchanged(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with open_writer(Path(f"x{suffix}")) as writer:
        write(writer, STEPS)
        monkeypatch.chdir(tmp_path / "elsewhere")  # the file stays where it is
        assert not writer.closed and writer.path.is_absolute()
    assert writer.closed
    writer.close()
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert before
    for use in (lambda: write(writer, [50]), lambda: writer.rewind(0), writer.flush):
        with pytest.raises(ValueError, match=r'the writer of .*x\..* is closed; open another one with mode="a"'):
            use()
    with pytest.raises(ValueError, match="expected one that is open"):
        store.background(writer)
    refused_by_run(writer)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    with open_writer(writer.path, "a") as again:
        assert again.last == STEPS[-1]
        write(again, [50])


def refused_by_run(writer):
    state, env = begin()
    with pytest.raises(ValueError, match=r"outputs\[0\].* closed"):
        td.run(DYNAMICS, state, env, steps=3, outputs=[td.Output(writer, lambda s: {"energy": s.energy}, 1)])


def test_a_run_refuses_a_closed_writer_in_the_background(tmp_path):
    writer = store.background(store.CSVWriter(tmp_path / "x.csv"))
    writer.close()
    assert writer.closed and writer.writer.closed
    refused_by_run(writer)
