"""What files and the bridge to ASE refuse: paths, modes, frames, structures."""

import io
from typing import Any

import ase
import jax.numpy as jnp
import numpy as np

import treedyn as td
from tests.contracts.refusals.kinds import THING, In, arg, f0, f4, file, garbage, row
from tests.helpers import KEY
from treedyn import particles as tp
from treedyn import store
from treedyn.particles import io as formats
from treedyn.particles.io import ase as bridge

POINTS, BOX = np.ones((2, 4, 3)), tp.periodic(5.0)
FLAG = arg(False, "flag")
MODE = arg("x", "mode", more={"read": "r", "binary": "xb"})


def to_write(suffix: str) -> Any:
    return arg(file(suffix), "path to_write", more={"there": garbage(suffix)})


def to_read(make: Any, suffix: str, but: str = "") -> Any:
    return arg(In(lambda folder: make(file(suffix).make(folder))), "path to_read", but, {"garbage": garbage(suffix)})


def written(writer: Any, frames: Any, steps: Any = (0, 10), **more: Any) -> Any:
    def make(path: Any) -> Any:
        with writer(path, **more) as out:
            out.write(np.array(steps), frames)
        return path

    return make


def table(writer: Any) -> Any:
    return written(writer, {"energy": np.array([1.0, 2.0])})


def write(writer: Any, path: Any, steps: Any, frames: Any, **more: Any) -> Any:
    with writer(path, **more) as out:
        return out.write(steps, frames)


def state() -> Any:
    return td.nve(lambda x: jnp.sum(x**2), 0.1).init(KEY, jnp.ones((3, 2)))


STEPS = arg(
    np.array([0, 10]),
    "number",
    more={"falling": [10, 0], "same": [0, 0], "minus": [-1, 0], "floats": [0.5, 1.5], "one": [0], "matrix": [[0, 1]]},
    named="steps|frames.*",
)
FRAMES = {"none": None, "thing": THING, "text": "one", "list": [1.0], "short": {"position": POINTS[:1]}}
SPECIES = arg(None, "struct", "none", {"word": "Xy", "far": 200, "minus": -1, "floats": [1.5], "three": ["Ar"] * 3})
MASS = arg(None, "number positive", "none", {"three": np.ones(3)})
WRITERS = ((store.CSVWriter, ".csv"), (store.JSONLinesWriter, ".jsonl"), (store.ZarrWriter, ".zarr"))
SUFFIXES = (".xyz", ".gsd", ".h5")
FORMAT = arg(None, "mode", "none")
SPACE = arg(BOX, "space", "none", {"pair": (f4, f4), "flat": td.euclidean()})

TABLES = [
    *(row(writer, path=to_write(suffix), mode=MODE) for writer, suffix in WRITERS),
    *(
        row(formats.writer, called=f"writer({suffix})", path=to_write(suffix), mode=MODE, space=SPACE, format=FORMAT)
        for suffix in SUFFIXES
    ),
    row(store.read_table, path=to_read(table(store.CSVWriter), ".csv")),
    row(store.read_table, called="read_table(json)", path=to_read(table(store.JSONLinesWriter), ".jsonl")),
    row(
        store.read_zarr,
        path=to_read(table(store.ZarrWriter), ".zarr"),
        like=arg(
            None, "", more={"keys": {"a": 1.0}, "thing": THING, "array": np.ones(2), "more": {"energy": 1.0, "a": 1.0}}
        ),
    ),
    *(
        row(
            formats.read,
            called=f"read({suffix})",
            path=to_read(written(formats.writer, POINTS, space=BOX), suffix),
            format=FORMAT,
            group=arg(None, "mode", "none"),
        )
        for suffix in SUFFIXES
    ),
    row(
        formats.frame,
        state=arg(state(), "struct", more={"a_tree": td.nve(lambda x: x["a"], 0.1).init(KEY, {"a": 1.0})}),
    ),
    *(
        row(
            write,
            called=f"{writer.__name__}.write",
            writer=arg(writer, ""),
            path=arg(file(suffix), ""),
            steps=STEPS,
            frames=arg(
                {"energy": np.ones(2)},
                "",
                "none thing text" if suffix == ".zarr" else "",
                FRAMES | {"texts": {"energy": np.array(["a", "b"])}},
            ),
        )
        for writer, suffix in WRITERS
    ),
    *(
        row(
            write,
            called=f"writer({suffix}).write",
            writer=arg(formats.writer, ""),
            path=arg(file(suffix), ""),
            steps=STEPS,
            frames=arg(
                POINTS, "", more=FRAMES | {"integers": np.ones((2, 4, 3), int), "flat": POINTS[0], "nothing": {}}
            ),
            species=SPECIES,
            mass=MASS,
            space=arg(BOX, "", more={"plane": tp.triclinic(np.eye(2))}),
        )
        for suffix in SUFFIXES
    ),
    row(
        store.thermo,
        dt=arg(0.1, "number positive finite one constant", "none"),
        **dict.fromkeys(("pressure", "conserved"), arg(None, "function arity", "none")),
    ),
    row(
        store.ThermoTable,
        stream=arg(io.StringIO(), "struct", "none"),
        speed=FLAG,
        header_every=arg(20, "natural counting"),
        clock=arg(f0, "function", more={"of_one": lambda x: x}),
    ),
    row(store.background, writer=arg(store.ThermoTable(io.StringIO()), "struct"), depth=arg(4, "natural counting")),
]
ASE = [
    row(
        bridge.TreedynCalculator,
        energy=arg(lambda space, species: None, "function", more={"of_nothing": f0, "of_four": f4}),
        cutoff=arg(2.5, "number positive finite one constant", "none"),
        skin=arg(None, "number nonnegative finite one constant", "none"),
    ),
    row(
        bridge.from_ase,
        atoms=arg(ase.Atoms("Ar"), "struct", more={"path": "atoms.xyz", "box": ase.Atoms("Ar", pbc=True)}),
    ),
    row(
        bridge.to_ase,
        position=arg(np.ones((4, 3)), "points", "integers", {"wide": np.ones((4, 4)), "row": np.ones(3)}),
        space=SPACE,
        species=SPECIES,
        mass=MASS,
        momentum=arg(None, "points known_points", "none integers", {"short": np.ones((3, 3))}),
    ),
]
ROWS = [*TABLES, *ASE]
