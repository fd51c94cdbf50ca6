"""Minimizers of this library, of SciPy and of ASE, from the same starts to the same largest force."""

import contextlib
import dataclasses
import io
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.optimize import FIRE, BFGSLineSearch

import treedyn as td
from benchmarks.compiles import SO_FAR
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work
from treedyn import particles as tp

FORCE = 1e-8  # the largest component at which all of them stop
_MOST = 20_000  # evaluations
_PATIENCE = 20.0  # seconds; a program that takes longer gets one start only
_KEY = jax.random.key(0)


@dataclasses.dataclass(frozen=True)
class Problem:
    """Hold an energy and where to start.

    Attributes:
        name: what it is called in the table.
        energy: a function of the position.
        starts: positions to start from.
        atoms: whether the position is one of atoms, which ASE needs.
        max_step: how far this library may move an element in one step.
        dt: time steps for FIRE, the fastest of several: this library's, and ASE's.
    """

    name: str
    energy: Callable[[jax.Array], jax.Array]
    starts: list[jax.Array]
    atoms: bool
    max_step: float
    dt: tuple[float, float | None]


@dataclasses.dataclass(frozen=True)
class End:
    """Hold how a minimization ended."""

    evaluations: int
    energy: float
    force: float
    seconds: float


Program = Callable[[jax.Array], End]


def minimize(work: Work) -> list[Result]:
    """Count evaluations and seconds; as many starts as there are rounds, all pairs, double precision."""
    programs.set_precision("float64")
    problems = [atoms(work.atoms, work.rounds), discs(work.rounds), rosenbrock(work.rounds)]
    return [_measured(problem, name, program) for problem in problems for name, program in _programs(problem).items()]


def atoms(count: int, starts: int) -> Problem:
    """Return a Lennard-Jones crystal whose atoms were moved at random."""
    repeats = max(round((count / 4) ** (1 / 3)), 2)
    crystal = tp.fcc(repeats, density=0.8442)
    far = min(2.5, float(crystal.box[0]) / 2)
    energy = tp.pair_energy(tp.smooth(tp.lennard_jones(), onset=0.8 * far, cutoff=far), crystal.space)
    moved = [crystal.position + 0.1 * noise for noise in _noise(starts, crystal.position.shape)]
    return Problem(f"{len(crystal.position)} atoms", energy, moved, True, 0.1, (0.05, 0.1))


def discs(starts: int) -> Problem:
    """Return a packing of soft discs of two sizes in two dimensions, which has many minima."""
    count, ratio, fraction = 128, 1.4, 0.95
    radii = np.where(np.arange(count) % 2, 0.5 * ratio, 0.5)
    side = float(np.sqrt(np.pi * np.sum(radii**2) / fraction))
    lattice = np.stack(np.meshgrid(np.arange(12), np.arange(11)), axis=-1).reshape(-1, 2)[:count]
    lattice = jnp.asarray((lattice + 0.5) * side / np.array([12, 11]))
    diameter = tp.by_particle(jnp.asarray(radii), combine=lambda a, b: a + b)
    energy = tp.pair_energy(tp.soft_sphere(sigma=diameter), tp.periodic(side), cutoff=ratio)
    moved = [lattice + 0.2 * noise for noise in _noise(starts, lattice.shape)]
    return Problem(f"{count} discs", energy, moved, True, 0.2, (0.05, 0.05))


def rosenbrock(starts: int) -> Problem:
    """Return the curved valley, twice over."""

    def energy(x: jax.Array) -> jax.Array:
        return jnp.sum((1 - x[:2]) ** 2 + 100 * (x[2:] - x[:2] ** 2) ** 2)

    begin = [jnp.array([-1.2, 0.5, 1.0, -0.5]), *_noise(starts, (4,))]
    return Problem("Rosenbrock, 4 numbers", energy, begin[:starts], False, float("inf"), (2e-3, None))


def _noise(count: int, shape: tuple[int, ...]) -> list[jax.Array]:
    return [jax.random.normal(jax.random.key(k), shape) for k in range(count)]


