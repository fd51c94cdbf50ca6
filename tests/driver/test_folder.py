"""A folder of checkpoints: whose files are in it, what is kept of them, and who may ask a run to stop."""

import errno
import os
import signal

import pytest

import treedyn as td
from tests.driver.test_checkpoint import DYNAMICS, begin, go_on, where
from tests.helpers import assert_same_bits
from treedyn.driver.host import Host


@pytest.fixture(scope="module")
def whole():
    return td.run(DYNAMICS, *begin(), steps=60, every=4, record=where)


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
    def asked(host, end=Host.end):
        end(host)
        signal.raise_signal(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(Host, "end", asked)
    for _ in range(2):  # while it ends, and when it only reads what is there
        with pytest.raises(error):
            go_on(tmp_path, 20)
    monkeypatch.undo()
    assert go_on(tmp_path, 20, resume="must").steps == 20
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before[signal.SIGINT])
    assert signal.getsignal(signal.SIGTERM) is before[signal.SIGTERM]


def test_an_ignored_signal_stays_ignored(tmp_path, monkeypatch):
    def asked(host, end=Host.end):
        end(host)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr(Host, "end", asked)
    assert go_on(tmp_path, 20).steps == 20
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(PermissionError, match=r"checkpoint: .* cannot be written to.*use a copy of the folder"):
        go_on(tmp_path, 4)
