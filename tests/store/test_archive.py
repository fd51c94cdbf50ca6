"""A saved tree comes back in every bit, and a damaged file is always detected."""

import errno
import json
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import treedyn as td
from tests.helpers import assert_same_bits
from treedyn.store import _archive as archive

DTYPES = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "int4", "int8", "uint32", "bool", "complex64"]


@st.composite
def arrays(draw):
    dtype, shape = jnp.dtype(draw(st.sampled_from(DTYPES))), draw(st.lists(st.integers(0, 3), max_size=3))
    values = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, shape)
    values = np.asarray(values, dtype)
    return draw(st.sampled_from([np.asarray, jnp.asarray]))(values)


LEAVES = st.one_of(arrays(), st.booleans(), st.integers(), st.floats(), st.complex_numbers())
NAMES = st.text("abc/.'[]", max_size=3)
TREES = st.recursive(
    LEAVES | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3) | st.tuples(inner, inner),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archive")


@settings(max_examples=120, deadline=None)
@given(TREES)
def test_any_tree_comes_back_in_every_bit(folder, value):
    td.save(folder / "any.npz", value, note=[1, "two"])
    back = td.load(folder / "any.npz", value)
    assert jax.tree.structure(back) == jax.tree.structure(value)
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(value), strict=True):
        assert type(a) is type(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)
        same = np.asarray(a).tobytes() == np.asarray(b).tobytes() if hasattr(a, "dtype") else repr(a) == repr(b)
        assert same and np.shape(a) == np.shape(b)
    assert archive.note_of(folder / "any.npz") == [1, "two"]
    assert [file.name for file in folder.iterdir()] == ["any.npz"]


def some_tree():
    return {"x": jnp.arange(40.0).reshape(8, 5), "key": jax.random.key(7), "f": jnp.tanh, "n": [3, None]}


def test_keys_come_back_and_functions_are_taken_from_like(folder):
    value = some_tree()
    td.save(folder / "keys.npz", value)
    back = td.load(folder / "keys.npz", {**value, "x": jnp.zeros((8, 5)), "key": jax.random.key(0), "n": [0, None]})
    assert back["f"] is jnp.tanh and back["n"] == [3, None]
    assert_same_bits(jax.random.normal(back["key"]), jax.random.normal(value["key"]))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_flipped_bit_is_detected_or_changes_nothing(folder, data):
    file, value = folder / "bits.npz", some_tree()
    td.save(file, value)
    raw = bytearray(file.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    file.write_bytes(raw)
    try:
        back = td.load(file, value)
    except td.DamagedFile:
        return
    assert_same_bits(back["x"], value["x"])
    assert_same_bits(jax.random.key_data(back["key"]), jax.random.key_data(value["key"]))
    assert back["n"] == value["n"]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_truncated_file_is_detected(folder, data):
    file = folder / "cut.npz"
    td.save(file, some_tree())
    raw = file.read_bytes()
    file.write_bytes(raw[: data.draw(st.integers(0, len(raw) - 1))])
    with pytest.raises(td.DamagedFile, match=r"cut\.npz"):
        td.load(file, some_tree())


@pytest.mark.parametrize(
    "like, said",
    [
        ({"x": jnp.zeros(3)}, r"it lacks \['x'\], and it has \['a'\]"),
        ({"a": jnp.zeros(4)}, r"\['a'\] is float64\[3\] in the file, expected float64\[4\]"),
        ({"a": jnp.zeros(3, jnp.float32)}, r"float64\[3\] in the file, expected float32\[3\]"),
        ({"a": 1.0}, r"float64\[3\] in the file, expected a float"),
        ({"a": jnp.tanh}, r"float64\[3\] in the file, expected a"),
        ({"a": jax.random.key(0)}, r"expected a key"),
    ],
)
def test_another_tree_is_refused(folder, like, said):
    td.save(folder / "other.npz", {"a": jnp.zeros(3)})
    with pytest.raises(ValueError, match=said):
        td.load(folder / "other.npz", like)


def test_a_newer_format_is_refused(folder, monkeypatch):
    monkeypatch.setattr(archive, "FORMAT", archive.FORMAT + 1)
    td.save(folder / "new.npz", [1.0])
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"newer version.*update treedyn"):
        td.load(folder / "new.npz", [1.0])


