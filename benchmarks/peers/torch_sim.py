"""TorchSim: melts only; its model finds the neighbors anew at every step."""

import time

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

_WARM = 20  # nothing is compiled, and it is slow


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    if work.case != "lj":
        raise NotOffered(f"no comparison of {work.case}")
    return Melt(work, system)


class Melt:
    """Run a melt."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, and warm it up."""
        import torch
        import torch_sim
        from torch_sim.models.lennard_jones import LennardJonesModel

        torch.set_num_threads(work.threads)
        kind, device = getattr(torch, work.dtype), torch.device("cpu")
        self._step, count = torch_sim.nve_update, len(system.position)
        self._model = LennardJonesModel(
            sigma=1.0, epsilon=1.0, cutoff=systems.CUTOFF, device=device, dtype=kind, compute_forces=True
        )
        state = torch_sim.SimState(
            positions=torch.as_tensor(system.position, dtype=kind),
            masses=torch.ones(count, dtype=kind),
            cell=torch.eye(3, dtype=kind) * system.box,
            atomic_numbers=torch.full((count,), 18, dtype=torch.int),
            pbc=True,
        )
        kT = torch.tensor(systems.TEMPERATURE, dtype=kind)
        self._state = torch_sim.nve_init(model=self._model, state=state, kT=kT)
        self._state.momenta = torch.as_tensor(system.velocity, dtype=kind)
        self._dt = torch.tensor(systems.DT, dtype=kind)
        self.energy = float(self._state.energy.sum()) / count
        self.precision, self.setting = work.dtype, "a list for every step"
        self.run(_WARM)

    def run(self, steps: int) -> Lap:
        """Take so many more steps."""
        began = time.perf_counter()
        for _ in range(steps):
            self._state = self._step(model=self._model, state=self._state, dt=self._dt)
        return Lap(time.perf_counter() - began, steps)
