"""JAX MD with lists of pairs, each pair once, the fastest of its formats on a CPU; batches under `vmap`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import systems
from benchmarks.measure import Lap
from benchmarks.peers import NotOffered, Program
from benchmarks.systems import System
from benchmarks.work import Work

_SKINS = (0.3, 0.5)
_FIRE_STEP = 0.03  # with 0.05, and with its default of 0.1, the crystal explodes


def environment(work: Work, folder: Path) -> dict[str, str]:
    """Return the variables to start with: its warnings are about its own code."""
    return {"PYTHONWARNINGS": "ignore"}


def build(work: Work, system: System) -> Program:
    """Return the program for a case."""
    import jax

    if work.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    if work.case in ("lj", "lj-langevin"):
        # a short round each; the skin that wins is built anew
        seconds = {skin: Melt(work, system, skin).run(work.steps).seconds for skin in _SKINS}
        return Melt(work, system, min(seconds, key=lambda skin: seconds[skin]))
    if work.case == "batch":
        return Batch(work, system)
    if work.case == "fire":
        return Relaxation(work, system)
    raise NotOffered(f"no comparison of {work.case}")


def _cut(r: Any, **parameters: Any) -> Any:
    """Return the energy of one pair; its own truncation is a smooth one, which nobody else has."""
    import jax.numpy as jnp
    from jax_md import energy

    return jnp.where(r < systems.CUTOFF, energy.lennard_jones(r, **parameters), 0)


class _Box:
    """Hold the energy over lists in a periodic box."""

    def __init__(self, work: Work, system: System, skin: float) -> None:
        import jax.numpy as jnp
        from jax_md import partition, smap, space

        displacement, self.shift = space.periodic(float(system.box))
        self.lists = partition.neighbor_list(
            displacement, float(system.box), systems.CUTOFF, skin, format=partition.OrderedSparse
        )
        metric = space.canonicalize_displacement_or_metric(displacement)
        self.potential = smap.pair_neighbor_list(_cut, metric, sigma=1.0, epsilon=1.0)
        self.position = jnp.asarray(system.position, work.dtype)
        self.neighbor = self.lists.allocate(self.position)
        self.energy = float(self.potential(self.position, neighbor=self.neighbor)) / len(self.position)


class Melt:
    """Run a melt."""

    def __init__(self, work: Work, system: System, skin: float) -> None:
        """Set it up, and warm it up."""
        import jax
        import jax.numpy as jnp
        from jax_md import simulate

        self._box = box = _Box(work, system, skin)
        self.energy, self.precision, self.setting = box.energy, work.dtype, f"skin {skin}"
        if work.case == "lj-langevin":
            method = simulate.nvt_langevin(box.potential, box.shift, systems.DT, systems.BATH, systems.FRICTION)
        else:
            method = simulate.nve(box.potential, box.shift, systems.DT)
        begin, step = method
        state = begin(jax.random.PRNGKey(0), box.position, kT=systems.BATH, neighbor=box.neighbor)
        self._state = state.set(momentum=jnp.asarray(system.velocity, work.dtype))
        self._neighbor = box.neighbor

        def one(_: Any, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            state, neighbor = carry
            neighbor = neighbor.update(state.position)
            return step(state, neighbor=neighbor), neighbor

        self._go = jax.jit(lambda carry, steps: jax.lax.fori_loop(0, steps, one, carry))
        self._warm(work.warm)

    def run(self, steps: int) -> Lap:
        """Take so many more steps."""
        began = time.perf_counter()
        state, neighbor = self._go((self._state, self._neighbor), steps)
        overflow = bool(neighbor.did_buffer_overflow)
        seconds = time.perf_counter() - began
        if overflow:
            raise RuntimeError("a list ran out of room in a timed round")
        self._state, self._neighbor = state, neighbor
        return Lap(seconds, steps)

    def _warm(self, steps: int) -> None:
        """Melt, with larger lists from the start wherever one runs out of room, as its documentation does it."""
        extra = 0
        while True:
            state, neighbor = self._go((self._state, self._neighbor), steps)
            if not neighbor.did_buffer_overflow:
                break
            extra += 16
            self._neighbor = self._box.lists.allocate(self._state.position, extra_capacity=extra)
        # the lists of a melt need other sizes than those of a crystal; these leave a quarter of room
        self._state, self._neighbor = state, self._box.lists.allocate(state.position)
        self._go((self._state, self._neighbor), 1)


class Batch:
    """Run clusters in open space, all pairs, under `vmap`."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, and warm it up."""
        import jax
        import jax.numpy as jnp
        from jax_md import simulate, smap, space

        displacement, shift = space.free()
        energy = smap.pair(_cut, space.canonicalize_displacement_or_metric(displacement), sigma=1.0, epsilon=1.0)
        begin, step = simulate.nve(energy, shift, systems.DT)
        position, velocity = (
            jnp.asarray(x, work.dtype).reshape(-1, systems.CLUSTER, 3) for x in (system.position, system.velocity)
        )
        keys = jax.random.split(jax.random.PRNGKey(0), len(position))
        state = jax.vmap(lambda key, x: begin(key, x, kT=systems.CLUSTER_TEMPERATURE))(keys, position)
        self._state = state.set(momentum=velocity)
        many = jax.vmap(step)
        self._go = jax.jit(lambda state, steps: jax.lax.fori_loop(0, steps, lambda _, s: many(s), state))
        self.energy = float(jnp.mean(jax.vmap(energy)(position))) / systems.CLUSTER
        self.precision, self.setting = work.dtype, "all pairs, vmap"
        self.run(work.steps)

    def run(self, steps: int) -> Lap:
        """Take so many more steps, all clusters at once."""
        import jax

        began = time.perf_counter()
        self._state = jax.block_until_ready(self._go(self._state, steps))
        return Lap(time.perf_counter() - began, steps)


