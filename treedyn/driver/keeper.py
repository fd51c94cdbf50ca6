"""What ties a run to its folder: when to write, what to write, and how to go on."""

import sys
import time
import warnings

import jax
import numpy as np

from treedyn import environment
from treedyn.driver.checkpoint import Folder, Moment
from treedyn.driver.fingerprint import computes, describe
from treedyn.driver.host import Host
from treedyn.driver.stop import Stop
from treedyn.target import call

_COUNTS = ("taken", "rebuilds", "allocations", "finished", "untuned")  # of the host, kept beside its trees
_SECONDS = 60.0  # between two checkpoints, where nobody said otherwise


class Keeper:
    """Write checkpoints of a host, and fill it from one."""

    def __init__(self, host: Host, folder: Folder, every: int | None, stop: Stop) -> None:
        self.host, self.folder, self.every, self.stop = host, folder, every, stop
        self.written: int | None = None
        self.stacked, self.time = 0, time.perf_counter()
        state = host.state
        given = state.replace(force=None, energy=None, aux=None)
        # what makes a run another run
        self.about = {
            "start": describe(given),
            "dynamics": describe(host.dynamics),
            "env": describe(environment.plain(host.env)),
            "reduce": describe(host.reduce),
            "every": None if host.memory is None and host.reduce is None else host.every,
            "records": host.memory is not None,
        }
        # what another machine, or a better version of a function, may change: said, and gone on with
        self.computes = {
            "the forces and lists of the start": computes(
                (describe((state.force, state.energy, state.aux)), describe(environment.refreshable(host.env)))
            ),
            "dynamics": computes(host.dynamics),
            "reduce": computes(host.reduce),
            "until": computes(host.until and host.until.function),
            "record": computes(host.memory and host.memory.record.function),
            **{f"the record of {x.writer.name}": computes(x.record) for x in host.outputs.outputs},
        }

    def begin(self, resume: str, steps: int) -> None:
        """Go on from the folder, or begin anew."""
        known = self._resumed(resume, steps)
        if known is None:
            self.host.begin()
            known = []
        if set(self.host.outputs.names) - set(known):
            # a process that dies before its next checkpoint leaves frames, and something must tell whose they are
            self.written = None
            self.write()

    def _resumed(self, resume: str, steps: int) -> list[str] | None:
        """Fill the host from the folder; return the names of its outputs, `None` where it is empty."""
        host = self.host
        like = Moment(state=host.state, env=host.env, ahead=host.ahead, sums=host.sums)
        found = None
        if resume == "never":
            self.folder.forget()
        else:
            found = self.folder.latest(like, self.about)
        if found is None and resume == "must":
            raise ValueError(
                f'resume: "must", but {self.folder.path} holds no checkpoint; check the path, or pass resume="auto"'
            )
        if found is None:
            return None
        moment, note = found
        if note["counts"]["taken"] > steps:
            raise ValueError(
                f"steps: {self.folder.path} holds this run after {note['counts']['taken']} steps, more than {steps}; "
                "ask for as many or more, or use another folder"
            )
        host.state, host.env, host.ahead, host.sums = moment.state, moment.env, moment.ahead, moment.sums
        for name in _COUNTS:
            setattr(host, name, note["counts"][name])
        if host.memory is not None:
            host.chunks = self.folder.records(host.memory.shapes)
        self.written, self.stacked = host.taken, len(host.chunks)
        self._compare(note["computes"])
        if host.taken >= steps or host.finished:
            return host.outputs.names  # it is over and writes nothing: what is there may be of another run by now
        host.outputs.resume(host.origin, host.origin + host.taken, note["outputs"])
        return note["outputs"]

    def _compare(self, then: dict[str, str]) -> None:
        """Say what came of other functions than the run goes on with."""
        host = self.host
        changed = [name for name, now in self.computes.items() if then.get(name, now) != now]
        if changed:
            warnings.warn(
                f"checkpoint: the run in {self.folder.path} was begun with other code or numbers in "
                f"{', '.join(changed)}, or on another machine; it goes on from step {host.taken} with what is here, "
                'and what it has so far came of what was there; resume="never" begins anew',
                stacklevel=5,
            )
        if "until" in changed:
            host.finished = host.until is not None and bool(call(host.until, host.state, host.env))

    def left(self) -> int:
        """Return the steps until the next checkpoint."""
        return 2**30 if self.every is None else self.every - self.host.taken % self.every

    def after_chunk(self) -> None:
        """Write where it is time for it, and stop where someone asked for it."""
        taken = self.host.taken
        due = time.perf_counter() - self.time > _SECONDS if self.every is None else taken % self.every == 0
        if due or self.stop.asked is not None:
            self.write()
        if self.stop.asked is not None:
            said = f"run stopped after step {taken}; its checkpoint is in {self.folder.path}: the same call goes on"
            if self.stop.asked.name == "SIGINT":
                raise KeyboardInterrupt(said)
            print(said, file=sys.stderr)
            raise SystemExit(128 + self.stop.asked)

    def write(self) -> None:
        """Write a checkpoint, unless this very one is there."""
        host = self.host
        if host.taken == self.written:
            return
        moment = Moment(state=host.state, env=host.env, ahead=host.ahead, sums=host.sums)
        counts = {name: getattr(host, name) for name in _COUNTS}
        chunks = host.chunks[self.stacked :]
        fresh = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks) if chunks else None
        host.flush()  # no checkpoint may be ahead of what is written
        note = {"about": self.about, "computes": self.computes, "counts": counts, "outputs": host.outputs.names}
        with host.saving("the checkpoint"):
            self.folder.write(moment, note, fresh, host.taken)
        self.written, self.stacked, self.time = host.taken, len(host.chunks), time.perf_counter()


__all__ = ["Keeper"]
