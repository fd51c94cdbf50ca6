"""A run that was stopped goes on to end in the same bits; what does not fit is refused, and nothing is lost."""

import signal
import time

import pytest

import treedyn as td
from tests.driver.environments import KEY, energy, near_list, start_position
from tests.helpers import assert_same_bits, mostly_slow
from tests.programs import kill, output, start, wait
from treedyn.store import _archive as archive
from treedyn.store._checkpoint import Folder

DYNAMICS = td.langevin(energy, dt=0.05, kT=0.3, gamma=1.0)


def where(state):
    return {"x": state.position, "energy": state.energy}


def begin(**options):
    position = start_position()
    env = near_list(position, capacity=24, **options)  # grows on the way
    return DYNAMICS.init(KEY, position, env, kT=0.3), env


@pytest.fixture(scope="module")
def whole():
    return td.run(DYNAMICS, *begin(), steps=60, every=4, record=where)


def go_on(folder, steps=60, **options):
    return td.run(DYNAMICS, *begin(), **{"every": 4, "record": where, **options}, steps=steps, checkpoint=folder)


@pytest.mark.slow
@pytest.mark.parametrize("stops, every", [((0, 1, 59), 7), *mostly_slow([((13, 26, 27), None), ((60,), 20)])])
def test_a_run_in_pieces_ends_in_the_same_bits_as_a_whole_one(tmp_path, whole, stops, every):
    for stop in (*stops, 60):
        out = go_on(tmp_path, stop, checkpoint_every=every)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))
    assert_same_bits(out.env, whole.env)
    assert (out.steps, out.rebuilds) == (whole.steps, whole.rebuilds)
    assert len(list(tmp_path.glob("step-*"))) <= 3 and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("harm", mostly_slow(["records", "flip", "cut", "empty"], "records"))
