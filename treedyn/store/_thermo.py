"""Thermodynamic quantities of a run: a function that records them, and a table of them for the terminal."""

import dataclasses
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TextIO

import jax
import numpy as np
from jaxtyping import Int

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
    """A function for `run(..., record=...)` that returns energies and temperature by name, see `thermo`.

    Attributes:
        dt: the time step; `None` leaves out the time.
        more: further columns by name, functions of `state` or `(state, env)`.
    """

    dt: float | None = None
    more: tuple[tuple[str, Callable[..., Any]], ...] = ()

    def __call__(self, state: State, env: PyTree = None) -> dict[str, jax.Array]:
        """Return the numbers by name, without those that the state does not have."""
        out = {}
        if self.dt is not None:
            out["time"] = state.step.astype(tree.dtype(state.moving)) * self.dt
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
    """Return a function for `record=` that returns potential, kinetic and total energy and the temperature.

    Args:
        dt: the time step, for a column `time`.
        pressure: a function of `state` or `(state, env)`, for a column `pressure`.
        conserved: a function of `state` or `(state, env)`, such as `dynamics.conserved`, for a column `conserved`.

    Returns:
        A function of `state` or `(state, env)`. The temperature is kT, in units of energy.

    Example:
        >>> import jax, jax.numpy as jnp, treedyn as td
        >>> from treedyn import store
        >>> dynamics = td.nve(lambda x: jnp.sum(x**2) / 2, dt=0.1)
        >>> state = dynamics.init(jax.random.key(0), jnp.ones(3), momentum=jnp.zeros(3))
        >>> out = td.run(dynamics, state, steps=20, every=10, record=store.thermo(dt=0.1, conserved=dynamics.conserved))
        >>> sorted(out.records)
        ['conserved', 'kinetic', 'potential', 'temperature', 'time', 'total']
    """
    more = {name: f for name, f in (("pressure", pressure), ("conserved", conserved)) if f is not None}
    for name, f in more.items():
        observing(name, f)
    return Thermo(dt=None if dt is None else check.number("dt", dt, positive=True), more=tuple(more.items()))


class ThermoTable(Writer):
    """A writer that prints numbers in aligned columns, with a header from time to time.

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
        """Begin a table.

        Args:
            stream: where to print; by default the standard output at the time of printing.
            speed: add a column of steps per second.
            header_every: rows between two headers.
            clock: returns the time in seconds.
        """
        if stream is not None and not callable(getattr(stream, "write", None)):
            raise ValueError(f"stream: expected a stream of text, got {stream!r}. Pass one like sys.stdout.")
        self._stream, self._speed = stream, check.flag("speed", speed)
        self._header_every = check.integer("header_every", header_every, 1)
        self._clock = check.function("clock", clock, "nothing, that returns seconds", 0)
        self._names: list[str] = []
        self._rows = 0
        self._then, self._from = clock(), None
        self.last = None

    def write(self, steps: Int[np.ndarray, " frames"], frames: PyTree) -> None:
        """Print a row for every frame."""
        steps = check_steps(steps, frames, self.last)
        if not steps.size:
            return
        columns = columns_of(steps, frames)
        if self._speed:
            columns["steps/s"] = np.full(steps.shape, self._pace(int(steps[-1])))
        lines = []
        for row in zip(*columns.values(), strict=True):
            if list(columns) != self._names or self._rows % self._header_every == 0:
                head = "".join(f"{name:>{_width(name)}}" for name in columns)
                lines += [*([""] if self._rows else []), head, "─" * len(head)]
                self._names, self._rows = list(columns), 0
            lines.append("".join(_cell(name, x) for name, x in zip(columns, row, strict=True)))
            self._rows += 1
        self._print(lines)
        self.last = int(steps[-1])

    def rewind(self, step: int) -> None:
        """Print that the run resumes at `step`. Rows that were printed stay."""
        if self.last is not None and self.last > step:
            self._print([f"── back to step {step} ──"])
        self.last = self._from = step
        self._then = self._clock()

    def flush(self) -> None:
        """Flush the stream."""
        self._target().flush()

    def close(self) -> None:
        """Flush the stream, which stays open."""
        self.flush()

    def _target(self) -> TextIO:
        return sys.stdout if self._stream is None else self._stream

    def _print(self, lines: list[str]) -> None:
        stream, tqdm = self._target(), sys.modules.get("tqdm")
        # progress bars are hidden while rows are printed
        with nullcontext() if tqdm is None else tqdm.tqdm.external_write_mode(file=stream):
            stream.write("\n".join(lines) + "\n")
            stream.flush()

    def _pace(self, step: int) -> float:
        """Return the steps per second since the last call, NaN at the first call."""
        now = self._clock()
        steps, seconds = None if self._from is None else step - self._from, now - self._then
        self._from, self._then = step, now
        return math.nan if steps is None or seconds <= 0 else steps / seconds


def _width(name: str) -> int:
    return 10 if name == "step" else max(15, len(name) + 2)


def _cell(name: str, x: Any) -> str:
    """Format a number so that the decimal points of a column are aligned."""
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
