"""Files as other programs write them have the arrays that ASE, gsd, h5py and MDAnalysis find in them."""

import warnings

import h5py
import numpy as np
import pytest

from treedyn.particles import io

ase = pytest.importorskip("ase")
build = pytest.importorskip("ase.build")
ase_io = pytest.importorskip("ase.io")
hoomd = pytest.importorskip("gsd.hoomd")

R = np.random.default_rng(0)
P = "Properties=species:S:1:pos:R:3"
ROWS = "Si 0 0 0\nSi 1.5 1.25 -1e-3\n"
HCP, NACL = build.bulk("Mg") * (2, 1, 1), build.bulk("NaCl", "rocksalt", 5.64)
SLAB = build.fcc111("Cu", (2, 2, 3), vacuum=8.0)
SLAB.info.clear()
WATER = build.molecule("H2O")


def changed(atoms, scale=1.0, **more):
    """Return atoms in a scaled box with further arrays."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell * scale, scale_atoms=True)
    for name, x in more.items():
        atoms.set_array(name, x)
    return atoms


def measured(atoms):
    from ase.calculators.singlepoint import SinglePointCalculator

    atoms = atoms.copy()
    numbers = {"energy": -1.5, "forces": R.normal(size=(len(atoms), 3)), "charges": R.normal(size=len(atoms))}
    atoms.calc = SinglePointCalculator(atoms, **numbers)
    return atoms


XYZ = {
    "a crystal": [HCP],
    "a box that changes": [NACL, changed(NACL, 1.01), changed(NACL, 0.99)],
    "a slab": [SLAB],
    "a molecule": [WATER],
    "particles that change": [NACL, SLAB, WATER],
    "other columns": [changed(HCP, momenta=R.normal(size=(4, 3)), initial_charges=R.normal(size=4), tag=np.arange(4))],
    "results": [measured(SLAB), measured(SLAB)],
    "OVITO": f'2\nLattice="4 0 0 0 4 0 0 0 4" Origin="0 0 0" {P}:velo:R:3 Time=2.5\nSi 0 0 0 1 2 3\nSi 1 1 1 4 5 6\n',
    "columns in another order": f"2\n{P.replace('species:S:1:', 'id:I:1:species:S:1:')}\n1 Si 0 0 0\n2 O 1 1 1\n",
    "other quotes": f"2\nLattice={{4 0 0 0 4 0 0 0 4}} {P} name='two words' pbc=[T, F, T]\n{ROWS}",
    "carriage returns": f'2\nLattice="4 0 0 0 4 0 0 0 4" {P}\n{ROWS}'.replace("\n", "\r\n"),
    "tabs": f'  2 \nLattice="4.0\t0 0 0 4 0 0 0 4" {P}\n{ROWS}'.replace("Si ", "  Si\t\t"),
    "plain": f"2\nstep 17, E = -3.5 eV\n{ROWS}2\n\n{ROWS}",
}


@pytest.mark.slow
@pytest.mark.parametrize("case", XYZ)
def test_xyz_has_the_arrays_that_ase_finds(case, tmp_path):
    path, given = tmp_path / "t.xyz", XYZ[case]
    if isinstance(given, str):
        path.write_bytes(given.encode())
    else:
        ase_io.write(path, given, format="extxyz")
    every = ase_io.read(path, index=":")
    with io.read(path) as found:
        assert len(found) == len(every)
        for frame, atoms in zip(found, every, strict=True):
            assert frame["species"].tolist() == atoms.get_chemical_symbols()
            assert frame["periodic"].tolist() == atoms.pbc.tolist()
            np.testing.assert_array_equal(frame.get("cell", np.zeros((3, 3))), atoms.cell)
            names = {"positions": "position", "momenta": "momentum", "velo": "velocity", "numbers": None}
            for name, x in atoms.arrays.items():
                if (here := names.get(name, name)) is not None:
                    np.testing.assert_array_equal(frame[here], x, err_msg=name)
            for name, x in {} if atoms.calc is None else atoms.calc.results.items():
                np.testing.assert_array_equal(
                    frame[{"forces": "force", "charges": "charge"}.get(name, name)], x, err_msg=name
                )


def particles(k, count=4, box=(5, 6, 7, 0.1, -0.2, 0.3), **more):
    """Return a frame of gsd."""
    frame = hoomd.Frame()
    frame.configuration.step, frame.configuration.box = 10 * k, box
    frame.particles.N, frame.particles.position = count, R.uniform(-2, 2, (count, 3))
    for name, x in more.items():
        setattr(frame.particles, name, x)
    return frame


GSD = {
    "at rest at first": [particles(0), particles(1, velocity=R.normal(size=(4, 3)))],
    "images": [particles(k, image=R.integers(-2, 3, (4, 3))) for k in range(2)],
    "types": [particles(0, types=["A", "B"], typeid=[0, 1, 1, 0]), particles(1, types=["C"], typeid=[0] * 4)],
    "particles that come": [particles(0, mass=[1, 2, 3, 4]), particles(1, 6, charge=R.normal(size=6)), particles(2)],
    "a box that changes": [particles(k, box=(5 + k, 5, 5, 0, 0, 0)) for k in range(3)],
    "constant arrays": [particles(0, mass=[2] * 4, charge=[1, 0, 0, -1]), particles(1), particles(2)],
    "two dimensions": [particles(k, box=(5, 5, 0, 0.5, 0, 0)) for k in range(2)],
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("case", GSD)
def test_gsd_has_the_arrays_that_gsd_finds(case, precision, tmp_path):
    d = 2 if case == "two dimensions" else 3
    with hoomd.open(str(tmp_path / "t.gsd"), "w", precision) as file:
        for frame in GSD[case]:
            frame.configuration.dimensions = d
            frame.particles.position[:, d:] = 0
            file.append(frame)
    with io.read(tmp_path / "t.gsd") as found, hoomd.open(str(tmp_path / "t.gsd")) as every:
        for frame, stored in zip(found, every, strict=True):
            x, y, z, xy, xz, yz = stored.configuration.box.astype(float)
            cell = np.array([[x, 0, 0], [xy * y, y, 0], [xz * z, yz * z, z]])[:d, :d]
            np.testing.assert_array_equal(frame["cell"], cell)
            own = stored.particles
            assert frame["species"].tolist() == [own.types[k] for k in own.typeid]
            real = (own.position[:, :d] + own.image[:, :d] @ cell).astype(own.position.dtype)
            np.testing.assert_array_equal(frame["position"], real)
            for name, x in (("velocity", own.velocity[:, :d]), ("mass", own.mass), ("charge", own.charge)):
                np.testing.assert_array_equal(frame.get(name, x), x)
                assert name in frame or np.all(x == (name == "mass"))


X, TIMES = R.normal(size=(3, 4, 3)), np.array([0.0, 0.5, 1.0])
EDGES = {"/box/edges": np.array([4.0, 5.0, 6.0])}
MOVING = {"/box/edges/value": 4.0 + X[:, 0] ** 2, "/box/edges/step": [0, 10, 20]}
CELLS = {"/box/edges/value": np.eye(3) * 4 + np.tril(X[:, :3]), "/box/edges/step": [0, 10, 20]}
STEPS = {"/position/step": [0, 10, 20], "/position/time": TIMES}
H5MD = {
    "a constant box": (EDGES | STEPS, {"cell": [np.diag([4.0, 5.0, 6.0])] * 3, "time": TIMES}),
    "a box that changes": (MOVING | STEPS, {"cell": (4.0 + X[:, 0] ** 2)[:, :, None] * np.eye(3)}),
    "a cell that changes": (CELLS | STEPS, {"cell": np.eye(3) * 4 + np.tril(X[:, :3])}),
    "steps at a distance": (EDGES | {"/position/step": 10, "/position/time": 0.5}, {"position": X}),
    "no box": (STEPS | {"/mass": np.ones(4)}, {"mass": np.ones((3, 4))}),
    "no steps": (EDGES, {"position": X}),
    "species as numbers": (STEPS | {"/species": [3, 1, 1, 2]}, {"species": [[3, 1, 1, 2]] * 3}),
    "images": (STEPS | {"/image/value": X.astype(int), "/image/step": [0, 10, 20]}, {"image": X.astype(int)}),
}


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "shuffle": True, "fletcher32": True}], ids=str)
@pytest.mark.parametrize("case", H5MD)
def test_h5md_has_the_arrays_that_were_stored(case, options, tmp_path):
    stored, expected = H5MD[case]
    with h5py.File(tmp_path / "t.h5", "w", libver=("earliest", "v108")) as file:
        group = file.create_group("particles/some of them")
        group.create_group("box").attrs["boundary"] = ["none" if case == "no box" else "periodic"] * 3
        group.create_dataset("position/value", data=X, chunks=(2, 3, 3), **options)
        for name, x in stored.items():
            group[name.removeprefix("/")] = x
    with io.read(tmp_path / "t.h5") as found:
        assert found.steps.tolist() == ([0, 1, 2] if case == "no steps" else [0, 10, 20])
        np.testing.assert_array_equal(found[:]["position"], X)
        for name, x in expected.items():
            np.testing.assert_array_equal(found[:][name], x)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [[4, 5, 6, 90, 90, 90], [4, 5, 6, 80, 95, 100], None], ids=str)
def test_h5md_of_mdanalysis_has_its_arrays(cell, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mda = pytest.importorskip("MDAnalysis")
        universe = mda.Universe.empty(4, trajectory=True, velocities=True)
        universe.dimensions = cell
        with mda.Writer(str(tmp_path / "t.h5md"), n_atoms=4, n_frames=3, convert_units=False) as out:
            for k in range(3):
                universe.atoms.positions, universe.atoms.velocities = X[k], X[k] * 2
                universe.trajectory.ts.time, universe.trajectory.ts.data["step"] = 0.5 * k, 10 * k
                out.write(universe.atoms)
    with io.read(tmp_path / "t.h5md") as found:
        frames = found[:]
        np.testing.assert_array_equal(frames["position"], X.astype(np.float32))
        np.testing.assert_array_equal(frames["velocity"], (X * 2).astype(np.float32))
        assert found.steps.tolist() == [0, 10, 20]
        assert frames["periodic"].all() == (cell is not None)
        if cell is not None:
            np.testing.assert_allclose(frames["cell"][1], mda.lib.mdamath.triclinic_vectors(cell), rtol=1e-6)
