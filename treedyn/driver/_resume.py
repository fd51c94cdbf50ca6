"""Checkpoints of a run: when to write one, and how to go on from one."""

import hashlib
import time
from importlib.metadata import version
from typing import Any

import jax
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import environment, tree
from treedyn._check import warn
from treedyn.driver._session import Session
from treedyn.driver._stop import Stop
from treedyn.store._checkpoint import Folder
from treedyn.store._codec import plain_array, structs
from treedyn.tree import PyTree

_SECONDS = 60.0  # between two checkpoints, by default


class Checkpoints:
    """Write checkpoints of a run, and resume it from one."""

    def __init__(self, session: Session, folder: Folder, every: int | None, tag: str, stop: Stop) -> None:
        self.session, self.folder, self.every, self.stop = session, folder, every, stop
        self.written: int | None = None
        self.stacked, self.time = 0, time.perf_counter()
        self.outputs = dict(zip(session.outputs.names(folder.path), session.outputs.outputs, strict=True))
        self.about = {**inputs(session), "tag": {"": tag}}
        self.versions = {name: version(name) for name in ("treedyn", "jax")}

    def begin(self, resume: str, steps: int) -> None:
        """Resume from the folder, or begin a new run."""
        known = self._resumed(resume, steps)
        if known is None:
            self.session.begin()
            known = set()
        if set(self.outputs) - known:
            # Should the process die before the next checkpoint, this one tells which frames belong to the run.
            self.written = None
            self.write()

    def _resumed(self, resume: str, steps: int) -> set[str] | None:
        """Load the last checkpoint; return the names of its outputs, `None` if there is no checkpoint."""
        session, path = self.session, self.folder.path
        if resume == "never":
            self.folder.forget()
            return None
        found = self.folder.latest(session.now, self.about)
        if found is None and resume == "must":
            raise ValueError(f'resume: "must", but {path} holds no checkpoint. Check the path, or pass resume="auto".')
        if found is None:
            return None
        now, note = found
        if now.steps > steps:
            raise ValueError(
                f"steps: the run in {path} has already taken {now.steps} steps, more than {steps}. Ask for as many or "
                "more, or use another folder."
            )
        session.now, session.allocations, session.untuned = now, note["allocations"], note["untuned"]
        session.read()
        if session.memory is not None:
            session.chunks = self.folder.records(session.memory.shapes)
        self.written, self.stacked = session.taken, len(session.chunks)
        self._compare(note)
        if session.taken >= steps or not session.goes_on:
            return set(self.outputs)  # the run is over and writes nothing: its files may belong to another run by now
        self.folder.check_writable()
        known = [k for k, name in enumerate(self.outputs) if name in note["outputs"]]
        session.outputs.resume(session.origin, session.origin + session.taken, known)
        return set(note["outputs"])

    def _compare(self, note: dict[str, Any]) -> None:
        """Compare what may change in a resumed run, and what may not.

        Raises:
            ValueError: an output has another rate.
        """
        session, path = self.session, self.folder.path
        for name, output in self.outputs.items():
            if (every := note["outputs"].get(name, output.every)) != output.every:
                raise ValueError(
                    f"outputs: the run in {path} wrote to {name} every {every} steps, not every {output.every}. Pass "
                    "the arguments with which it was started, or another file."
                )
        changed = [f"{name} {then}" for name, then in note["versions"].items() if then != self.versions.get(name)]
        if changed:
            warn(
                f"checkpoint: the run in {path} was written by {', '.join(changed)}; the last bits of its continuation "
                "may differ"
            )
        # A member that finished stands still, so another `until` is asked for the state at which it finished.
        if session.taken and not environment.advancing(session.now.env):
            now = session.now
            holds = False if session.until is None else session.dynamics.observe(session.until, now.state, now.env)
            finished = now.finished & np.asarray(holds)
            if np.any(finished != now.finished):
                session.now = now.replace(finished=finished, awake=np.ones_like(finished))

    def left(self) -> int:
        """Return the number of steps until the next checkpoint."""
        return 2**30 if self.every is None else self.every - self.session.taken % self.every

    def after_chunk(self) -> None:
        """Write a checkpoint if one is due, and stop if a signal came."""
        taken = self.session.taken
        due = time.perf_counter() - self.time > _SECONDS if self.every is None else taken % self.every == 0
        if due or self.stop.asked is not None:
            self.write()
        self._stop()

    def end(self) -> None:
        """Write the last checkpoint, and stop if a signal came."""
        self.write()
        self._stop()

    def _stop(self) -> None:
        if self.stop.asked is not None:
            step, path = self.session.taken, self.folder.path
            self.stop.obey(f"run stopped after step {step}; its checkpoint is in {path}. The same call resumes it.")

    def write(self) -> None:
        """Write a checkpoint, unless this one is already written."""
        session = self.session
        if session.taken == self.written:
            return
        chunks = session.chunks[self.stacked :]
        fresh = jax.tree.map(lambda *parts: np.concatenate(parts), *chunks) if chunks else None
        session.flush()  # no checkpoint may be ahead of the outputs
        note = {
            "about": self.about,
            "versions": self.versions,
            "outputs": {name: output.every for name, output in self.outputs.items()},
            "allocations": session.allocations,
            "untuned": session.untuned,
        }
        with session.saving("the checkpoint"):
            self.folder.write(session.now, note, fresh, session.taken)
        self.written, self.stacked, self.time = session.taken, len(session.chunks), time.perf_counter()


def inputs(session: Session) -> dict[str, dict[str, str]]:
    """Describe the inputs by which a run is known: all its numbers, by their bits, and the shapes of its results."""
    now, memory = session.now, session.memory
    # drawn or computed values differ in the last bits from machine to machine
    given = now.state.replace(momentum=None, force=None, energy=None, aux=None)
    watched = memory is not None or session.reduce is not None
    return {
        "start": describe(given),
        "dynamics": describe(session.dynamics),
        "env": describe(environment.plain(now.env)),
        "every": {"": str(session.every)} if watched else {},
        "record": {} if memory is None else describe(memory.shapes),
        "reduce": describe(session.reduce),
        "sums": describe(jax.eval_shape(lambda: now.sums)),
    }


def describe(value: PyTree) -> dict[str, str]:
    """Return a few words for every leaf and every struct of a tree, by path; functions are not compared."""
    value = tree.unbox(value)
    words = {}
    for path, struct, statics in structs(value):
        words[path] = f"{type(struct).__qualname__}({', '.join(f'{name}={x!r}' for name, x in statics.items())})"
    return words | {keystr(path): _words(leaf) for path, leaf in tree_flatten_with_path(value)[0]}


def _words(leaf: Any) -> str:
    if isinstance(leaf, jax.ShapeDtypeStruct):
        return f"{leaf.dtype}{list(leaf.shape)}"
    if not tree.is_array(leaf) or type(leaf) in (float, complex):
        return repr(leaf) if isinstance(leaf, int | float | complex | str) else type(leaf).__qualname__
    array = plain_array(leaf)
    bits = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{leaf.dtype}{list(array.shape)} {bits}" if array.ndim else f"{array.item()!r} ({leaf.dtype})"