def test_a_damaged_checkpoint_is_passed_over(tmp_path, whole, harm):
    go_on(tmp_path, 40, checkpoint_every=10)
    file = sorted(tmp_path.glob("records-*" if harm == "records" else "step-*"))[-1]
    raw = bytearray(file.read_bytes())
    middle = slice(len(raw) // 2, len(raw) // 2 + 200)  # more than the padding between two arrays, which holds nothing
    raw[middle] = bytes(byte ^ 4 for byte in raw[middle])
    file.write_bytes({"cut": raw[: len(raw) // 3], "empty": b""}.get(harm, raw))
    with pytest.warns(UserWarning, match=r"damaged.*the checkpoint before it is used"):
        out = go_on(tmp_path, checkpoint_every=10)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the checkpoint before it is used")
def test_damaged_checkpoints_take_no_place_of_good_ones(tmp_path, whole):
    go_on(tmp_path, 30, checkpoint_every=10)
    for file in sorted(tmp_path.glob("step-*"))[1:]:
        file.write_bytes(b"PK")
    go_on(tmp_path, 15, checkpoint_every=5, keep=2)
    assert sorted(file.name for file in tmp_path.glob("*.npz") if "step" in file.name) == [
        "step-000000000010.npz",
        "step-000000000015.npz",
    ]
    out = go_on(tmp_path)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*the checkpoint before it is used")
def test_damage_to_all_of_them_is_an_error_and_nothing_is_deleted(tmp_path):
    go_on(tmp_path, 20, checkpoint_every=10)
    files = sorted(tmp_path.glob("step-*"))
    for file in files:
        file.write_bytes(b"PK")
    with pytest.raises(td.DamagedFile, match=r"all checkpoints in .* are damaged"):
        go_on(tmp_path)
    assert sorted(tmp_path.glob("step-*")) == files


@pytest.mark.parametrize(
    "change, said",
    [
        ({"every": 5}, "every = 4 instead of 5"),
        ({"record": None}, "every = 4 instead of nothing"),
        (
            {"record": lambda state: {"x": state.position[0], "energy": state.energy}},
            r"record\['x'\] = float64\[9, 2\] instead",
        ),
        ({"steps": 10}, "20 steps, more than 10. Ask for as many or more"),
    ],
)
def test_another_way_to_run_is_refused(tmp_path, change, said):
    go_on(tmp_path, 20)
    with pytest.raises(ValueError, match=said):
        go_on(tmp_path, **change)


def test_another_run_is_refused_until_it_is_told_to_replace(tmp_path):
    go_on(tmp_path, 20)
    state, env = begin()
    hot = td.langevin(energy, dt=0.05, kT=0.4, gamma=1.0)
    with pytest.raises(ValueError, match=r"dynamics.*kT = 0\.3 instead of 0\.4.*another folder.*never"):
        td.run(hot, state, env, steps=30, checkpoint=tmp_path, every=4, record=where)
    with pytest.raises(ValueError, match=r"dynamics = Splitting\(.* instead of Splitting\("):
        td.run(td.nve(energy, dt=0.05), state, env, steps=30, checkpoint=tmp_path, every=4, record=where)
    moved = state.replace(position=state.position + 1)
    with pytest.raises(ValueError, match=r"start\.boxed"):
        td.run(DYNAMICS, moved, env, steps=30, checkpoint=tmp_path, every=4, record=where)
    out = td.run(hot, state, env, steps=30, checkpoint=tmp_path, resume="never")
    assert out.steps == 30 and [x.name for x in tmp_path.glob("*-*")] == ["step-000000000030.npz"]


@pytest.mark.slow
def test_must_resume_refuses_an_empty_folder(tmp_path):
    with pytest.raises(ValueError, match=r"must.*there is no folder"):
        go_on(tmp_path / "new" / "one", resume="must")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"must.*holds no checkpoint"):
        go_on(tmp_path, resume="must")
    go_on(tmp_path, 8)
    assert go_on(tmp_path, 12, resume="must").steps == 12


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"resume": "maybe"}, "resume: expected 'auto', 'never' or 'must', got 'maybe'"),
        ({"checkpoint": None, "keep": 0}, "keep: expected an integer of at least 1"),
        ({"checkpoint": None, "resume": "must"}, "expected a folder for checkpoints as well"),
        ({"checkpoint": None, "tag": "a"}, "expected a folder for checkpoints as well"),
        ({"checkpoint": None, "checkpoint_every": 5}, "expected a folder for checkpoints as well"),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, said):
    with pytest.raises(ValueError, match=said):
        td.run(DYNAMICS, *begin(), steps=2, **{"checkpoint": tmp_path, **arguments})
    assert not list(tmp_path.glob("step-*"))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="expected a folder"):
        go_on(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_second_process_is_kept_out(tmp_path):
    with Folder(tmp_path, 3), pytest.raises(ValueError, match="another process is using"):
        go_on(tmp_path)
    assert go_on(tmp_path, 4).steps == 4


def test_a_full_disk_gives_back_everything(tmp_path, whole, monkeypatch):
    go_on(tmp_path, 20, checkpoint_every=10)
    write = archive._write

    def full(file, value, note):
        write(file, value, note)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_write", full)
    with pytest.raises(td.OutputError, match=r"could not be written after step 30.*No space left") as caught:
        go_on(tmp_path, checkpoint_every=10)
    assert caught.value.step == 30 and len(caught.value.records["x"]) == 7
    assert_same_bits(caught.value.records["x"], whole.records["x"][:7])
    monkeypatch.undo()
    out = go_on(tmp_path, checkpoint_every=10)
    assert_same_bits((out.state, out.records), (whole.state, whole.records))


PROGRAM = """
import signal, sys, jax, jax.numpy as jnp, treedyn as td
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a program in the background is born without
def energy(x): return jnp.sum(x["a"]**2) / 2 + jnp.sum(jnp.cos(x["b"]))
dynamics = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0)
state = dynamics.init(jax.random.key(1), {"a": jnp.ones(50), "b": jnp.zeros((3, 2))})
folder, steps = sys.argv[1], int(sys.argv[2])
print("ready", flush=True)
out = td.run(dynamics, state, steps=steps, every=3, record=lambda s: s.position, checkpoint=folder, checkpoint_every=5)
print(float(jnp.sum(out.state.position["a"])).hex(), float(out.records["b"].sum()).hex(), len(out.records["a"]))
"""


STEPS = 2000


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return output(start(PROGRAM, tmp_path_factory.mktemp("unbroken"), STEPS))


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_ends_in_the_same_bits(tmp_path, unbroken):
    for _ in range(20):
        kill(start(PROGRAM, tmp_path, STEPS), tmp_path)
    assert output(start(PROGRAM, tmp_path, STEPS)) == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, -2)])
def test_a_signal_finishes_the_chunk_writes_and_says_so(tmp_path, unbroken, number, code):
    process = start(PROGRAM, tmp_path, STEPS)
    wait(process)
    while not list(tmp_path.glob("step-*")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    _, error = process.communicate()
    assert "run stopped after step" in error and "The same call resumes it" in error
    assert process.returncode == code
    assert output(start(PROGRAM, tmp_path, STEPS)) == unbroken
