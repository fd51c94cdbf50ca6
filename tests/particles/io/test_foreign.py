"""Files of other programs: what is understood is read, the rest is refused by file and frame, nothing is changed."""

import h5py
import numpy as np
import pytest

from tests.programs import start
from treedyn.particles import io

hoomd = pytest.importorskip("gsd.hoomd")
pytest.importorskip("ase.io")

P = "Properties=species:S:1:pos:R:3"
BOX = "4 0 0 1 5 0 0 0 6"
ONE = "H 0 0 0\n"
CELL = [[4, 0, 0], [1, 5, 0], [0, 0, 6]]

ACCEPTED = {
    "blank lines": (f"1\n{P}\n{ONE}\n1\n{P}\nHe 1 1 1\n\n\n", {"species": ["He"]}),
    "no line break at the end": (f"1\n{P}\n{ONE}1\n{P}\nHe 1 1 1", {"position": [[1, 1, 1]]}),
    "other species": (f"2\n{P}\nNa 0 0 0\nCl 1 1 1\n2\n{P}\nK 0 0 0\nBr 1 1 1\n", {"species": ["K", "Br"]}),
    "words": (f'1\n{P} Lattice="{BOX}" pbc="true true false"\n{ONE}', {"periodic": [True, True, False], "cell": CELL}),
    "spaces": (f'1\n{P} Lattice = "{BOX}"\n{ONE}', {"periodic": [True] * 3, "cell": CELL}),
    "small letters": (f'1\n{P} lattice="{BOX}" PBC="T F T"\n{ONE}', {"periodic": [True, False, True], "cell": CELL}),
    "header and column": (
        f"1\n{P}:charge:R:1 charge=-1 position=3 cell=5 mass=2\nH 0 0 0 .5\n",
        {"charge": [0.5], "frame_charge": -1, "position": [[0, 0, 0]], "frame_cell": 5, "frame_mass": 2},
    ),
    "labels": ("3\nwater of some model\nOW 0 0 0\nD 0 0 1\n1 2 2 2\n", {"species": ["OW", "D", "1"]}),
    "numbers": ("1\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n", {"species": ["O"]}),
    "not finite": (f"1\n{P} e=nan\nH nan inf 0\n", {"position": [[np.nan, np.inf, 0]], "e": np.nan}),
    "no particles": (f"0\n{P}\n", {"position": np.zeros((0, 3))}),
}
REFUSED = {
    "half a frame": (f"1\n{P}\n{ONE}2\n{P}\n{ONE}", "frame 1: .*ends before its last particle"),
    "a short row": (f"2\n{P}\n{ONE}H 0 0\n", "frame 0: .*expected 4 entries for each of 2 particles, got 7"),
    "pbc": (f'1\n{P} pbc="1 2"\n{ONE}', "frame 0: .*expected pbc to be three of T and F"),
    "lattice": (f'1\n{P} Lattice="1 2 3"\n{ONE}', "frame 0: .*Lattice"),
    "no number": ("hello\n", "frame 0: .*expected the number of particles, got 'hello"),
    "a huge number": (f"99999999999\n{P}\n{ONE}", "frame 0: .*ends before"),
    "no positions": ("1\nProperties=species:S:1\nH\n", "frame 0: .*expected a column pos"),
    "words for numbers": (f"1\n{P}\nH a b c\n", "frame 0: .*could not convert"),
}


def assert_not_continued(path):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"path: .*cannot be continued"):
        io.writer(path, mode="a")
    assert path.read_bytes() == before


@pytest.mark.parametrize("case", ACCEPTED)
def test_xyz_of_others_is_read_and_not_continued(case, tmp_path):
    text, expected = ACCEPTED[case]
    path = tmp_path / "t.xyz"
    path.write_text(text)
    with io.read(path) as found:
        last = found[-1]
        for name, x in expected.items():
            np.testing.assert_array_equal(last[name], x)
        if "cell" in expected:
            np.testing.assert_array_equal(found.space().cell(3), CELL)
            assert found.space().periodic_axes(3) == tuple(expected["periodic"])
        else:
            assert found.space().cell(3) is None and not last["periodic"].any()
    assert_not_continued(path)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_by_frame(case, tmp_path):
    text, message = REFUSED[case]
    path = tmp_path / "t.xyz"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"path: .*t\.xyz.* {message}"):
        io.read(path)[:]
    assert_not_continued(path)


def h5md(path, step):
    file = h5py.File(path, "w")
    file["h5md/creator/x"] = 0
    file["h5md/creator"].attrs["name"] = "another program"
    particles = file.create_group("particles/water")
    particles.create_group("box").attrs["boundary"] = np.array(["periodic"] * 3, "S8")
    particles["box/edges"] = np.array([4.0, 5.0, 6.0])
    particles["position/value"] = np.arange(18.0).reshape(3, 2, 3)
    particles["position/step"] = step
    return file, particles


def test_h5md_of_others_is_read_and_not_continued(tmp_path):
    path = tmp_path / "t.h5"
    file, particles = h5md(path, 100)
    with file:
        particles["position/step"].attrs["offset"] = 5000
        kind = h5py.enum_dtype({"O": 8, "H": 1}, basetype="i")
        particles.create_dataset("species", data=np.array([8, 1]), dtype=kind)
    with io.read(path) as found:
        assert found.steps.tolist() == [5000, 5100, 5200]
        assert found[:]["species"].tolist() == [["O", "H"]] * 3 and found[0]["periodic"].all()
        assert found.space().box.tolist() == [4, 5, 6]
    assert_not_continued(path)
    whole = path.read_bytes()
    for size in (10, 100, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="path: expected a file in HDF5"):
            io.read(path)


