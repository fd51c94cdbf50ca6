"""Let programs do the same work in turn, and compare: medians of ratios, after the energies were found to agree."""

import dataclasses
import statistics
import sys

from benchmarks import peers
from benchmarks.measure import Lap, per_step
from benchmarks.result import Result, show, table
from benchmarks.work import Work
from benchmarks.worker import PeerError, Worker

_TOLERANCE = 1e-4  # of energies per atom


@dataclasses.dataclass
class Entry:
    """Hold one program of the comparison.

    Attributes:
        peer: which one.
        worker: its process; `None` where there is none, or no longer.
        status: `ok`, or why there are no figures.
        laps: its rounds.
        memory: peak memory of its process, in MiB.
    """

    peer: str
    worker: Worker | None = None
    status: str = "ok"
    laps: list[Lap] = dataclasses.field(default_factory=list)
    memory: float | None = None

    @property
    def name(self) -> str:
        """Return the name of the program."""
        return peers.PEERS[self.peer]

    def energy(self, when: str) -> float | None:
        """Return the energy per atom at the start, or at the end of the last relaxation."""
        if self.worker is None or when == "end":
            return self.laps[-1].energy if self.laps else None
        return self.worker.energy


def main(work: Work, only: list[str] | None, as_json: bool) -> int:
    """Compare, print, and return 1 if energies disagreed or this library failed."""
    if work.truncation != "cut":
        raise SystemExit("compare: the programs agree on --truncation cut only")
    if unknown := set(only or ()) - set(peers.PEERS):
        raise SystemExit(f"compare: no program {', '.join(sorted(unknown))}; there are {', '.join(peers.PEERS)}")
    entries = [_start(peer, work) for peer in peers.PEERS if only is None or peer in only]
    try:
        wrong = _disagreement(entries)
        if not wrong:
            _race(entries, work)
            wrong = _disagreement(entries)
    finally:
        for entry in entries:
            if entry.worker is not None:
                entry.worker.close()
    if wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 1
    if as_json:
        print("\n".join(result.json() for result in _results(entries, work)))
    else:
        print(_text(entries, work))
    return 0 if all(entry.status == "ok" for entry in entries if entry.peer == "treedyn") else 1


def _start(peer: str, work: Work) -> Entry:
    if not peers.installed(peer):
        return Entry(peer, status="not installed")
    try:
        return Entry(peer, Worker(peer, work))
    except PeerError as error:
        return Entry(peer, status=str(error))


def _disagreement(entries: list[Entry]) -> str | None:
    """Return which two programs disagree on the energy that they start from, or relax to."""
    for when in ("start", "end"):
        known = [(entry.name, energy) for entry in entries if (energy := entry.energy(when)) is not None]
        for name, energy in known[1:]:
            if not abs(energy - known[0][1]) <= _TOLERANCE:
                one, other = (f"{name} {energy:.6f}" for name, energy in (known[0], (name, energy)))
                return f"energies per atom at the {when} disagree: {one}, {other}"
    return None


def _race(entries: list[Entry], work: Work) -> None:
    for _ in range(work.rounds):
        for entry in entries:
            if entry.worker is not None and entry.status == "ok":
                try:
                    entry.laps.append(entry.worker.run(work.steps))
                except PeerError as error:
                    entry.status = str(error)
    for entry in entries:
        if entry.worker is not None and entry.status == "ok":
            entry.memory = entry.worker.memory()


def _ratio(entry: Entry, entries: list[Entry], work: Work) -> float | None:
    """Return how many times as fast this library is, as a median over rounds."""
    ours = next((other.laps for other in entries if other.peer == "treedyn"), [])
    if not ours or entry.peer == "treedyn":
        return None
    whole = work.case == "fire"  # programs need different numbers of steps: what counts is the whole relaxation
    pairs = zip(entry.laps, ours, strict=False)
    ratios = [
        (theirs.seconds / (1 if whole else theirs.steps)) / (mine.seconds / (1 if whole else mine.steps))
        for theirs, mine in pairs
    ]
    return statistics.median(ratios) if ratios else None


def _results(entries: list[Entry], work: Work) -> list[Result]:
    return [_result(entry, entries, work) for entry in entries]


def _result(entry: Entry, entries: list[Entry], work: Work) -> Result:
    from benchmarks import systems

    atoms = len(systems.make(work).position)
    details = {"program": entry.name, "rounds": len(entry.laps), "treedyn_is_faster_by": _ratio(entry, entries, work)}
    speed = None
    if entry.laps and (worker := entry.worker) is not None:
        speed = per_step(entry.laps)
        details |= {"precision": worker.precision, "setting": worker.setting}
        details |= {"energy_per_atom": worker.energy, "end_energy_per_atom": entry.laps[-1].energy}
        details["seconds"] = statistics.median(lap.seconds for lap in entry.laps)
    rebuilds = [lap.rebuilds for lap in entry.laps]
    return Result(
        case=work.case,
        atoms=atoms,
        steps=entry.laps[-1].steps if entry.laps else work.steps,
        dtype=work.dtype,
        matom_steps_per_s=None if speed is None else atoms / speed / 1e6,
        ms_per_step=None if speed is None else speed * 1e3,
        rebuilds=None if None in rebuilds or not rebuilds else sum(n for n in rebuilds if n is not None),
        peak_memory_mib=entry.memory,
        status=entry.status,
        details=details,
    )


def _text(entries: list[Entry], work: Work) -> str:
    results = [result.flat() for result in _results(entries, work)]
    middle = ["seconds", "steps"] if work.case == "fire" else ["ms_per_step", "matom_steps_per_s"]
    names = ["program", "precision", "setting", *middle, "treedyn_is_faster_by", "energy_per_atom", "peak_memory_mib"]
    head = ["program", "precision", "setting", *_HEADS[work.case == "fire"], "treedyn / it", "energy/atom", "peak MiB"]
    rows = [[show(result.get(name)) for name in names] for result in results if result["status"] == "ok"]
    missing = [f"{result['program']}: {result['status']}" for result in results if result["status"] != "ok"]
    title = f"{work.case}: {results[0]['atoms']:,} atoms, medians of {work.rounds} rounds"
    title += "" if work.case == "fire" else f" of {work.steps:,} steps"
    return "\n".join([title, "", table(head, rows), *([""] if missing else []), *missing])


_HEADS = {False: ["ms/step", "Matom-steps/s"], True: ["seconds", "evaluations"]}
