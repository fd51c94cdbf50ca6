"""Damage of files, and a program that reads damaged copies: `python -m tests.store.damage t.h5md 0 300`.

A copy that hangs, kills the program or asks for much memory ends the program. An error has to name the file. Numbers
that are read from a file with checksums have to be those that were written.
"""

import faulthandler
import random
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import h5py
import jax
import numpy as np

import treedyn as td
from tests.store.samples import content, open_writer, read
from treedyn.store._checkpoint import Folder

SECONDS, BYTES = 8, 2**30
STEPS = range(0, 90, 10)
CHECKED = (".npz", ".zarr", ".folder")  # with a checksum of the numbers
TREE = {"x": np.arange(600.0).reshape(20, 30), "n": [3, np.arange(7)]}


def damaged(raw: bytes, chance: random.Random) -> bytes:
    """Return bytes that were cut, flipped, zeroed, deleted or copied at a random place."""
    kind = chance.choice(["cut", "flip", "zero", "delete", "copy"])
    # headers are short, so every second damage is near the beginning
    start = chance.randrange(min(len(raw), 600) if chance.random() < 0.5 else len(raw)) if raw else 0
    stop = start + chance.choice([1, 4, 8, 64, 1000])
    part, out = raw[start:stop], bytearray(raw)
    if kind == "cut":
        return raw[:start]
    if kind == "flip":
        out[start:stop] = bytes(byte ^ 1 << chance.randrange(8) for byte in part)
    elif kind == "zero":
        out[start:stop] = bytes(len(part))
    elif kind == "delete":
        del out[start:stop]
    else:
        where = chance.randrange(len(raw) + 1)
        out[where : where + chance.choice([0, len(part)])] = part
    return bytes(out)


def write(path: Path) -> None:
    """Write a file or folder of the kind that its suffix tells."""
    if path.suffix == ".npz":
        td.save(path, TREE)
    elif path.suffix == ".folder":
        with Folder(path, 3) as folder:
            for step in (10, 20):
                folder.write(TREE, {"about": {}}, {"r": np.arange(step - 10.0, step)}, step)
    elif path.suffix == ".h5":  # of another program, in the oldest version of HDF5, compressed
        data = content(path.suffix, STEPS)
        with h5py.File(path, "w", libver="earliest") as file:
            particles = file.create_group("particles/all")
            particles.create_group("box").attrs["boundary"] = ["none"] * 3
            for name in ("position", "velocity", "force"):
                particles.create_dataset(f"{name}/value", data=data[name], chunks=(2, 7, 3), compression="gzip")
                particles[f"{name}/step"] = np.array(STEPS)
    else:
        with open_writer(path) as out:
            for step in STEPS:
                out.write(np.array([step]), content(path.suffix, [step]))
            growing = path.read_bytes() if path.suffix == ".hdf5" else None
        if growing is not None:  # as if the writer had been killed
            path.write_bytes(growing)


def read_back(path: Path) -> tuple[list[int], object]:
    """Return the steps in a file, and its numbers."""
    if path.suffix == ".npz":
        return [], td.load(path, TREE)
    if path.suffix == ".folder":
        with Folder(path, 3) as folder:
            found = folder.latest(TREE, {})
            records = folder.records({"r": np.zeros(())})
        return [10 * (k + 1) for k in range(len(records))], (None if found is None else found[0], records)
    return read(path)


def expected(path: Path, steps: list[int]) -> object:
    """Return the numbers that were written up to these steps."""
    if path.suffix == ".npz":
        return TREE
    if path.suffix == ".folder":
        return TREE, [{"r": np.arange(step - 10.0, step)} for step in steps]
    data = content(path.suffix, steps)
    return {name: data[name] for name in ("position", "velocity", "force")} if path.suffix == ".h5" else data


def same(found: object, wanted: object) -> bool:
    if isinstance(found, dict) and isinstance(wanted, dict):
        found = {name: found.get(name) for name in wanted}  # trajectories have cell, species and periodic as well
    each = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    return jax.tree.structure(found) == jax.tree.structure(wanted) and all(np.array_equal(a, b) for a, b in each)


def attempt(path: Path, use: object, seed: int) -> str:
    """Return how the use of a damaged file ended: in numbers or in an error."""
    faulthandler.dump_traceback_later(SECONDS, exit=True)
    try:
        steps, found = use(path)
    except (ValueError, OSError, KeyError) as error:
        # frames may not fit what is left in a file
        if path.name not in str(error) and not str(error).startswith(("frames", "steps")):
            traceback.print_exc()
            raise AssertionError(f"seed {seed}: the error does not name the file") from error
        return "refused"
    finally:
        faulthandler.cancel_dump_traceback_later()
    whole = same(found, expected(path, steps))
    assert whole or path.suffix not in CHECKED, f"seed {seed}: other numbers than were written"
    return "whole" if whole else "changed"


def go_on(path: Path) -> tuple[list[int], object]:
    """Continue a file, and read it."""
    if path.suffix not in (".npz", ".folder"):
        with open_writer(path, "a") as out:
            out.write(np.array([1000]), content(path.suffix, [1000]))
    return read_back(path)


def main(name: str, first: int, last: int) -> None:
    warnings.simplefilter("ignore")
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        good, path = Path(folder, "good", name), Path(folder, name)
        good.parent.mkdir()
        write(good)
        assert same(read_back(good)[1], expected(good, read_back(good)[0])) or name.endswith(".gsd")
        files = sorted(file for file in good.rglob("*") if file.is_file()) or [good]
        memory = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (memory + BYTES, memory + BYTES))
        for seed in range(first, last):
            print("seed", seed, flush=True)
            for use in (read_back, go_on):
                chance = random.Random(seed)
                (shutil.copytree if good.is_dir() else shutil.copy)(good, path)
                file = path / chance.choice(files).relative_to(good)
                file.write_bytes(damaged(file.read_bytes(), chance))
                how = f"{use.__name__}: {attempt(path, use, seed)}"
                counts[how] = counts.get(how, 0) + 1
                (shutil.rmtree if path.is_dir() else Path.unlink)(path)
    print(counts)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]))
