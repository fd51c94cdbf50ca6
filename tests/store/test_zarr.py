"""Zarr returns any tree as it was written: structure, dtypes and numbers."""

import collections
import json
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import treedyn as td
from treedyn import store

DTYPES = [np.dtype(x) for x in ("bool", "int8", "int32", "int64", "uint8", "uint64", "float16", "float32", "float64")]
DTYPES += [np.dtype(x) for x in ("complex64", "complex128")]


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        if hasattr(b, "dtype"):
            assert a.dtype == b.dtype and a.shape == b.shape
            assert np.asarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
        else:
            assert a == b and type(a) is type(b)


def leaves(n):
    shapes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3)
    array = st.sampled_from(DTYPES).flatmap(lambda d: shapes.flatmap(lambda s: hnp.arrays(d, (n, *s))))
    return array | st.none() | st.integers(-3, 3) | st.text(max_size=3) | st.booleans()


def trees(n):
    keys = st.text(max_size=4) | st.sampled_from(["steps", "a", "A", "zarr.json", "../x"])

    def nodes(children):
        return (
            st.lists(children, max_size=3)
            | st.lists(children, max_size=3).map(tuple)
            | st.dictionaries(keys, children, max_size=3)
            | st.dictionaries(st.integers(-5, 5), children, max_size=3)
        )

    return st.recursive(leaves(n), nodes, max_leaves=5)


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d.kind in "fc"], ids=str)
def test_signs_of_zeros_come_back(dtype, tmp_path):
    parts = (-0.0,) if dtype.kind == "f" else (complex(-0.0, 0.0), complex(0.0, -0.0), complex(-0.0, -0.0))
    frames = np.array([[part, part] for part in parts], dtype)
    with store.ZarrWriter(tmp_path / "zeros.zarr") as writer:
        writer.write(np.arange(len(frames)), frames)
    assert_same(store.read_zarr(tmp_path / "zeros.zarr")[:], frames)


@settings(max_examples=30)
@given(data=st.data(), n=st.integers(1, 4))
def test_any_tree_comes_back(data, n, tmp_path_factory):
    frames = data.draw(trees(n))
    cut = data.draw(st.integers(0, n))
    path = tmp_path_factory.mktemp("tree") / "t.zarr"

    def part(where):
        return jax.tree.map(lambda x: x[where] if hasattr(x, "dtype") else x, frames)

    with store.ZarrWriter(path) as out:
        out.write(np.arange(cut), part(slice(0, cut)))
        out.write(np.arange(cut, n), part(slice(cut, n)))
    found = store.read_zarr(path)
    np.testing.assert_array_equal(found.steps, np.arange(n))
    assert_same(found[:], frames)
    assert_same(found[-1], part(n - 1))
    assert_same(found[::-1], part(slice(None, None, -1)))
    assert_same(found[n:], part(slice(n, None)))
    assert_same(store.read_zarr(path, like=part(0))[:], frames)
    shutil.rmtree(path)


class Layer(td.Struct):
    weight: jax.Array
    activation: object = td.function()


Pair = collections.namedtuple("Pair", "left right")


def test_structs_come_back_as_dicts_or_like_the_given_tree(tmp_path):
    frame = Pair(Layer(weight=jnp.ones((2, 2)), activation=jnp.tanh), collections.OrderedDict(b=1.0, a=jnp.zeros(3)))
    stacked = Pair(
        Layer(weight=np.ones((5, 2, 2)), activation=jnp.tanh), collections.OrderedDict(b=np.ones(5), a=np.ones((5, 3)))
    )
    with store.ZarrWriter(tmp_path / "t.zarr") as out:
        out.write(np.arange(5), stacked)
    assert_same(store.read_zarr(tmp_path / "t.zarr", like=frame)[:], stacked)
    plain = store.read_zarr(tmp_path / "t.zarr")[0]
    assert plain["left"]["weight"].shape == (2, 2) and list(plain["right"]) == ["b", "a"]
    with pytest.raises(ValueError, match="like"):
        store.read_zarr(tmp_path / "t.zarr", like={"left": 1.0})


def test_functions_come_from_like(tmp_path):
    with store.ZarrWriter(tmp_path / "t.zarr") as out:
        out.write(np.arange(2), {"f": jnp.tanh, "x": np.ones(2)})
    with pytest.raises(ValueError, match="like"):
        store.read_zarr(tmp_path / "t.zarr")[0]
    assert store.read_zarr(tmp_path / "t.zarr", like={"f": jnp.tanh, "x": 0.0})[0]["f"] is jnp.tanh


def test_a_file_with_functions_is_continued_and_another_version_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "t.zarr"
    for step in (1, 2):
        with store.ZarrWriter(path, mode="a") as out:
            out.write(np.array([step]), {"f": lambda x: x, "x": np.ones(1)})
    assert store.read_zarr(path).steps.tolist() == [1, 2]
    monkeypatch.setattr("treedyn.store._zarr._VERSION", 4)
    with pytest.raises(ValueError, match="version 3 of the format, expected 4"):
        store.read_zarr(path)


def test_narrow_floats_come_back(tmp_path):
    for k, kind in enumerate((ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn)):
        x = np.linspace(-2, 2, 6).astype(kind).reshape(3, 2)
        with store.ZarrWriter(tmp_path / f"{k}.zarr") as out:
            out.write(np.arange(3), [x])
        assert_same(store.read_zarr(tmp_path / f"{k}.zarr")[:], [x])


