"""ASE and MDAnalysis read the files, and files of ASE are read."""

import warnings

import numpy as np
import pytest

from tests.store.samples import CELL, PERIODIC, SPACES, STEPS, cell, dimension, frames, real, tolerance
from treedyn import particles as tp
from treedyn.particles import io

pytestmark = pytest.mark.slow

THREE = [name for name in SPACES if dimension(name) == 3]
SPECIES = ["Ar", "Kr", "H", "Cu", "Ar", "O", "He"]


@pytest.fixture(scope="module")
def mda():
    with warnings.catch_warnings():
        # MDAnalysis uses deprecated functions of Python, NumPy and Biopython
        warnings.simplefilter("ignore", DeprecationWarning)
        return pytest.importorskip("MDAnalysis")


def universe(mda, topology, trajectory, **options):
    with warnings.catch_warnings():
        # about missing masses, attributes and units
        warnings.filterwarnings("ignore", category=UserWarning, module="MDAnalysis")
        warnings.simplefilter("ignore", DeprecationWarning)
        return mda.Universe(str(topology), str(trajectory), **options)


def write(path, name, **more):
    data = frames(name) | more
    with io.writer(path, space=SPACES[name], species=SPECIES) as out:
        out.write(STEPS, data)
    return data


@pytest.mark.parametrize("name", SPACES)
def test_ase_reads_extended_xyz(name, tmp_path):
    ase_io = pytest.importorskip("ase.io")
    symmetric = np.array([np.eye(dimension(name)) * k + 0.5 for k in range(3)])
    data = write(tmp_path / "t.xyz", name, stress=symmetric)
    d = dimension(name)
    every = ase_io.read(tmp_path / "t.xyz", index=":")
    assert len(every) == 3
    for k, atoms in enumerate(every):
        assert atoms.get_chemical_symbols() == SPECIES
        np.testing.assert_array_equal(atoms.positions[:, :d], real(name, data["position"])[k])
        np.testing.assert_array_equal(atoms.arrays["velo"][:, :d], data["velocity"][k])
        np.testing.assert_array_equal(atoms.get_forces()[:, :d], data["force"][k])
        np.testing.assert_array_equal(atoms.get_charges(), data["charge"][k])
        assert atoms.get_potential_energy() == data["energy"][k]
        assert atoms.info["step"] == STEPS[k] and atoms.info["time"] == data["time"][k]
        np.testing.assert_array_equal(atoms.get_stress(voigt=False)[:d, :d], symmetric[k])
        assert tuple(atoms.pbc[:d]) == SPACES[name].periodic_axes(d)
        expected = np.zeros((d, d)) if cell(name) is None else cell(name)
        np.testing.assert_array_equal(np.asarray(atoms.cell)[:d, :d], expected)


def test_extended_xyz_of_ase_is_read(tmp_path):
    build, ase_io = pytest.importorskip("ase.build"), pytest.importorskip("ase.io")
    atoms = [build.bulk("NaCl", "rocksalt", 5.64) * 2, build.bulk("NaCl", "rocksalt", 5.7) * 2]
    atoms[0].rattle(0.1)
    for one in atoms:
        one.pbc = (True, False, True)
        one.info |= {"energy": -1.5, "label": "salt", "ok": True, "vector": np.arange(3)}
    ase_io.write(tmp_path / "t.xyz", atoms, format="extxyz")
    found = io.read(tmp_path / "t.xyz")
    assert found[0]["species"].tolist() == atoms[0].get_chemical_symbols() and found.steps.tolist() == [0, 1]
    np.testing.assert_allclose(found[0]["position"], atoms[0].positions, atol=1e-7)
    np.testing.assert_allclose(np.asarray(found.space(0).cell(3)), np.asarray(atoms[0].cell))
    assert found.space().periodic_axes(3) == (True, False, True)
    assert found[1]["energy"] == -1.5 and found[1]["ok"] and found[1]["vector"].tolist() == [0, 1, 2]
    assert found[0]["label"] == "salt"


