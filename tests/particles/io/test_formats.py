"""All formats of trajectories return the frames that were written, and only complete ones."""

import importlib.util
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import treedyn as td
from tests.store.samples import PERIODIC, SPACES, STEPS, cell, dimension, frames, real, tolerance
from treedyn import particles as tp
from treedyn.particles import io
from treedyn.store import background

pytestmark = pytest.mark.slow

# open axes are tested in test_readers.py, because GSD refuses them
HELD = [(e, n) for e in ("xyz", "h5md", "gsd") for n in SPACES if e != "gsd" or n in PERIODIC]
FORMATS = pytest.mark.parametrize("ending", ["xyz", "h5md", "gsd"])


def write(path, name, data, steps=STEPS, **options):
    with io.writer(path, space=SPACES[name], **options) as out:
        out.write(steps, data)


def assert_same(found, expected, tolerance=0.0, skip=()):
    always = {"cell", "species", "periodic"}
    assert set(found) - always == set(expected) - always - set(skip)
    for name in set(found) - always:
        assert found[name].shape == expected[name].shape, name
        assert found[name].dtype == expected[name].dtype, name
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=10 * tolerance, err_msg=name)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("ending", "name"), HELD)
def test_frames_come_back_as_arrays(ending, name, dtype, tmp_path):
    data, path = frames(name, dtype), tmp_path / f"t.{ending}"
    write(path, name, data, species=["Ar", "Kr", "H", "X", "Ar", "Og", "He"], mass=np.arange(1.0, 8.0))
    with io.read(path) as found:
        mass = np.tile(np.arange(1.0, 8.0), (len(STEPS), 1)).astype(dtype if ending == "gsd" else float)
        expected = data | {"position": real(name, data["position"]), "mass": mass}
        assert found.steps.tolist() == STEPS.tolist()
        exact = ending != "gsd" and name != "fractional"
        assert_same(found[:], expected, 0.0 if exact else tolerance(dtype))
        assert_same(found[1], {key: x[1] for key, x in expected.items()}, 0.0 if exact else tolerance(dtype))
        assert_same(found[::-2], {key: x[::-2] for key, x in expected.items()}, 0.0 if exact else tolerance(dtype))
        assert len(found[3:]["position"]) == 0
        assert found[1]["species"].tolist() == ["Ar", "Kr", "H", "X", "Ar", "Og", "He"]
        space = found.space()
        if cell(name) is None:
            assert space.cell(3) is None and "cell" not in found[0]
        else:
            kept = tolerance(np.float32) if ending == "gsd" and dtype == np.float32 else tolerance(np.float64)
            np.testing.assert_allclose(np.asarray(space.cell(dimension(name))), cell(name), rtol=kept, atol=10 * kept)
            assert space.periodic_axes(dimension(name)) == SPACES[name].periodic_axes(dimension(name))


@FORMATS
def test_a_box_that_changes_is_kept_for_every_frame(ending, tmp_path):
    sides = np.array([[6.0, 7.0, 8.0], [6.1, 7.1, 8.1], [5.0, 5.5, 6.0]])
    matrices = np.stack([cell("triclinic"), cell("triclinic") * 1.1, cell("cubic")])
    for k, given in enumerate((sides, matrices)):
        path = tmp_path / f"{k}.{ending}"
        with io.writer(path, space=tp.periodic(1.0)) as out:
            out.write(STEPS, frames() | {"cell": given})
        expected = given if given.ndim == 3 else given[:, :, None] * np.eye(3)
        np.testing.assert_allclose(io.read(path)[:]["cell"], expected, rtol=tolerance(np.float64), atol=1e-14)
        found = np.asarray(io.read(path).space(1).cell(3))
        np.testing.assert_allclose(found, expected[1], rtol=tolerance(np.float64), atol=1e-14)


