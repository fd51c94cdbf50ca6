"""Frames to write, for every kind of box and every kind of file."""

import numpy as np

from treedyn import particles as tp
from treedyn import store
from treedyn.particles import io

STEPS = np.array([0, 10, 25])
CELL = np.array([[6.0, 0.0, 0.0], [1.5, 5.0, 0.0], [-0.7, 0.9, 7.0]])
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
TURN = TURN * np.sign(np.linalg.det(TURN))

SPACES = {
    "free": tp.free(),
    "cubic": tp.periodic(6.0),
    "rectangular": tp.periodic([6.0, 7.0, 8.0]),
    "slab": tp.periodic([6.0, 7.0, 8.0], axes=(True, True, False)),
    "triclinic": tp.triclinic(CELL),
    "turned": tp.triclinic(CELL @ TURN),
    "mixed": tp.triclinic(CELL @ TURN, axes=(True, False, True)),
    "fractional": tp.triclinic(CELL, fractional=True),
    "square": tp.periodic(6.0),
    "oblique": tp.triclinic([[6.0, 0.0], [2.0, 5.0]]),
}
PERIODIC = [name for name in SPACES if name not in ("free", "slab", "mixed")]


def dimension(name):
    return 2 if name in ("square", "oblique") else 3


def frames(name="cubic", dtype=np.float64, steps=STEPS, count=7):
    """Return records of a run, which depend only on the steps."""
    d = dimension(name)
    shape = (count, d)
    each = [np.random.default_rng(int(step)) for step in steps]
    scale = 1.0 if name == "fractional" else 5.0

    def draw(shape):
        return np.stack([r.normal(size=shape) for r in each]).astype(dtype) if each else np.zeros((0, *shape), dtype)

    return {
        "position": np.abs(draw(shape)) * dtype(scale),
        "velocity": draw(shape),
        "force": draw(shape),
        "energy": draw(()),
        "charge": draw((count,)),
        "time": np.asarray(steps) * 0.005,
        "stress": draw((d, d)),
        "tag": np.asarray(steps) * np.int64(3),
    }


def real(name, position):
    """Return positions in real coordinates."""
    return (position @ CELL).astype(position.dtype) if name == "fractional" else position


def cell(name):
    found = SPACES[name].cell(dimension(name))
    return None if found is None else np.asarray(found, np.float64)


def tolerance(dtype):
    return 64 * float(np.finfo(dtype).eps)


CLASSES = {".csv": store.CSVWriter, ".jsonl": store.JSONLinesWriter, ".zarr": store.ZarrWriter}


def open_writer(path, mode="x"):
    """Return a writer for the suffix of a path."""
    kind = CLASSES.get(path.suffix)
    return io.writer(path, mode=mode, space=SPACES["cubic"]) if kind is None else kind(path, mode=mode)


def content(suffix, steps):
    """Return frames that a file of this kind can hold."""
    data = frames(steps=steps)
    tables = {"energy": data["energy"], "tag": data["tag"]}
    return {".zarr": {"x": data["position"], "n": [data["tag"]]}}.get(suffix, tables if suffix in CLASSES else data)


def read(path):
    """Return the steps and the frames of a file."""
    if path.suffix in (".csv", ".jsonl"):
        table = store.read_table(path)
        return table.pop("step", np.zeros(0, int)).tolist(), table
    with store.read_zarr(path) if path.suffix == ".zarr" else io.read(path) as found:
        return found.steps.tolist(), found[:]
