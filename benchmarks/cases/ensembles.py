"""Many systems at once under `td.run`: beside one after another, and beside `jax.vmap` of a trajectory, in turn."""

import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import treedyn as td
from benchmarks import systems
from benchmarks.compiles import SO_FAR
from benchmarks.measure import Lap, peak_memory, per_step
from benchmarks.peers import treedyn as programs
from benchmarks.result import Result
from benchmarks.work import Work
from treedyn import particles as tp

_CHAINS = 64
_ROWS, _COLUMNS = 442, 10
_ATTEMPTS = 10


def chains(work: Work) -> Result:
    """Measure Langevin chains of a posterior, as one ensemble and one after another; a step is one of all chains."""
    programs.set_precision(work.dtype)
    dynamics = td.langevin(posterior(work.dtype), dt=0.02, kT=1.0, gamma=2.0)
    start = jnp.zeros(_COLUMNS, work.dtype)
    many = td.ensemble(dynamics, _CHAINS)
    together = Together(many, many.init(jax.random.key(0), start), None)
    single = [Together(dynamics, dynamics.init(jax.random.key(k), start), None) for k in range(_CHAINS)]
    together.run(work.steps), single[0].run(work.steps)
    laps, ratios = [], []
    for _ in range(work.rounds):
        laps.append(together.run(work.steps))
        ratios.append(sum(one.run(work.steps).seconds for one in single) / laps[-1].seconds)
    seconds = per_step(laps)
    return Result(
        case=work.case,
        atoms=0,
        steps=work.steps,
        dtype=work.dtype,
        ms_per_step=seconds * 1e3,
        peak_memory_mib=peak_memory(),
        details={
            "rounds": work.rounds,
            "chains": _CHAINS,
            "chain_steps_per_s": _CHAINS / seconds,
            "ratio_to_one_after_another": statistics.median(ratios),
            "least_ratio": min(ratios),
            "largest_ratio": max(ratios),
        },
    )


def posterior(dtype: str) -> td.Target:
    """Return the posterior of a linear regression, with correlated columns, noise of variance 1 and a wide prior."""
    random = np.random.default_rng(0)
    columns = random.normal(size=(_ROWS, _COLUMNS)) + 0.5 * random.normal(size=(_ROWS, 1))
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    data = columns @ random.normal(size=_COLUMNS) + random.normal(size=_ROWS)
    X, y = jnp.asarray(columns, dtype), jnp.asarray(data, dtype)
    return td.from_log_density(lambda w: -jnp.sum((y - X @ w) ** 2) / 2 - jnp.sum(w**2) / 200)


class Together:
    """Run one dynamics, an ensemble or not, under the driver, and from the same start each time."""

    def __init__(self, dynamics: td.Dynamics, state: td.State, env: Any) -> None:
        """Hold it; the first run compiles."""
        self.dynamics, self.state, self.env = dynamics, state, env

    def warm(self, steps: int) -> None:
        """Take so many steps, and start from there from now on."""
        out = td.run(self.dynamics, self.state, self.env, steps=steps)
        self.state, self.env = out.state, out.env

    def run(self, steps: int) -> Lap:
        """Take so many steps; where lists had to grow, and code was compiled for it, once more with those."""
        for _ in range(_ATTEMPTS):
            compiled, began = SO_FAR.count, time.perf_counter()
            out = td.run(self.dynamics, self.state, self.env, steps=steps)
            seconds = time.perf_counter() - began
            if SO_FAR.count == compiled and not out.allocations:
                return Lap(seconds, steps, out.rebuilds)
            if out.allocations:
                self.env = out.env
        raise RuntimeError(f"{_ATTEMPTS} runs in a row had to compile")


class Mapped:
    """Run `jax.vmap` of a trajectory of one system, from the same start each time."""

    def __init__(self, dynamics: td.Dynamics, state: td.State, lists: Any, steps: int) -> None:
        """Compile it; `lists` is a batch, or `None`."""

        def whole(state: td.State, lists: Any) -> td.State:
            return td.trajectory(dynamics, state, lists, steps=steps).state

        self.start = state, lists
        self.go = jax.jit(jax.vmap(whole)).lower(*self.start).compile()

    def run(self, steps: int) -> Lap:
        """Take the steps."""
        began = time.perf_counter()
        state = jax.block_until_ready(self.go(*self.start))
        seconds = time.perf_counter() - began
        if jnp.any(state.status):
            raise RuntimeError(f"a system is in trouble: {td.Status(int(jnp.max(state.status)))}")
        return Lap(seconds, steps)


@dataclasses.dataclass(frozen=True)
class Many:
    """Hold systems of equal size, and whether each has a list of its own.

    Attributes:
        name: what they are called in the table.
        system: all of them, one after another.
        size: atoms of each.
        cutoff: of the potential.
        lists: whether there are lists.
    """

    name: str
    system: systems.System
    size: int
    cutoff: float
    lists: bool


def ensemble(work: Work) -> list[Result]:
    """Measure ensembles of clusters and of boxes of liquid; the ratio is one of speeds, to the mapped trajectory."""
    programs.set_precision(work.dtype)
    clusters = systems.clusters(work.atoms)
    boxed = dataclasses.replace(clusters, box=systems.CLUSTER_DISTANCE)  # one box for each
    liquids = systems.liquids(len(clusters.position) // systems.CLUSTER)
    return [
        _compared(work, Many("clusters, all pairs", clusters, systems.CLUSTER, systems.CUTOFF, False)),
        _compared(work, Many("clusters, lists", boxed, systems.CLUSTER, systems.CUTOFF, True)),
        _compared(work, Many("liquid, lists", liquids, systems.LIQUID, systems.LIQUID_CUTOFF, True)),
    ]


def _compared(work: Work, found: Many) -> Result:
    position, velocity = (
        jnp.asarray(x, work.dtype).reshape(-1, found.size, 3) for x in (found.system.position, found.system.velocity)
    )
    box = found.system.box
    space = tp.free() if np.isinf(box) else tp.periodic(jnp.asarray(box, work.dtype))
    pair = programs.potential(work.truncation, cutoff=found.cutoff)
    dynamics = td.nve(tp.pair_energy(pair, space), dt=systems.DT, space=space)
    many = td.ensemble(dynamics, len(position))
    lists = tp.neighbor_list(space, found.cutoff, skin=work.skin).allocate_members(position) if found.lists else None
    env = None if lists is None else td.per_member(lists)
    state = many.init(jax.random.key(0), td.per_member(position), env, momentum=td.per_member(velocity))
    together = Together(many, state, env)
    together.warm(work.warm)
    together.run(work.steps)  # lists grow, code is compiled
    lists = None if lists is None else together.env.values
    mapped = Mapped(dynamics, together.state, lists, work.steps)
    mapped.run(work.steps)
    pairs = [(together.run(work.steps), mapped.run(work.steps)) for _ in range(work.rounds)]
    laps, others = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    ratios = [other.seconds / lap.seconds for lap, other in pairs]
    atoms = position.shape[0] * position.shape[1]
    return Result(
        case=work.case,
        atoms=atoms,
        steps=work.steps,
        dtype=work.dtype,
        matom_steps_per_s=atoms / per_step(laps) / 1e6,
        ms_per_step=per_step(laps) * 1e3,
        rebuilds=laps[-1].rebuilds,
        peak_memory_mib=peak_memory(),
        details={
            "system": found.name,
            "members": len(position),
            "mapped_matom_steps_per_s": atoms / per_step(others) / 1e6,
            "ratio_to_mapped": statistics.median(ratios),
            "least_ratio": min(ratios),
            "largest_ratio": max(ratios),
        },
    )