@FORMATS
def test_frames_and_files_that_do_not_fit_are_refused(ending, tmp_path):
    path = tmp_path / f"t.{ending}"
    write(path, "cubic", frames())
    with io.writer(path, mode="a", space=SPACES["cubic"]) as out:
        late = np.array([30])
        for bad in (frames(steps=late, count=6), frames("square", steps=late)):
            with pytest.raises(ValueError, match=r"frames|space"):
                out.write(late, bad)
        for bad in (
            {"energy": np.zeros(1)},
            {"position": np.zeros((1, 7, 3), int)},
            {"position": np.zeros((2, 7, 3))},
            frames(steps=late) | {"cell": np.zeros((1, 2))},
            np.zeros((1, 7)),
            "text",
        ):
            with pytest.raises(ValueError, match="frames"):
                out.write(late, bad)
    assert io.read(path).steps.tolist() == STEPS.tolist()
    with pytest.raises(ValueError, match="species"):
        write(tmp_path / f"u.{ending}", "cubic", frames(), species="Qq")
    with pytest.raises(ValueError, match="space"):
        io.writer(tmp_path / f"v.{ending}", space=(jnp.add, jnp.add))
    (tmp_path / f"w.{ending}").write_text("something else\nand more\n")
    with pytest.raises(ValueError, match="path"):
        io.writer(tmp_path / f"w.{ending}", mode="a").close()
    assert (tmp_path / f"w.{ending}").read_text() == "something else\nand more\n"


def test_an_unknown_suffix_is_refused(tmp_path):
    for function in (io.read, io.writer):
        with pytest.raises(ValueError, match="h5md"):
            function(tmp_path / "t.dcd")


@FORMATS
def test_a_run_starts_from_a_file(ending, tmp_path):
    lattice = tp.fcc(3, density=0.9)
    energy = tp.pair_energy(tp.shifted(tp.lennard_jones(), 1.8), lattice.space)
    dynamics = td.nve(energy, dt=1e-3, space=lattice.space)
    state = dynamics.init(jax.random.key(0), lattice.position, kT=0.1)
    path = tmp_path / f"t.{ending}"
    with background(io.writer(path, space=lattice.space)) as out:
        run = td.run(dynamics, state, steps=20, every=10, record=io.frame)
        out.write(np.array([10, 20]), run.records)
    found = io.read(path)
    last = found[-1]
    again = tp.pair_energy(tp.shifted(tp.lennard_jones(), 1.8), found.space())
    dynamics = td.nve(again, dt=1e-3, space=found.space())
    begun = dynamics.init(jax.random.key(1), jnp.asarray(last["position"]), momentum=jnp.asarray(last["velocity"]))
    np.testing.assert_allclose(begun.force, run.state.force, atol=1e-10)
    np.testing.assert_allclose(dynamics.step(begun).energy, dynamics.step(run.state).energy, rtol=1e-12)


_LIMITED = """
import resource, signal, sys
import numpy as np
from tests.store.samples import SPACES, frames
from treedyn.store import background
from treedyn.particles import io
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (6_000_000, 6_000_000))
out = background(io.writer(sys.argv[1], space=SPACES["cubic"]), depth=2)
try:
    for step in range(0, 100_000, 10):
        out.write(np.array([step]), frames(steps=[step], count=50))
except Exception as error:
    print(type(error).__name__, error)
try:
    out.close()
except Exception as error:
    print(type(error).__name__, error)
print(out.writer.last)
"""


@FORMATS
def test_a_file_that_cannot_grow_is_reported_and_does_not_hang(ending, tmp_path):
    path = tmp_path / f"t.{ending}"
    command = [sys.executable, "-c", _LIMITED, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "OSError" in done.stdout and done.returncode == 0, done.stdout + done.stderr
    found, steps = io.read(path), list(range(0, int(done.stdout.split()[-1]) + 1, 10))
    assert found.steps.tolist() == steps and len(steps) > 5
    kept = tolerance(np.float64) if ending == "gsd" else 0.0
    assert_same(found[:], frames(steps=steps, count=50), kept)


@pytest.mark.parametrize(("ending", "module", "extra"), [("h5md", "h5py", "hdf5"), ("gsd", "gsd.hoomd", "gsd")])
def test_a_missing_package_is_named_with_its_extra(ending, module, extra, tmp_path, monkeypatch):
    assert importlib.util.find_spec(module)
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf"treedyn\[{extra}\]"):
        io.writer(tmp_path / f"t.{ending}")