def test_plain_xyz_is_read(tmp_path):
    (tmp_path / "t.xyz").write_text("2\nwater without a hydrogen\nO 0 0 0\nH 0 0 1\n")
    found = io.read(tmp_path / "t.xyz")
    assert found[0]["species"].tolist() == ["O", "H"] and found[0]["position"].tolist() == [[0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize("name", THREE)
def test_mdanalysis_reads_extended_xyz(mda, name, tmp_path):
    data = write(tmp_path / "t.xyz", name)
    found = universe(mda, tmp_path / "t.xyz", tmp_path / "t.xyz")
    assert found.atoms.names.tolist() == SPECIES
    positions = np.stack([step.positions.copy() for step in found.trajectory])
    np.testing.assert_allclose(positions, real(name, data["position"]), rtol=tolerance(np.float32), atol=1e-5)
    found.trajectory.close()


@pytest.mark.parametrize("name", THREE)
def test_mdanalysis_reads_h5md(mda, name, tmp_path):
    data = write(tmp_path / "t.h5md", name)
    topology = tmp_path / "t.xyz"
    write(topology, name)
    found = universe(mda, topology, tmp_path / "t.h5md", convert_units=False)
    assert len(found.trajectory) == 3
    for k, step in enumerate(found.trajectory):
        near = {"rtol": tolerance(np.float32), "atol": 1e-5}
        np.testing.assert_allclose(step.positions, real(name, data["position"])[k], **near)
        np.testing.assert_allclose(step.velocities, data["velocity"][k], **near)
        np.testing.assert_allclose(step.forces, data["force"][k], **near)
        assert step.data["step"] == STEPS[k] and step.time == data["time"][k]
        assert step.data["energy"] == data["energy"][k]
        if cell(name) is None:
            assert step.dimensions is None
        else:
            lengths, angles = parameters(cell(name))
            np.testing.assert_allclose(step.dimensions, [*lengths, *angles], rtol=1e-5)
    found.trajectory.close()


@pytest.mark.parametrize("name", [name for name in PERIODIC if dimension(name) == 3])
def test_mdanalysis_reads_gsd(mda, name, tmp_path):
    pytest.importorskip("gsd.hoomd")
    data = write(tmp_path / "t.gsd", name)
    found = universe(mda, tmp_path / "t.gsd", tmp_path / "t.gsd")
    assert found.atoms.types.tolist() == SPECIES
    lower = np.linalg.cholesky(cell(name) @ cell(name).T)  # the cell in the orientation of HOOMD
    for k, step in enumerate(found.trajectory):
        assert step.data["step"] == STEPS[k]
        # MDAnalysis takes the diagonal for lengths and the arc cosines of the tilts for angles
        np.testing.assert_allclose(step.dimensions[:3], np.diag(lower), rtol=1e-5)
        tilts = [lower[1, 0] / lower[1, 1], lower[2, 0] / lower[2, 2], lower[2, 1] / lower[2, 2]]
        np.testing.assert_allclose(np.cos(np.radians(step.dimensions[3:])), tilts, atol=1e-5)
        # distances, because the box was rotated
        here, there = step.positions.astype(float), np.asarray(data["position"][k])
        found_r = np.asarray(tp.triclinic(lower).distance(here[:, None], here[None]))
        np.testing.assert_allclose(found_r, SPACES[name].distance(there[:, None], there[None]), atol=3e-5)
    found.trajectory.close()


def parameters(matrix):
    """Return the lengths of the lattice vectors and the angles between them, in the order of crystallography."""
    lengths = np.linalg.norm(matrix, axis=1)
    unit = matrix / lengths[:, None]
    return lengths, np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))