def _programs(problem: Problem) -> dict[str, Program]:
    energy, options = problem.energy, {"max_step": problem.max_step}
    found: dict[str, Program] = {
        "treedyn lbfgs": _own(td.lbfgs(energy, **options)),
        "treedyn conjugate_gradient": _own(td.conjugate_gradient(energy, **options)),
        "treedyn fire": _own(td.fire(energy, problem.dt[0], **options)),
        "SciPy L-BFGS-B": _scipy(energy, "L-BFGS-B", gtol=FORCE, ftol=0, maxfun=_MOST, maxiter=_MOST),
        "SciPy CG": _scipy(energy, "CG", gtol=FORCE, maxiter=_MOST),
    }
    if problem.atoms and (dt := problem.dt[1]) is not None:
        found["ASE FIRE"] = _ase(energy, lambda atoms: FIRE(atoms, logfile=None, dt=dt, dtmax=10 * dt))
        found["ASE BFGSLineSearch"] = _ase(energy, lambda atoms: BFGSLineSearch(atoms, logfile=None))
    return found


def _measured(problem: Problem, name: str, program: Program) -> Result:
    ends: list[End] = []
    for start in problem.starts:
        ends.append(program(start))
        if ends[-1].seconds > _PATIENCE:
            break
    counts = sorted(end.evaluations for end in ends)
    return Result(
        case="minimize",
        atoms=len(problem.starts[0]) if problem.atoms else 0,
        steps=0,
        dtype="float64",
        details={
            "system": problem.name,
            "program": name,
            "evaluations": round(statistics.median(counts)),
            "fewest": counts[0],
            "most": counts[-1],
            "energy": statistics.median(end.energy for end in ends),
            "largest_force": max(end.force for end in ends),
            "seconds": statistics.median(end.seconds for end in ends),
            "reached": f"{sum(end.force < FORCE for end in ends)} of {len(ends)}",
        },
    )


def _own(dynamics: td.Minimizer) -> Program:
    def program(start: jax.Array) -> End:
        state = dynamics.init(_KEY, start)
        options: dict[str, Any] = {"steps": _MOST, "until": td.converged(force=FORCE)}
        counted = td.run(dynamics, state, record=lambda state: state.info.evaluations, **options)
        evaluations = 1 + int(np.sum(counted.records))  # one for the state to start from
        while True:
            compiled, began = SO_FAR.count, time.perf_counter()
            end = td.run(dynamics, state, **options).state
            seconds = time.perf_counter() - began
            if SO_FAR.count == compiled:
                return End(evaluations, float(end.energy), float(td.tree.max_abs(end.force)), seconds)

    return program


class _Counted:
    """An energy and its gradient, in NumPy, with a counter."""

    def __init__(self, energy: Callable[[jax.Array], jax.Array], start: jax.Array) -> None:
        self.shape, self.count = start.shape, 0
        self.function = jax.jit(jax.value_and_grad(energy)).lower(start).compile()

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.count += 1
        energy, gradient = self.function(jnp.asarray(x.reshape(self.shape)))
        return float(energy), np.asarray(gradient).ravel()


def _scipy(energy: Callable[[jax.Array], jax.Array], method: str, **options: Any) -> Program:
    def program(start: jax.Array) -> End:
        counted = _Counted(energy, start)
        x, began = np.asarray(start).ravel(), time.perf_counter()
        end = scipy.optimize.minimize(counted, x, jac=True, method=method, options=options)
        seconds = time.perf_counter() - began
        return End(counted.count, float(end.fun), float(np.max(np.abs(end.jac))), seconds)

    return program


class _Energy(Calculator):
    implemented_properties = ("energy", "forces")

    def __init__(self, counted: _Counted) -> None:
        super().__init__()
        self.counted = counted

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        super().calculate(atoms, properties, system_changes)
        count, dimension = self.counted.shape
        energy, gradient = self.counted(self.atoms.positions[:, :dimension])
        forces = np.zeros((count, 3))
        forces[:, :dimension] = -gradient.reshape(count, dimension)
        self.results = {"energy": energy, "forces": forces}


def _ase(energy: Callable[[jax.Array], jax.Array], make: Callable[[Atoms], Any]) -> Program:
    def program(start: jax.Array) -> End:
        counted = _Counted(energy, start)
        position = np.zeros((len(start), 3))
        position[:, : start.shape[1]] = start
        moving = Atoms("X" * len(start), position, calculator=_Energy(counted))
        optimizer, began = make(moving), time.perf_counter()
        # a line search that fails raises an error, and others print what they leave out
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(RuntimeError):
            while counted.count < _MOST and np.max(np.abs(moving.get_forces())) >= FORCE:
                optimizer.step()
        seconds = time.perf_counter() - began
        force = float(np.max(np.abs(moving.get_forces())))
        return End(counted.count, float(moving.get_potential_energy()), force, seconds)

    return program
