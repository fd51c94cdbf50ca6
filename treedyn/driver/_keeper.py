"""What ties a run to its folder: when to write, what to write, and how to go on."""

import time
import warnings
from typing import Any

import jax
import numpy as np

from treedyn.driver._fingerprint import computations, inputs
from treedyn.driver._host import Host
from treedyn.driver._stop import Stop
from treedyn.store._checkpoint import Folder

_COUNTS = ("taken", "rebuilds", "allocations", "untuned")  # of the host, kept beside its trees
_SECONDS = 60.0  # between two checkpoints, where nobody said otherwise


class Keeper:
    """Write checkpoints of a host, and fill it from one."""

    def __init__(self, host: Host, folder: Folder, every: int | None, stop: Stop) -> None:
        self.host, self.folder, self.every, self.stop = host, folder, every, stop
        self.written: int | None = None
        self.stacked, self.time = 0, time.perf_counter()
        self.outputs = dict(zip(host.outputs.names(folder.path), host.outputs.outputs, strict=True))
        self.about, self.computations = inputs(host), computations(host, self.outputs)

    def begin(self, resume: str, steps: int) -> None:
        """Go on from the folder, or begin anew."""
        known = self._resumed(resume, steps)
        if known is None:
            self.host.begin()
            known = set()
        if set(self.outputs) - known:
            # a process that dies before its next checkpoint leaves frames, and something must tell whose they are
            self.written = None
            self.write()

    def _resumed(self, resume: str, steps: int) -> set[str] | None:
        """Fill the host from the folder; return the names of its outputs, `None` where it is empty."""
        host = self.host
        like = host.moment
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
        host.moment = moment
        for name in _COUNTS:
            setattr(host, name, note["counts"][name])
        if host.memory is not None:
            host.chunks = self.folder.records(host.memory.shapes)
        self.written, self.stacked = host.taken, len(host.chunks)
        self._compare(note)
        if host.taken >= steps or not host.goes_on:
            return set(self.outputs)  # it is over and writes nothing: what is there may be of another run by now
        known = [k for k, name in enumerate(self.outputs) if name in note["outputs"]]
        host.outputs.resume(host.origin, host.origin + host.taken, known)
        return set(note["outputs"])

    def _compare(self, note: dict[str, Any]) -> None:
        """Say what came of other functions than the run goes on with.

        Raises:
            ValueError: an output is to be written at another rate.
        """
        host = self.host
        for name, output in self.outputs.items():
            if (every := note["outputs"].get(name, output.every)) != output.every:
                raise ValueError(
                    f"outputs: the run in {self.folder.path} wrote to {name} every {every} steps, not {output.every}; "
                    "pass the arguments it was started with, or another file"
                )
        then = note["computations"]
        changed = [name for name, now in self.computations.items() if then.get(name, now) != now]
        if changed:
            warnings.warn(
                f"checkpoint: {', '.join(changed)}: not what the run in {self.folder.path} was begun with. What it has "
                f"up to step {host.taken} came of that; what follows comes of what is here. Machines and versions of "
                'JAX may differ in this, too; resume="never" begins anew',
                stacklevel=5,
            )
        if "until" in changed and host.taken:
            now = False if host.until is None else host.dynamics.observe(host.until, host.state, host.env)
            host.finished = np.broadcast_to(np.asarray(now), host.failed.shape).copy()
            host.awake = np.ones_like(host.finished)

    def left(self) -> int:
        """Return the steps until the next checkpoint."""
        return 2**30 if self.every is None else self.every - self.host.taken % self.every

    def after_chunk(self) -> None:
        """Write where it is time for it, and stop where someone asked for it."""
        taken = self.host.taken
        due = time.perf_counter() - self.time > _SECONDS if self.every is None else taken % self.every == 0
        if due or self.stop.asked is not None:
            self.write()
        self._stop()

    def end(self) -> None:
        """Write the last checkpoint, and stop where someone asked for it."""
        self.write()
        self._stop()

    def _stop(self) -> None:
        if self.stop.asked is not None:
            step, path = self.host.taken, self.folder.path
            self.stop.obey(f"run stopped after step {step}; its checkpoint is in {path}: the same call goes on")

    def write(self) -> None:
        """Write a checkpoint, unless this very one is there."""
        host = self.host
        if host.taken == self.written:
            return
        moment = host.moment
        counts = {name: getattr(host, name) for name in _COUNTS}
        chunks = host.chunks[self.stacked :]
        fresh = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks) if chunks else None
        host.flush()  # no checkpoint may be ahead of what is written
        outputs = {name: output.every for name, output in self.outputs.items()}
        note = {"about": self.about, "computations": self.computations, "counts": counts, "outputs": outputs}
        with host.saving("the checkpoint"):
            self.folder.write(moment, note, fresh, host.taken)
        self.written, self.stacked, self.time = host.taken, len(host.chunks), time.perf_counter()


__all__ = ["Keeper"]