def test_box_of_gsd_is_the_cell(tmp_path):
    hoomd = pytest.importorskip("gsd.hoomd")
    data = write(tmp_path / "t.gsd", "triclinic")
    with hoomd.open(str(tmp_path / "t.gsd")) as file:
        frame = file[1]
    assert frame.configuration.step == STEPS[1]
    box = [6.0, 5.0, 7.0, 1.5 / 5.0, -0.7 / 7.0, 0.9 / 7.0]
    np.testing.assert_allclose(frame.configuration.box, box, rtol=1e-6)
    inside = frame.particles.position @ np.linalg.inv(CELL)
    assert np.all(np.abs(inside) <= 0.5 + 1e-6)
    np.testing.assert_allclose(
        frame.particles.position + frame.particles.image @ CELL, data["position"][1], rtol=1e-6, atol=1e-5
    )
    np.testing.assert_array_equal(frame.log["energy"], data["energy"][1])


def test_gsd_refuses_open_axes_and_left_handed_cells(tmp_path):
    for name in ("free", "slab", "mixed"):
        with pytest.raises(ValueError, match="every axis"):
            write(tmp_path / f"{name}.gsd", name)
    left = tp.triclinic(CELL[[1, 0, 2]])
    with pytest.raises(ValueError, match="right-handed"), io.writer(tmp_path / "left.gsd", space=left) as out:
        out.write(STEPS, frames())


def test_velocities_of_gsd_that_begin_at_zero_come_back(tmp_path):
    velocity = frames()["velocity"] * np.array([0.0, 1.0, 0.0])[:, None, None]
    write(tmp_path / "t.gsd", "cubic", velocity=velocity)
    np.testing.assert_array_equal(io.read(tmp_path / "t.gsd")[:]["velocity"], velocity)


def test_h5md_is_readable_while_it_grows_and_has_the_standard_layout(tmp_path):
    h5py = pytest.importorskip("h5py")
    with io.writer(tmp_path / "t.h5", space=SPACES["slab"]) as out:
        out.write(STEPS, frames("slab"))
        with h5py.File(tmp_path / "t.h5", "r", swmr=True) as file:
            assert file["particles/all/position/step"][:].tolist() == STEPS.tolist()
        assert len(io.read(tmp_path / "t.h5")) == 3
    with h5py.File(tmp_path / "t.h5", "r") as file:
        assert file["h5md"].attrs["version"].tolist() == [1, 1]
        box = file["particles/all/box"]
        assert box.attrs["boundary"].tolist() == [b"periodic", b"periodic", b"none"]
        assert box.attrs["dimension"] == 3 and box["edges/value"].shape == (3, 3)
        assert file["observables/stress/value"].shape == (3, 3, 3)
        assert file["observables/energy/step"] == file["particles/all/position/step"]  # one dataset, not a copy


def test_xyz_refuses_arrays_that_a_line_cannot_hold(tmp_path):
    for bad in ({"matrix": np.zeros((1, 2, 4))}, {"a b": np.zeros(1)}, {"z": np.zeros(1, complex)}):
        with pytest.raises(ValueError, match="frames"), io.writer(tmp_path / "t.xyz", mode="w") as out:
            out.write(np.array([0]), {"position": np.zeros((1, 5, 3))} | bad)
    with pytest.raises(ValueError, match="dimensions"), io.writer(tmp_path / "t.xyz", mode="w") as out:
        out.write(np.array([0]), np.zeros((1, 5, 1)))


def test_an_incomplete_frame_of_xyz_is_dropped(tmp_path):
    path = tmp_path / "t.xyz"
    write(path, "cubic")
    whole = path.read_bytes()
    for cut in range(len(whole) - 1, len(whole) // 3 + 10, -37):
        path.write_bytes(whole[:cut])
        with io.writer(path, mode="a", space=SPACES["cubic"]) as out:
            left = [int(step) for step in STEPS if out.last is None or step > out.last]
            assert left and left != STEPS.tolist()
            data = {name: x[len(STEPS) - len(left) :] for name, x in frames().items()}
            with pytest.raises(ValueError, match="new file"):
                out.write(np.array(left), data | {"extra": np.zeros((len(left), 7))})
            out.write(np.array(left), data)
        assert len(io.read(path)) == 3
        np.testing.assert_array_equal(io.read(path)[:]["position"], frames()["position"])
