"""What a case found, for people and for programs."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

_TITLE = ("case", "dtype", "steps", "status", "atoms")  # in the title of a table, or not in it at all


@dataclasses.dataclass(frozen=True)
class Result:
    """Hold what a case found; `None` is what it does not measure.

    Attributes:
        case: its name.
        atoms: how many atoms there were.
        steps: steps in a round.
        dtype: precision.
        matom_steps_per_s: million atom-steps per second.
        ms_per_step: milliseconds per step.
        rebuilds: how often the list was built, in all rounds.
        energy_drift_per_atom: change of the conserved energy over all rounds, per atom, in units of kT.
        peak_memory_mib: largest resident memory of the process.
        status: `ok`, or what went wrong.
        details: what only this case measures, by name.
    """

    case: str
    atoms: int
    steps: int
    dtype: str
    matom_steps_per_s: float | None = None
    ms_per_step: float | None = None
    rebuilds: int | None = None
    energy_drift_per_atom: float | None = None
    peak_memory_mib: float | None = None
    status: str = "ok"
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """Return everything by name."""
        fields = dataclasses.asdict(self)
        return fields | fields.pop("details")

    def json(self) -> str:
        """Return one line of JSON."""
        return json.dumps({name: _strict(value) for name, value in self.flat().items()})

    def text(self) -> str:
        """Return lines for people."""
        known = {name: show(value) for name, value in self.flat().items() if value is not None}
        width = max(map(len, known))
        return "\n".join(f"{name.ljust(width)}  {value}" for name, value in known.items())


def overview(results: Sequence[Result]) -> str:
    """Return lines for people: of several results a table of what was found of each."""
    if len(results) == 1:
        return results[0].text()
    found = [{name: value for name, value in result.flat().items() if name not in _TITLE} for result in results]
    names = [name for name in [*results[0].details, *found[0]] if any(row[name] is not None for row in found)]
    names = list(dict.fromkeys(names))
    first = results[0]
    title = f"{first.case}: {first.dtype}" + (f", {first.steps:,} steps" if first.steps else "")
    return "\n".join([title, "", table(names, [[show(row[name]) for name in names] for row in found])])


def show(value: Any) -> str:
    """Return a value in as many digits as mean something."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return aligned columns, the first one to the left."""
    widths = [max(len(row[k]) for row in [head, *rows]) for k in range(len(head))]
    lines = [
        "  ".join(cell.rjust(width) if k else cell.ljust(width) for k, (cell, width) in enumerate(pairs))
        for pairs in (list(zip(row, widths, strict=True)) for row in [head, ["-" * width for width in widths], *rows])
    ]
    return "\n".join(line.rstrip() for line in lines)


def _strict(value: Any) -> Any:
    """Return a value that JSON knows: no NaN, five digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value
