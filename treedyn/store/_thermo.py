"""The numbers that one looks at while a simulation runs: what to record, and a table of them for the terminal."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

import jax
import numpy as np

from treedyn import _check as check
from treedyn import tree
from treedyn._state import State
from treedyn._target import call, observing
from treedyn.diagnostics._kinetic import kinetic_energy, temperature
from treedyn.store._lines import columns_of
from treedyn.store._writer import Writer, check_steps
from treedyn.tree import PyTree


@dataclasses.dataclass(frozen=True)
class Thermo:
    """Record energies and temperature: a function for `run(..., record=...)`.

    Attributes:
        dt: length of a step; `None` where time is not to be recorded.
        more: further columns by name, functions of `state` or `(state, env)`.
    """

    dt: float | None = None
    more: tuple[tuple[str, Callable[..., Any]], ...] = ()

    def __call__(self, state: State, env: PyTree = None) -> dict[str, jax.Array]:
        """Return the numbers by name; those that the state does not have are left out."""
        out = {}
        if self.dt is not None:
            kind = tree.dtype(state.moving)
            out["time"] = state.step.astype(kind) * self.dt
        if state.energy is not None:
            out["potential"] = state.energy
        if state.momentum is not None:
            out["kinetic"] = kinetic_energy(state)
            out["temperature"] = temperature(state)
            if state.energy is not None:
                kind = tree.widest(state.energy.dtype, out["kinetic"].dtype)
                out["total"] = state.energy.astype(kind) + out["kinetic"].astype(kind)
        for name, f in self.more:
            out[name] = call(f, state, env)
        return out


def thermo(
    *,
    dt: float | None = None,
    pressure: Callable[..., Any] | None = None,
    conserved: Callable[..., Any] | None = None,
) -> Thermo:
    """Say what to record for a table: potential, kinetic and total energy, temperature, and what is given here.

    Args:
        dt: length of a step, for the column `time`.
        pressure: function of `state` or `(state, env)`.
        conserved: function of `state` or `(state, env)`; `dynamics.conserved` is one.

    Returns:
        A function of `state` or `(state, env)` for `record=`. The temperature is kT, in units of energy.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import store
        >>> dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
        >>> state = dynamics.init(jax.random.key(0), jnp.ones(3), momentum=jnp.zeros(3))
        >>> out = td.run(dynamics, state, steps=20, every=10, record=store.thermo(dt=0.1, conserved=dynamics.conserved))
        >>> sorted(out.records)
        ['conserved', 'kinetic', 'potential', 'temperature', 'time', 'total']
    """
    more = {"pressure": pressure, "conserved": conserved}
    for name, f in more.items():
        if f is not None:
            observing(name, f)
    dt = None if dt is None else check.number("dt", dt, positive=True)
    return Thermo(dt=dt, more=tuple((name, f) for name, f in more.items() if f is not None))


class ThermoTable(Writer):
    """Print numbers as a table, in aligned columns with a header now and then.

    Example:
        >>> import sys, numpy as np
        >>> from treedyn import store
        >>> table = store.ThermoTable(sys.stdout, speed=False)
        >>> table.write(np.array([0, 500]), {"kinetic": np.array([1.5, 2.25]), "potential": np.array([-3.0, -3.75])})
              step      potential        kinetic
        ────────────────────────────────────────
                 0        -3.0000         1.5000
               500        -3.7500         2.2500
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        speed: bool = True,
        header_every: int = 20,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """Open a table.

        Args:
            stream: where to print; by default the standard output at the time of printing.
            speed: add a column of steps per second.
            header_every: rows between two headers.
            clock: returns the time in seconds.
        """
        if stream is not None and not callable(getattr(stream, "write", None)):
            raise ValueError(f"stream: expected something to write text to, like sys.stdout, got {stream!r}")
        self._stream, self._speed = stream, check.flag("speed", speed)
        self._header_every = check.integer("header_every", header_every, 1)
        self._clock = check.function("clock", clock, "nothing, that returns seconds", 0)
        self._names: list[str] = []
        self._rows = 0
        self._then, self._from = clock(), None
        self.last = None

    def write(self, steps: np.ndarray, frames: PyTree) -> None:
        """Print a row for every frame."""
        steps = check_steps(steps, frames, self.last)
        if not steps.size:
            return
        columns = columns_of(steps, frames)
        if self._speed:
            columns["steps/s"] = np.full(steps.shape, self._pace(int(steps[-1])))
        text = []
        for row in zip(*columns.values(), strict=True):
            if list(columns) != self._names or self._rows % self._header_every == 0:
                text += self._header(list(columns))
            text.append("".join(_cell(name, x) for name, x in zip(columns, row, strict=True)))
            self._rows += 1
        self._print(text)
        self.last = int(steps[-1])

    def rewind(self, step: int) -> None:
        """Say that the run goes on from `step`: what is printed stays."""
        if self.last is not None and self.last > step:
            self._print([f"── back to step {step} ──"])
        self.last = self._from = step
        self._then = self._clock()

    def flush(self) -> None:
        """Show everything."""
        self._target().flush()

    def close(self) -> None:
        """Show everything; the stream stays open."""
        self.flush()

    def _target(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _print(self, lines: list[str]) -> None:
        stream = self._target()
        with _without_bars(stream):
            stream.write("\n".join(lines) + "\n")
            stream.flush()

    def _header(self, names: list[str]) -> list[str]:
        gap = [""] if self._rows else []
        self._names, self._rows = names, 0
        head = "".join(f"{name:>{_width(name)}}" for name in names)
        return [*gap, head, "─" * len(head)]

    def _pace(self, step: int) -> float:
        """Return steps per second since the last call; NaN at the first, which has nothing to compare with."""
        now = self._clock()
        steps, seconds = None if self._from is None else step - self._from, now - self._then
        self._from, self._then = step, now
        return math.nan if steps is None or seconds <= 0 else steps / seconds


def _without_bars(stream: TextIO) -> AbstractContextManager[None]:
    """Take progress bars off the terminal while something else is printed there."""
    tqdm = sys.modules.get("tqdm")
    return nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=stream)


def _width(name: str) -> int:
    return 10 if name == "step" else max(15, len(name) + 2)


def _cell(name: str, x: Any) -> str:
    """Write a number so that decimal points stand below each other, whatever its size."""
    if isinstance(x, np.integer):
        text = str(x)
    elif math.isnan(x):
        text = "–" if name == "steps/s" else "nan"
    elif name == "steps/s":
        text = f"{x:,.0f}" if x >= 10 else f"{x:.2g}"
    elif x == 0 or 1e-3 <= abs(x) < 1e8:
        text = f"{x:.4f}"
    else:
        text = f"{x:.4e}"
    return f"{text:>{_width(name)}}"