def test_other_archives_and_missing_files_are_refused(folder):
    np.savez(folder / "foreign.npz", a=np.zeros(3))
    with pytest.raises(td.DamagedFile, match=r"expected a file written by td\.save"):
        td.load(folder / "foreign.npz", {"a": np.zeros(3)})
    with pytest.raises(FileNotFoundError, match=r"no such file"):
        td.load(folder / "none.npz", 1.0)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_errors_of_the_system_are_not_reported_as_damage(folder, monkeypatch, number):
    td.save(folder / "x.npz", {"a": jnp.ones(3)})

    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(archive.zipfile, "ZipFile", refused)
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        td.load(folder / "x.npz", {"a": jnp.ones(3)})
    assert caught.value.errno == number


def test_a_full_disk_leaves_the_old_file(folder, monkeypatch):
    file = folder / "full.npz"
    td.save(file, [1.0])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        td.save(file, [2.0])
    assert td.load(file, [0.0]) == [1.0]
    assert not list(folder.glob(".*"))


@pytest.mark.slow
def test_python_numbers_keep_weak_types_after_a_restart(folder):
    def energy(x, env):
        return env["k"] * jnp.sum(x**2) / env["n"]

    dynamics, env = td.langevin(energy, dt=0.1, kT=1.0, gamma=1.0), {"k": 2.0, "n": 3}
    state = dynamics.init(jax.random.key(0), jnp.ones(4, jnp.float32), env)
    whole = td.run(dynamics, state, env, steps=20)
    for steps in (10, 20):
        out = td.run(dynamics, state, env, steps=steps, checkpoint=folder / "numbers")
    assert out.state.energy.dtype == jnp.float32
    assert_same_bits(jax.tree.leaves((out.state, out.env)), jax.tree.leaves((whole.state, whole.env)))


def test_weak_types_of_arrays_are_kept_after_a_restart(folder):
    env = {"k": jnp.full(3, 2.0)}  # weakly typed float64
    dynamics = td.nve(lambda x, env: jnp.sum(env["k"] * x**2), dt=np.float32(0.01))
    state = dynamics.init(jax.random.key(0), jnp.ones(3, jnp.float32), env)
    whole = td.run(dynamics, state, env, steps=20)
    for steps in (10, 20):
        out = td.run(dynamics, state, env, steps=steps, checkpoint=folder / "weak")
    assert_same_bits((out.state.position, out.env["k"]), (whole.state.position, whole.env["k"]))
    assert out.env["k"].weak_type and out.state.energy.dtype == jnp.float32


def test_saving_to_a_link_replaces_its_target(folder):
    td.save(folder / "target.npz", 1.0)
    (folder / "link.npz").symlink_to(folder / "target.npz")
    td.save(folder / "link.npz", 2.0)
    assert (folder / "link.npz").is_symlink() and td.load(folder / "target.npz", 0.0) == 2.0


def test_no_memory_is_asked_for_that_a_file_only_declares(folder):
    td.save(folder / "small.npz", {"a": np.zeros(3)})
    for compression, shape in ((zipfile.ZIP_STORED, (10**13,)), (zipfile.ZIP_DEFLATED, (3,))):
        with zipfile.ZipFile(folder / "small.npz") as old, zipfile.ZipFile(folder / "x.npz", "w", compression) as new:
            new.writestr("manifest.json", old.read("manifest.json"))
            with new.open("0.npy", "w") as member:
                header = {"descr": "<f8", "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(member, header)
                member.write(bytes(24))
        with pytest.raises(td.DamagedFile, match=r"x\.npz.*declares"):
            td.load(folder / "x.npz", {"a": np.zeros(3)})


@pytest.mark.parametrize("contents", [[], {}, {"format": 1}, {"format": 1, "leaves": [], "statics": {}}])
def test_a_list_of_contents_without_entries_is_damage(folder, contents):
    with zipfile.ZipFile(folder / "odd.npz", "w") as odd:
        odd.writestr("manifest.json", json.dumps(contents))
    with pytest.raises(td.DamagedFile, match="the list of contents is damaged"):
        td.load(folder / "odd.npz", 1.0)
