"""TorchSim, from 0.6 on: melts only; its model finds the neighbors anew at every step."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

# The fastest first; without its extra `vesin` only the last is there, which is much slower. Those of alchemiops make
# room for as many neighbors as atoms a few angstrom apart have: too few in these units.
_LISTS = ("vesin_nl_ts", "vesin_nl", "torch_nl_linked_cell")
_WARM = 20  # nothing is compiled, and it is slow


def environment(work: Work, folder: Path) -> dict[str, str]:
    """Return the variables to start with: its warnings are about its own code."""
    return {"PYTHONWARNINGS": "ignore"}


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    if work.case != "lj":
        raise NotOffered(f"no comparison of {work.case}")
    melt = Melt(work, system)
    melt.run(_WARM)
    return melt


class Melt:
    """Run a melt, by its steps: only its runner converts units, and would take times for picoseconds."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up."""
        import torch
        import torch_sim
        from torch_sim import neighbors
        from torch_sim.models.lennard_jones import LennardJonesModel

        torch.set_num_threads(work.threads)
        kind, count = getattr(torch, work.dtype), len(system.position)
        lists = next(name for name in _LISTS if hasattr(neighbors, name))
        options = {
            "sigma": 1.0,
            "epsilon": 1.0,
            "cutoff": systems.CUTOFF,
            "neighbor_list_fn": getattr(neighbors, lists),
        }
        self._model = LennardJonesModel(dtype=kind, **options)
        state = torch_sim.SimState(
            positions=torch.as_tensor(system.position, dtype=kind),
            masses=torch.ones(count, dtype=kind),
            cell=torch.eye(3, dtype=kind)[None] * system.box,
            atomic_numbers=torch.full((count,), 18, dtype=torch.int),
            pbc=True,
        )
        self._step: Callable[..., Any] = torch_sim.nve_step
        self.state = torch_sim.nve_init(state, self._model, kT=systems.TEMPERATURE)
        self.state.momenta = torch.as_tensor(system.velocity, dtype=kind)  # instead of those that it drew
        # in single precision its energy, one running sum over all pairs, is off by 0.001 per atom
        double = LennardJonesModel(dtype=torch.float64, **options)
        self.energy = float(double(state.to(dtype=torch.float64))["energy"].sum()) / count
        self.precision, self.setting = work.dtype, f"{lists} at every step"

    def run(self, steps: int) -> Lap:
        """Take so many more steps."""
        began = time.perf_counter()
        for _ in range(steps):
            self.state = self._step(self.state, self._model, dt=systems.DT)
        return Lap(time.perf_counter() - began, steps)