def test_arrays_are_named_by_their_paths(tmp_path):
    zarr = pytest.importorskip("zarr")
    with store.ZarrWriter(tmp_path / "t.zarr") as out:
        out.write(np.arange(2), {"net": [np.ones((2, 3))], "kT": np.ones(2)})
    group = zarr.open_group(tmp_path / "t.zarr", mode="r")
    assert group["net/0"].shape == (2, 3) and group["kT"].shape == group["steps"].shape == (2,)


def tree(steps):
    steps = np.asarray(steps, float)
    return {"x": np.outer(steps, np.arange(1.0, 4.0)), "n": [steps.astype(np.int32)]}


def test_frames_without_a_step_are_dropped(tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "t.zarr"
    with store.ZarrWriter(path) as out:
        out.write(np.array([10, 20, 30]), tree([10, 20, 30]))
        out.rewind(20)
    group = zarr.open_group(path, mode="r+")
    group["x"].resize((3, 3))  # as after the death of a writer in the middle of a frame
    group["steps"].resize((3,))
    assert store.read_zarr(path).steps.tolist() == [10, 20]
    with store.ZarrWriter(path, mode="a") as out:
        out.write(np.array([40]), tree([40]))
    assert_same(store.read_zarr(path)[:], tree([10, 20, 40]))


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("x/zarr.json", {"shape": [3, 10**13]}, r"x: expected float64\[3\], got"),
        ("x/zarr.json", {"shape": [1, 3]}, "x: expected 3 frames, got 1"),
        ("steps/zarr.json", {"fill_value": 7}, "expected -1 for missing steps, got 7"),
        (
            "zarr.json",
            {"attributes": {"format": "treedyn-tree", "version": 3, "structure": "", "crc32": 1}},
            "checksum",
        ),
    ],
)
def test_what_a_file_declares_has_to_be_what_it_holds(file, change, said, tmp_path):
    path = tmp_path / "t.zarr"
    with store.ZarrWriter(path) as out:
        out.write(np.array([10, 20, 30]), tree([10, 20, 30]))
    (path / file).write_text(json.dumps(json.loads((path / file).read_text()) | change))
    for use in (store.read_zarr, lambda path: store.ZarrWriter(path, mode="a")):
        with pytest.raises(ValueError, match=rf"t\.zarr.*{said}"):
            use(path)


def test_frames_that_were_never_written_are_not_read(tmp_path):
    path = tmp_path / "t.zarr"
    with store.ZarrWriter(path) as out:
        out.write(np.array([10, 20, 30]), tree([10, 20, 30]))
    about = path / "steps" / "zarr.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"shape": [10**13]}))
    assert store.read_zarr(path).steps.tolist() == [10, 20, 30]
    (path / "x" / "c" / "0" / "0").unlink()
    with pytest.raises(ValueError, match=r"t\.zarr.*there is no file .*x/c/0/0"):
        store.read_zarr(path)[0]


def test_frames_and_files_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "t.zarr"
    with store.ZarrWriter(path) as out:
        out.write(np.array([10]), tree([10]))
        for bad in ({"x": np.zeros((1, 3))}, {"x": np.zeros((1, 4)), "n": [np.zeros(1, np.int32)]}, np.zeros(1)):
            with pytest.raises(ValueError, match="frames"):
                out.write(np.array([20]), bad)
    for bad in ({"x": jax.random.key(0)}, {"x": 1.5}, {"x": np.array(["a"])}, {(1, 2): np.zeros(1)}):
        with pytest.raises(ValueError, match="frames"), store.ZarrWriter(tmp_path / "new.zarr", mode="w") as out:
            out.write(np.array([20]), bad)
    assert_same(store.read_zarr(path)[:], tree([10]))
    with pytest.raises(ValueError, match="no frames"):
        store.read_zarr(tmp_path / "nothing.zarr")
    with pytest.raises(IndexError, match="1 frames"):
        store.read_zarr(path)[1]


def test_other_directories_are_not_overwritten(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    for mode in ("w", "a"):
        with (
            pytest.raises(FileExistsError, match="was not written by ZarrWriter"),
            store.ZarrWriter(tmp_path / "home", mode=mode) as out,
        ):
            out.write(np.array([1]), tree([1]))
    assert (tmp_path / "home" / "thesis.tex").read_text() == "years"


def test_a_state_of_a_run_comes_back(tmp_path):
    dynamics = td.nve(lambda x: jnp.sum(x["w"] ** 2), dt=0.1)
    state = dynamics.init(jax.random.key(0), {"w": jnp.ones(3), "name": "net"}, kT=1.0)

    def record(state):
        return state.replace(key=None)

    out = td.run(dynamics, state, steps=4, every=2, record=record)
    with store.ZarrWriter(tmp_path / "t.zarr") as writer:
        writer.write(np.asarray(out.records.step), out.records)
    found = store.read_zarr(tmp_path / "t.zarr", like=record(state))[-1]
    assert isinstance(found, td.State) and found.position["name"] == "net"
    again = dynamics.step(found.replace(key=jax.random.key(0)))
    np.testing.assert_array_equal(again.position["w"], dynamics.step(out.state).position["w"])
