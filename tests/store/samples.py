"""Frames of particles to write, in every kind of box."""

import numpy as np

from treedyn import particles as tp

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
    """Return what `record` might have given at some steps: a function of the steps alone."""
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