class Relaxation:
    """Relax a crystal from the same start again and again."""

    def __init__(self, work: Work, system: System) -> None:
        """Set it up, and relax once."""
        import jax
        import jax.numpy as jnp
        from jax_md import minimize

        box = _Box(work, system, _SKINS[0])
        self.energy, self.precision, self.setting = box.energy, work.dtype, f"dt {_FIRE_STEP}, skin {_SKINS[0]}"
        begin, step = minimize.fire_descent(box.potential, box.shift, dt_start=_FIRE_STEP, dt_max=10 * _FIRE_STEP)

        def on(carry: tuple[Any, Any, Any]) -> Any:
            state, _, taken = carry
            return (jnp.max(jnp.sum(state.force**2, axis=1)) >= systems.FORCE**2) & (taken < 10_000)

        def one(carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            state, neighbor, taken = carry
            neighbor = neighbor.update(state.position)
            return step(state, neighbor=neighbor), neighbor, taken + 1

        go = jax.jit(lambda carry: jax.lax.while_loop(on, one, carry))
        self._potential = jax.jit(box.potential)
        neighbor = box.neighbor
        for extra in range(0, 64, 4):  # until the lists have room on the whole way
            start = (begin(box.position, neighbor=neighbor), neighbor, 0)
            if not go(start)[1].did_buffer_overflow:
                break
            neighbor = box.lists.allocate(box.position, extra_capacity=extra)
        self._relax: Callable[[], Any] = lambda: jax.block_until_ready(go(start))
        self.run(work.steps)

    def run(self, steps: int) -> Lap:
        """Relax from the start, however many steps that takes."""
        began = time.perf_counter()
        state, neighbor, taken = self._relax()
        seconds = time.perf_counter() - began
        if neighbor.did_buffer_overflow:
            raise RuntimeError("a list ran out of room")
        energy = float(self._potential(state.position, neighbor=neighbor)) / len(state.position)
        return Lap(seconds, int(taken), energy=energy)
