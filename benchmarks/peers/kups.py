"""kUPS, which needs Python 3.12 or newer: melts only; its simulations build a neighbor list at every step."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

_LABEL = "Ar"
_WARM = 20  # it is slow
_ATTEMPTS = 10


def environment(work: Work, folder: Path) -> dict[str, str]:
    """Return the variables to start with: its warnings are about its own code."""
    return {"PYTHONWARNINGS": "ignore"}


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    if work.case != "lj":
        raise NotOffered(f"no comparison of {work.case}")
    import jax

    if work.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    melt = Melt(work, system)
    melt.run(_WARM)
    return melt


class Melt:
    """Run a melt; its unit of time makes angstrom, electron volt and atomic mass unit 1, so that no number changes."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up; the first run of every length compiles."""
        import jax
        import jax.numpy as jnp
        from kups.application.md.data import MdState
        from kups.application.md.simulation import make_md_propagator
        from kups.application.potential.classical.lennard_jones import make_lennard_jones_from_state
        from kups.application.potential.filter import POSITIONS_ONLY
        from kups.application.utils.propagate import make_cycle_function
        from kups.core.lens import bind, identity_lens
        from kups.core.neighborlist import CellListNeighborList, UniversalNeighborlistParameters
        from kups.core.propagator import LoopPropagator, propagate_and_fix
        from kups.potential.classical.lennard_jones import LennardJonesParameters

        lens = identity_lens(MdState)
        lj = LennardJonesParameters.from_dict(systems.CUTOFF, {_LABEL: (1.0, 1.0)}, "lorentz_berthelot")
        lists = CellListNeighborList.from_state  # its default takes all pairs below 10,000 atoms
        potential: Any = make_lennard_jones_from_state(
            lens, parameters=lj, gradient=POSITIONS_ONLY, neighborlist_factory=lists
        )
        one = make_md_propagator(lens, "verlet", potential)
        self._compile: Callable[[int], Any] = lambda steps: make_cycle_function(LoopPropagator(one, steps))
        self._take: Callable[..., Any] = propagate_and_fix
        self._done: dict[int, Any] = {}
        self._key = jax.random.key(0)
        particles, boxes = _tables(work, system)
        room = UniversalNeighborlistParameters.estimate(particles.data.system.counts, boxes, lj.cutoff)
        self.state: Any = MdState(particles, boxes, room, jnp.array([0]))
        self.run(1)  # of no length: it finds the energy and the forces
        step = bind(self.state, lambda state: state.systems.data.integrator_params.time_step)
        self.state = step.set(jnp.full(1, systems.DT, work.dtype))
        self.energy = float(self.state.systems.data.potential_energy[0]) / len(system.position)
        self.precision, self.setting = work.dtype, "a cell list at every step"

    def run(self, steps: int) -> Lap:
        """Take so many more steps; where code was compiled, or a list grew, take them once more."""
        import jax

        for _ in range(_ATTEMPTS):
            known, room = steps in self._done, self.state.neighborlist_params
            go = self._done.setdefault(steps, self._compile(steps))
            began = time.perf_counter()
            self.state = jax.block_until_ready(self._take(go, self._key, self.state))
            seconds = time.perf_counter() - began
            if known and self.state.neighborlist_params == room:
                return Lap(seconds, steps)
        raise RuntimeError(f"{_ATTEMPTS} runs in a row had to compile")


def _tables(work: Work, system: System) -> tuple[Any, Any]:
    """Return the atoms and the box, with a time step of 0."""
    import jax.numpy as jnp
    import numpy as np
    from kups.application.md.data import MDParticles, MDSystems, VerletParams
    from kups.core.cell import Cell, OrthogonalFrame
    from kups.core.data import Index, Table
    from kups.core.typing import Label, ParticleId, SystemId
    from kups.core.utils.jax import tree_zeros_like

    count, kind = len(system.position), work.dtype
    atoms = MDParticles(
        positions=jnp.asarray(system.position, kind),
        masses=jnp.ones(count, kind),
        atomic_numbers=jnp.full(count, 18),
        charges=jnp.zeros(count, kind),
        labels=Index.new([Label(_LABEL)] * count),
        system=Index.integer(np.zeros(count, int), label=SystemId),
        position_gradients=jnp.zeros((count, 3), kind),
        momenta=jnp.asarray(system.velocity, kind),
    )
    cell = Cell.from_pbc(OrthogonalFrame.from_matrix(jnp.eye(3, dtype=kind)[None] * system.box), (True, True, True))
    box = MDSystems(
        cell=cell,
        integrator_params=VerletParams(jnp.zeros(1, kind)),
        cell_gradients=tree_zeros_like(cell),
        cell_momentum=jnp.zeros((1, 3, 3), kind),
        potential_energy=jnp.zeros(1, kind),
    )
    return Table.arange(atoms, label=ParticleId), Table((SystemId(0),), box)
