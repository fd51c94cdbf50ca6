"""What ties a run to its folder: when to write, what to write, and how to go on."""

import sys
import time
from typing import Any

import jax
import numpy as np

from treedyn.driver.checkpoint import Folder, Moment, describe
from treedyn.driver.stop import Stop

_SECONDS = 60.0  # between two checkpoints, where nobody said otherwise


class Keeper:
    """Write checkpoints of a host, and fill it from one."""

    def __init__(self, host: Any, folder: Folder, every: int | None, stop: Stop) -> None:
        self.host, self.folder, self.every, self.stop = host, folder, every, stop
        self.written: int | None = None
        self.stacked, self.time = 0, time.perf_counter()
        self.about = {
            "start": describe(host.state),
            "dynamics": describe(host.dynamics),
            "reduce": describe(host.reduce),
            "every": None if host.memory is None and host.reduce is None else host.every,
            "records": host.memory is not None,
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
        if note["counts"][0] > steps:
            raise ValueError(
                f"steps: {self.folder.path} holds this run after {note['counts'][0]} steps, more than {steps}; "
                "ask for as many or more, or use another folder"
            )
        host.state, host.env, host.ahead, host.sums = moment.state, moment.env, moment.ahead, moment.sums
        host.taken, host.rebuilds, host.allocations, host.finished, host.untuned = note["counts"]
        if host.memory is not None:
            host.chunks = self.folder.records(host.memory.shapes)
        self.written, self.stacked = host.taken, len(host.chunks)
        if host.taken >= steps or host.finished:
            return host.outputs.names  # it is over and writes nothing: what is there may be of another run by now
        host.outputs.resume(host.origin, host.origin + host.taken, note["outputs"])
        return note["outputs"]

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
        counts = [host.taken, host.rebuilds, host.allocations, host.finished, host.untuned]
        chunks = host.chunks[self.stacked :]
        fresh = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks) if chunks else None
        host.flush()  # no checkpoint may be ahead of what is written
        note = {"about": self.about, "counts": counts, "outputs": host.outputs.names}
        with host.saving("the checkpoint"):
            self.folder.write(moment, note, fresh, host.taken)
        self.written, self.stacked, self.time = host.taken, len(host.chunks), time.perf_counter()


__all__ = ["Keeper"]
