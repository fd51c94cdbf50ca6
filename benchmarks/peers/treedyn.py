"""This library, as it is used in the documentation."""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import treedyn as td
from benchmarks import systems
from benchmarks.compiles import SO_FAR
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work
from treedyn import particles as tp

_MOST_STEPS = 10_000
_FIRE = {"dt": 0.05, "max_step": 0.08}  # the fastest; no particle may move by half the skin in one step
_ATTEMPTS = 10


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    programs = {"lj": Melt, "lj-langevin": Melt, "batch": Batch, "fire": Relaxation}
    if work.case not in programs:
        raise NotOffered(f"no comparison of {work.case}")
    set_precision(work.dtype)
    program = programs[work.case](work, system)
    program.warm(work)
    return program


def set_precision(dtype: str) -> None:
    """Let JAX know double precision, if it is wanted; before the first array is made."""
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)


def potential(
    truncation: str, u: Callable[[Any], Any] | None = None, cutoff: float = systems.CUTOFF
) -> Callable[[Any], Any]:
    """Return `u`, by default Lennard-Jones, truncated."""
    ends = {"cut": tp.cut, "force-shifted": tp.force_shifted}
    return ends[truncation](tp.lennard_jones() if u is None else u, cutoff=cutoff)


class Melt:
    """Run a melt: the energy, the list, the dynamics and the state."""

    def __init__(
        self, work: Work, system: System, u: Callable[[Any], Any] | None = None, *, precision: Any = None
    ) -> None:
        """Set it up; the first run compiles."""
        self.space = tp.periodic(jnp.asarray(system.box, work.dtype))
        self.potential = tp.pair_energy(potential(work.truncation, u), self.space, precision=precision)
        position = jnp.asarray(system.position, work.dtype)
        momentum = jnp.asarray(system.velocity, work.dtype)
        lists = tp.neighbor_list(self.space, systems.CUTOFF, skin=work.skin, tolerance=work.tolerance)
        self.env: Any = lists.allocate(position)
        self.heated = work.case == "lj-langevin"
        if self.heated:
            self.dynamics = td.langevin(
                self.potential, dt=systems.DT, kT=systems.BATH, gamma=systems.FRICTION, space=self.space
            )
        else:
            self.dynamics = td.nve(self.potential, dt=systems.DT, space=self.space)
        self.state = self.dynamics.init(jax.random.key(0), position, self.env, momentum=momentum)
        self.atoms = len(position)
        self.energy = _energy(self.state) / self.atoms
        self.precision = work.dtype
        self.setting = f"skin {float(self.env.skin):.3g}"
        if work.tolerance:
            self.setting += f", misses {work.tolerance:g}"

    def warm(self, work: Work) -> None:
        """Melt the crystal, which compiles."""
        self.take(work.warm)

    def take(self, steps: int) -> td.Run:
        """Take so many more steps, whatever has to be compiled."""
        out = td.run(self.dynamics, self.state, self.env, steps=steps)
        self.state, self.env = out.state, out.env
        return out

    def run(self, steps: int) -> Lap:
        """Take so many more steps; where the list had to grow, and code was compiled for it, take them once more."""
        for _ in range(_ATTEMPTS):
            compiled = SO_FAR.count
            began = time.perf_counter()
            out = self.take(steps)
            seconds = time.perf_counter() - began
            if SO_FAR.count == compiled:
                return Lap(seconds, steps, out.rebuilds)
        raise RuntimeError(f"{_ATTEMPTS} runs in a row had to compile")

    def conserved(self) -> float | None:
        """Return what the exact dynamics conserves, per atom; `None` where a heat bath takes and gives."""
        if self.heated:
            return None
        return float(self.dynamics.conserved(self.state)) / self.atoms

    def temperature(self) -> float:
        """Return the kinetic temperature."""
        return float(td.temperature(self.state))


