"""OpenMM on its CPU platform; single precision."""

import time

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

_GAS_CONSTANT = 8.31446261815324e-3  # kJ/mol/K: the units are nm, ps, u and kJ/mol, the temperature alone is in K


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    if work.case == "batch":
        system = systems.in_one_box(system)
    elif work.case not in ("lj", "lj-langevin"):
        raise NotOffered(f"{work.case}: it relaxes by L-BFGS" if work.case == "fire" else work.case)
    return Run(work, system)


class Run:
    """Run a melt, or clusters side by side in one box."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, and warm it up."""
        import openmm

        count, box = len(system.position), float(system.box)
        world = openmm.System()
        world.setDefaultPeriodicBoxVectors((box, 0, 0), (0, box, 0), (0, 0, box))
        force = openmm.NonbondedForce()
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        force.setCutoffDistance(systems.CUTOFF)
        force.setUseDispersionCorrection(False)
        force.setUseSwitchingFunction(False)
        for _ in range(count):
            world.addParticle(1.0)
            force.addParticle(0.0, 1.0, 1.0)
        world.addForce(force)
        if work.case == "lj-langevin":
            kelvin = systems.BATH / _GAS_CONSTANT
            self._integrator = openmm.LangevinMiddleIntegrator(kelvin, systems.FRICTION, systems.DT)
        else:
            self._integrator = openmm.VerletIntegrator(systems.DT)
        platform = openmm.Platform.getPlatformByName("CPU")
        self._context = openmm.Context(world, self._integrator, platform, {"Threads": str(work.threads)})
        self._context.setPositions(system.position)
        self._context.setVelocities(system.velocity)
        self.energy = self._energy() / count
        self.precision, self.setting = "float32", "-"
        self.run(work.warm)

    def run(self, steps: int) -> Lap:
        """Take so many more steps."""
        began = time.perf_counter()
        self._integrator.step(steps)
        self._energy()  # waits until all of it is done
        return Lap(time.perf_counter() - began, steps)

    def _energy(self) -> float:
        return self._context.getState(getEnergy=True).getPotentialEnergy()._value
