"""Tables of text return the same numbers, and only complete lines."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from treedyn import store

WRITERS = pytest.mark.parametrize(
    ("writer", "name"), [(store.CSVWriter, "t.csv"), (store.JSONLinesWriter, "t.jsonl")], ids=["csv", "jsonl"]
)


def columns(steps, dtype=np.float64):
    return {"potential": np.sin(steps).astype(dtype), "kinetic": np.cos(steps).astype(dtype), "count": 3 * steps}


def fill(writer, steps):
    writer.write(np.asarray(steps), columns(np.asarray(steps)))


@WRITERS
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_come_back_bit_for_bit(writer, name, dtype, tmp_path):
    steps = np.arange(0, 50, 5)
    with writer(tmp_path / name) as out:
        out.write(steps[:4], columns(steps[:4], dtype))
        out.write(steps[4:], columns(steps[4:], dtype))
    found = store.read_table(tmp_path / name)
    assert list(found) == ["step", "potential", "kinetic", "count"]
    for key, column in ({"step": steps} | columns(steps, dtype)).items():
        np.testing.assert_array_equal(found[key].astype(column.dtype), column)
    assert found["step"].dtype == found["count"].dtype == np.int64


@WRITERS
@given(values=hnp.arrays(np.float64, st.integers(1, 8), elements=st.floats(width=64)))
def test_any_double_comes_back(writer, name, values, tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / name
    with writer(path) as out:
        out.write(np.arange(len(values)), {"x": values})
    np.testing.assert_array_equal(store.read_table(path)["x"].astype(float), values)


def test_json_lines_are_strict_json(tmp_path):
    with store.JSONLinesWriter(tmp_path / "t.jsonl") as out:
        out.write(np.array([1]), {"nan": np.array([np.nan]), "inf": np.array([np.inf]), "on": np.array([True])})

    def refuse(constant):
        raise AssertionError(constant)

    row = json.loads((tmp_path / "t.jsonl").read_text(), parse_constant=refuse)
    assert row == {"step": 1, "inf": np.inf, "nan": None, "on": 1}


@WRITERS
def test_an_incomplete_last_line_is_dropped(writer, name, tmp_path):
    path = tmp_path / name
    with writer(path) as out:
        fill(out, [10, 20, 30])
    whole = path.read_bytes()
    start = 0 if writer is store.CSVWriter else 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        complete = max(0, whole[:cut].count(b"\n") - (writer is store.CSVWriter))
        assert len(store.read_table(path).get("step", ())) == complete
        with writer(path, mode="a") as out:
            fill(out, [s for s in (10, 20, 30) if out.last is None or s > out.last])
        assert path.read_bytes() == whole


@WRITERS
def test_frames_and_files_that_do_not_fit_are_refused(writer, name, tmp_path):
    path = tmp_path / name
    with writer(path) as out:
        fill(out, [10])
        for steps in ([10], [5], [30, 20], [20.5], [[20]]):
            with pytest.raises(ValueError, match="steps"):
                out.write(np.asarray(steps), {k: np.zeros(len(steps)) for k in columns(np.zeros(1))})
        for bad in (
            {"potential": np.zeros(1)},
            {"potential": np.zeros((1, 2))},
            {"potential": np.zeros(2)},
            {"potential": np.zeros(1, complex)},
            np.zeros(1),
            {"step": np.zeros(1)},
        ):
            with pytest.raises(ValueError, match="frames"):
                out.write(np.array([20]), bad)
    (tmp_path / "other").write_text("not a table\n")
    with pytest.raises(ValueError, match="cannot be continued as table"):
        writer(tmp_path / "other", mode="a")
    assert (tmp_path / "other").read_text() == "not a table\n"


def test_arrays_of_jax_and_half_precision_are_numbers_too(tmp_path):
    with store.CSVWriter(tmp_path / "t.csv") as out:
        out.write(jnp.array([1]), {"x": jnp.array([0.5], jnp.bfloat16), "y": jnp.array([0.5])})
    assert store.read_table(tmp_path / "t.csv")["x"].tolist() == [0.5]