class Batch:
    """Run clusters in open space, without lists: one dynamics, mapped over the states."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up; the first run of every length compiles."""
        self.dynamics = td.nve(tp.pair_energy(potential(work.truncation), tp.free()), dt=systems.DT)
        shape = (-1, systems.CLUSTER, 3)
        position = jnp.asarray(system.position, work.dtype).reshape(shape)
        momentum = jnp.asarray(system.velocity, work.dtype).reshape(shape)
        keys = jax.random.split(jax.random.key(0), len(position))
        begin = jax.vmap(lambda key, x, p: self.dynamics.init(key, x, momentum=p))
        self.state = jax.jit(begin)(keys, position, momentum)
        self.atoms = position.shape[0] * position.shape[1]
        self.energy = _energy(self.state) / self.atoms
        self.precision, self.setting = work.dtype, "all pairs"
        self._done: dict[int, Callable[[td.State], td.State]] = {}

    def warm(self, work: Work) -> None:
        """Run for one round."""
        self.run(work.steps)

    def run(self, steps: int) -> Lap:
        """Take so many more steps, all clusters at once."""
        if steps not in self._done:
            go = jax.vmap(lambda state: td.trajectory(self.dynamics, state, steps=steps).state)
            self._done[steps] = jax.jit(go).lower(self.state).compile()
        began = time.perf_counter()
        self.state = jax.block_until_ready(self._done[steps](self.state))
        seconds = time.perf_counter() - began
        if jnp.any(self.state.status):
            raise RuntimeError(f"a cluster is in trouble: {td.Status(int(jnp.max(self.state.status)))}")
        return Lap(seconds, steps)

    def conserved(self) -> float:
        """Return the energy per atom."""
        return float(jnp.sum(jax.vmap(self.dynamics.conserved)(self.state))) / self.atoms

    def temperature(self) -> float:
        """Return the mean of the kinetic temperatures."""
        return float(jnp.mean(jax.vmap(td.temperature)(self.state)))


class Relaxation:
    """Relax a crystal from the same start again and again."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up; the first run compiles."""
        space = tp.periodic(jnp.asarray(system.box, work.dtype))
        energy = tp.pair_energy(potential(work.truncation), space)
        position = jnp.asarray(system.position, work.dtype)
        self.env: Any = tp.neighbor_list(space, systems.CUTOFF, skin=work.skin).allocate(position)
        self.dynamics = td.fire(energy, dt=_FIRE["dt"], max_step=_FIRE["max_step"], space=space)
        self.state = self.dynamics.init(jax.random.key(0), position, self.env)
        self.atoms = len(position)
        self.energy = _energy(self.state) / self.atoms
        self.precision = work.dtype
        self.setting = f"dt {_FIRE['dt']}, skin {float(self.env.skin):.3g}"

    def warm(self, work: Work) -> None:
        """Relax once, which compiles."""
        self.run(work.steps)

    def run(self, steps: int) -> Lap:
        """Relax from the start, however many steps that takes."""
        for _ in range(_ATTEMPTS):
            compiled = SO_FAR.count
            began = time.perf_counter()
            out = td.run(self.dynamics, self.state, self.env, steps=_MOST_STEPS, until=_relaxed)
            seconds = time.perf_counter() - began
            self.last = out.state
            if largest_force(self.last) >= systems.FORCE:
                raise RuntimeError(f"not relaxed after {out.steps} steps")
            if SO_FAR.count == compiled:
                return Lap(seconds, out.steps, out.rebuilds, _energy(out.state) / self.atoms)
        raise RuntimeError(f"{_ATTEMPTS} relaxations in a row had to compile")


def largest_force(state: td.State) -> jax.Array:
    """Return the largest force on any atom."""
    return jnp.sqrt(jnp.max(jnp.sum(state.force**2, axis=-1)))


def _energy(state: td.State) -> float:
    """Return the potential energy, of all systems together where there are several."""
    return float(jnp.sum(jnp.asarray(state.energy)))


def _relaxed(state: td.State) -> jax.Array:
    return largest_force(state) < systems.FORCE
