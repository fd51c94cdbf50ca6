"""A writer that was closed takes nothing more, says so, and leaves its file as it is."""

import numpy as np
import pytest

import treedyn as td
from tests.driver.test_outputs import DYNAMICS, begin
from tests.store.samples import SPACES, STEPS, frames
from treedyn import store
from treedyn.particles import io as tpf

DATA = {name: value for name, value in frames().items() if name in ("position", "energy")}
NUMBERS = {"energy": DATA["energy"]}


def open_writer(folder, kind, mode):
    if kind in ("xyz", "h5md", "gsd"):
        return tpf.writer(folder / f"x.{kind}", mode=mode, space=SPACES["cubic"])
    classes = {"csv": store.CSVWriter, "jsonl": store.JSONLinesWriter, "zarr": store.ZarrWriter}
    return classes[kind](folder / f"x.{kind}", mode=mode)


def content(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "zarr", "xyz", "h5md", "gsd"])
def test_a_closed_writer_takes_nothing_more(tmp_path, monkeypatch, kind):
    data = NUMBERS if kind in ("csv", "jsonl") else DATA
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    here = type(tmp_path)(".")
    with open_writer(here, kind, "x") as writer:
        writer.write(STEPS, data)
        monkeypatch.chdir(tmp_path / "elsewhere")  # its file stays where it is
        assert not writer.closed and writer.path.is_absolute()
    assert writer.closed
    writer.close()
    before = content(tmp_path)
    assert before
    later = {name: value[:1] for name, value in data.items()}
    for use in (lambda: writer.write(np.array([50]), later), lambda: writer.rewind(0), writer.flush):
        with pytest.raises(ValueError, match=r'the writer of .*x\..* is closed; open another one with mode="a"'):
            use()
    state, env = begin()
    with pytest.raises(ValueError, match=r"outputs\[0\]: its writer is closed"):
        td.run(DYNAMICS, state, env, steps=3, outputs=[td.Output(writer, lambda s: {"energy": s.energy}, 1)])
    with pytest.raises(ValueError, match="expected one that is open"):
        store.background(writer)
    assert content(tmp_path) == before
    with open_writer(tmp_path, kind, "a") as again:
        assert again.last == STEPS[-1]
        again.write(np.array([50]), later)


def test_a_writer_in_the_background_that_was_closed_is_refused(tmp_path):
    state, env = begin()
    writer = store.background(store.CSVWriter(tmp_path / "x.csv"))
    writer.close()
    assert writer.closed and writer.writer.closed
    with pytest.raises(ValueError, match=r"outputs\[0\]: its writer is closed"):
        td.run(DYNAMICS, state, env, steps=3, outputs=[td.Output(writer, lambda s: {"energy": s.energy}, 1)])