def test_elements_of_h5md_belong_to_the_steps_of_the_positions_and_to_the_file(tmp_path):
    file, particles = h5md(tmp_path / "t.h5", np.array([0, 10, 20]))
    with file, h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret/value"] = np.ones((3, 2))
        particles["species/value"] = np.array([[1, 2], [2, 1], [2, 2]])
        particles["species/step"] = particles["position/step"]
        particles["velocity/value"], particles["velocity/step"] = np.ones((2, 2, 3)), np.array([0, 20])
        particles["force"] = h5py.ExternalLink("other.h5", "/secret")
    with io.read(tmp_path / "t.h5") as found:
        # numbers without names are not taken for chemical elements
        assert found[:]["species"].tolist() == [[1, 2], [2, 1], [2, 2]]
        assert found[0].keys() == {"position", "species", "periodic", "cell"}


def test_frames_that_h5md_only_declares_are_not_read(tmp_path):
    file, particles = h5md(tmp_path / "t.h5", 1)
    with file:
        del particles["position/step"]
        step = particles.create_dataset("position/step", (10**13,), "i8", chunks=(3,), fillvalue=7)
        step[:3] = [0, 10, 20]
        particles.create_dataset("velocity/value", (10**9, 2, 3), float, chunks=(3, 2, 3))[:3] = 1
        particles["velocity/step"] = step
    with io.read(tmp_path / "t.h5") as found:
        assert found.steps.tolist() == [0, 10, 20] and found[:]["velocity"].shape == (3, 2, 3)
    file, particles = h5md(tmp_path / "u.h5", 1)
    with file:
        particles.create_dataset("velocity/value", (3, 10**9, 3), float, chunks=(1, 9, 3))[0, 0] = 1
    with pytest.raises(ValueError, match=r"u\.h5.*velocity/value declares frames of 24000000000 bytes"):
        io.read(tmp_path / "u.h5")


def test_gsd_of_others_is_read_and_not_continued(tmp_path):
    path = tmp_path / "t.gsd"
    with hoomd.open(str(path), "w") as file:
        for k in range(3):
            frame = hoomd.Frame()
            frame.configuration.step, frame.configuration.box = 7 * k, [3, 3, 3, 0, 0, 0]
            frame.particles.N, frame.particles.types = 2, ["A", "polymer"]
            frame.particles.typeid = [0, 1] if k < 2 else [1, 1]
            if k == 2:
                frame.particles.velocity, frame.log["e"] = np.ones((2, 3)), np.array([1.5])
            file.append(frame)
    with io.read(path) as found:
        assert found.steps.tolist() == [0, 7, 14]
        assert [frame["species"].tolist() for frame in found] == [["A", "polymer"]] * 2 + [["polymer"] * 2]
        assert found[0]["velocity"].tolist() == [[0] * 3] * 2 and "e" not in found[1] and found[2]["e"] == 1.5
        with pytest.raises(ValueError, match="frames 0 to 2 hold different arrays"):
            found[:]
    assert_not_continued(path)


WRITE_AND_DIE = """
import os, signal, sys, numpy as np
from treedyn.particles import io
out = io.writer(sys.argv[1], mode="a")
first = 0 if out.last is None else out.last + 1
out.write(np.arange(first, first + 2), {"position": np.ones((2, 3, 3)), "energy": np.ones(2)})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_h5md_that_grows_has_the_frames_of_its_opening(tmp_path):
    frames = {"position": np.ones((2, 3, 3)), "energy": np.array([1.0, 2.0])}
    with io.writer(tmp_path / "t.h5") as out:
        out.write(np.array([0, 10]), frames)
        with io.read(tmp_path / "t.h5") as found:
            out.write(np.array([20, 30]), frames)
            assert found.steps.tolist() == [0, 10] and found[-1]["position"].shape == (3, 3)
            assert found[:]["energy"].tolist() == [1, 2]


@pytest.mark.slow
def test_a_file_whose_writers_were_killed_keeps_one_dataset_of_steps(tmp_path):
    for _ in range(3):
        start(WRITE_AND_DIE, tmp_path / "t.h5").communicate()
    io.writer(tmp_path / "t.h5", mode="a").close()
    with h5py.File(tmp_path / "t.h5", "r") as file:
        assert file["observables/energy/step"] == file["particles/all/position/step"]
        assert file["observables/energy/step"].shape == (6,)


def test_a_frame_of_ours_whose_number_was_changed_is_damage_and_no_later_frame_is_lost(tmp_path):
    path = tmp_path / "x.xyz"
    with io.writer(path) as writer:
        writer.write([1, 2, 3], {"position": np.arange(18.0).reshape(3, 2, 3)})
    text = path.read_text()
    path.write_text(text.replace("\n2\n", "\n7\n", 1))
    with pytest.raises(ValueError, match="frame 1: expected 7 particles, but another frame begins"):
        io.read(path)
    with pytest.raises(ValueError, match="cannot be continued"):
        io.writer(path, mode="a")
    assert len(path.read_text()) == len(text)
