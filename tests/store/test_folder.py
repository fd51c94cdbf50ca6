"""A folder of checkpoints: whose files are in it, what is kept of them, and who may ask a run to stop."""

import errno
import os
import signal

import pytest

import treedyn as td
from tests.driver.environments import energy
from tests.helpers import assert_same_bits
from tests.store.test_checkpoint import DYNAMICS, begin, go_on, where
from treedyn.driver._session import Session
from treedyn.store import _archive as archive
from treedyn.store import _checkpoint as checkpoint


@pytest.fixture(scope="module")
def whole():
    return td.run(DYNAMICS, *begin(), steps=60, every=4, record=where)


@pytest.mark.slow
def test_files_that_are_not_of_the_run_stay_where_they_are(tmp_path):
    names = ("step-best.npz", "records-final.npz", ".step-best.npz.1.part", ".download.part", "step-1.npz", "notes")
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
    go_on(tmp_path, 20, checkpoint_every=5)
    for resume in ("must", "never"):
        go_on(tmp_path, 30, checkpoint_every=5, resume=resume)
    assert sum(file.read_bytes() == b"mine" for file in tmp_path.iterdir()) == len(names)


@pytest.mark.filterwarnings("ignore:.*the checkpoint before it is used")
def test_what_is_damaged_is_kept_under_another_name(tmp_path, whole):
    go_on(tmp_path, 30, checkpoint_every=10)
    td.save(tmp_path / "step-000000000040.npz", begin()[0])  # whole, but no checkpoint
    (tmp_path / "step-000000000030.npz").write_bytes(b"PK")
    go_on(tmp_path, 25)
    assert {file.name for file in tmp_path.glob("*.damaged")} == {
        "step-000000000030.npz.damaged",
        "step-000000000040.npz.damaged",
    }
    out = go_on(tmp_path)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))


@pytest.mark.parametrize("number, error", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_is_obeyed_also_when_a_run_is_over(tmp_path, monkeypatch, number, error):
    def asked(session, end=Session.end):
        end(session)
        signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(Session, "end", asked)
    for _ in range(2):  # while it ends, and when it only reads what is there
        with pytest.raises(error):
            go_on(tmp_path, 20)
    monkeypatch.undo()
    assert go_on(tmp_path, 20, resume="must").steps == 20
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before[signal.SIGINT])
    assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]


def test_a_handler_of_ones_own_stays_in_force(tmp_path):
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))

    state, env = begin()
    options = {"outputs": [td.Output(Asking(), lambda s: s.energy, 2)], "checkpoint": tmp_path}
    try:
        assert td.run(DYNAMICS, state, env, steps=6, **options).steps == 6
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]


class Asking(td.store.Writer):
    """Sends a signal, and may fail after it."""

    def __init__(self, number=signal.SIGTERM, fails=False):
        self.number, self.fails = number, fails

    def write(self, steps, frames): ...

    def rewind(self, step): ...

    def close(self): ...

    def flush(self):
        if self.number:
            os.kill(os.getpid(), self.number)
            self.number = None
            if self.fails:
                raise OSError(28, "No space left on device")


@pytest.mark.parametrize("failure", ["raise", "return"])
def test_a_signal_is_obeyed_also_when_something_fails(tmp_path, failure):
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    state, env = begin()
    outputs = [td.Output(Asking(fails=True), lambda s: s.energy, 2)]
    try:
        with pytest.raises(SystemExit) as caught:
            td.run(DYNAMICS, state, env, steps=6, outputs=outputs, checkpoint=tmp_path, on_failure=failure)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert caught.value.code == 143


def test_a_run_that_dies_while_it_replaces_another_one_takes_nothing_from_it(tmp_path, whole, monkeypatch):
    go_on(tmp_path, 30, checkpoint_every=10)
    state, env = begin()
    hot = td.langevin(energy, dt=0.05, kT=0.4, gamma=1.0)

    def dies(path, *arguments, save=archive.save, **options):
        if path.name.startswith("step-"):
            raise MemoryError
        return save(path, *arguments, **options)

    monkeypatch.setattr(checkpoint, "save", dies)
    with pytest.raises(td.OutputError):
        td.run(hot, state, env, steps=10, every=4, record=where, checkpoint=tmp_path, resume="never")
    monkeypatch.undo()
    assert len(list(tmp_path.glob("records-*"))) == 4
    out = go_on(tmp_path)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))
    assert len(list(tmp_path.glob("records-*"))) == 4  # three of before, one more, and none that belongs to no run


def test_a_folder_is_where_it_was_when_the_run_began(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)

    def moves(session, todo, steps, advance=Session.advance):
        os.chdir(tmp_path / "elsewhere")
        return advance(session, todo, steps)

    monkeypatch.setattr(Session, "advance", moves)
    go_on("kept", 20)
    assert (tmp_path / "kept" / "step-000000000020.npz").is_file()


def test_an_ignored_signal_stays_ignored(tmp_path, monkeypatch):
    def asked(session, end=Session.end):
        end(session)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(Session, "end", asked)
    assert go_on(tmp_path, 20).steps == 20
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError, match=r"checkpoint: .* cannot be written to.*Use a copy of the folder"):
        go_on(tmp_path, 4)


def test_a_finished_run_is_read_from_where_nothing_can_be_written(tmp_path, whole, monkeypatch):
    go_on(tmp_path)

    def read_only(path, flags, *mode, open=os.open):
        if flags & os.O_CREAT:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open(path, flags, *mode)

    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(os, "open", read_only)
    out = go_on(tmp_path, resume="must")
    assert_same_bits((out.state, out.records), (whole.state, whole.records))
    # what would be lost is refused before the first step
    monkeypatch.setattr(Session, "advance", None)
    for arguments in ({"steps": 70}, {"resume": "never"}):
        with pytest.raises(PermissionError, match=r"checkpoint: .* cannot be written to.*Use a copy of the folder"):
            go_on(tmp_path, **arguments)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.filterwarnings("ignore:.*the checkpoint before it is used")
def test_records_in_the_place_of_others_are_damage(tmp_path):
    go_on(tmp_path, 40, checkpoint_every=20)
    one, other = sorted(tmp_path.glob("records-*"))
    one.write_bytes(other.read_bytes())
    with pytest.raises(td.DamagedFile, match=rf"{one.name}: it is damaged: it holds the records of {other.name}"):
        go_on(tmp_path)
