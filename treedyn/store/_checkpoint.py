"""Checkpoints: a folder from which a run goes on as if it had never stopped.

Every checkpoint is one file, written aside and renamed, so a process may be killed at any moment: what is there is
whole. The last few are kept, and one that was damaged is passed over. Records are written once, in pieces of their own.
A run is told by where it started, its dynamics, its environment and what it records; a folder that holds another one
is refused, never overwritten.
"""

import os
import re
import secrets
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from treedyn._struct import Struct
from treedyn.store._archive import DamagedFile, note_of, read, save, verify
from treedyn.tree import PyTree

RESUME = ("auto", "never", "must")
# Other files may be in the folder, and are none of ours.
_STEP, _RECORDS = re.compile(r"step-\d{12}\.npz"), re.compile(r"records-\d{12}-[0-9a-f]{8}\.npz")
_PART = re.compile(r"\.(step|records)-\d{12}(-[0-9a-f]{8})?\.npz\.\d+\.part")


class Moment(Struct):
    """Hold all that a run has to remember to go on.

    Attributes:
        state: the state.
        env: the environment.
        ahead: the position that the environment was made for, boxed, and its time.
        sums: the carry of the reducers.
        failed: the status word of a step that cannot be taken; of every member of an ensemble.
        finished: whether `until` held; of every member.
        awake: which members are stepped.
    """

    state: PyTree
    env: PyTree
    ahead: PyTree
    sums: PyTree
    failed: PyTree
    finished: PyTree
    awake: PyTree


class Folder:
    """Hold the checkpoints of one run, and keep other processes out."""

    def __init__(self, path: str | os.PathLike[str], keep: int) -> None:
        """Open the folder, and make it where it is missing.

        Raises:
            ValueError: `path` is no folder, or another process is using it.
            PermissionError: it cannot be written to.
        """
        self.path, self.keep = Path(path).absolute(), keep
        self.pieces: list[str] = []
        # A piece never takes the name of one that is there: a checkpoint of another process may count on that.
        self.process = secrets.token_hex(4)
        self.strangers: list[Path] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ValueError(f"checkpoint: expected a folder, but {self.path} is a file") from error
        self.lock = _lock(self.path / "lock")
        for leftover in self._named(_PART):
            leftover.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self.lock)

    def files(self) -> list[Path]:
        """Return the checkpoints, the last one first."""
        return sorted(self._named(_STEP), reverse=True)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        return [file for file in self.path.iterdir() if pattern.fullmatch(file.name) and file.is_file()]

    def forget(self) -> None:
        """Start anew: what is in the folder goes as soon as there is something to replace it."""
        self.strangers = self.files()

    def latest(self, like: Moment, about: dict[str, Any]) -> tuple[Moment, dict[str, Any]] | None:
        """Return the last checkpoint that is whole, and its note; `None` where there is none at all.

        Args:
            like: a moment of the same run.
            about: what the run is, in words.

        Raises:
            ValueError: the folder holds another run.
            DamagedFile: there are checkpoints, but none of them is whole.
        """
        damage: DamagedFile | None = None
        for file in self.files():
            try:
                note = note_of(file)
                if not isinstance(note, dict) or "about" not in note:
                    raise DamagedFile(f"{file} is no checkpoint")
                _check_same(self.path, note["about"], about)
                moment = read(file, like, ".env")
                self._check_pieces(note)
            except DamagedFile as error:
                warnings.warn(f"{error}; the checkpoint before it is used", stacklevel=5)
                damage = error
                continue
            self.pieces = [name for name, _ in note["pieces"]]
            return moment, note
        if damage is not None:
            raise DamagedFile(f"checkpoint: none of the checkpoints in {self.path} is whole: {damage}") from damage
        return None

    def _check_pieces(self, note: dict[str, Any]) -> None:
        for name, size in note["pieces"]:
            file = self.path / name
            if not file.exists() or file.stat().st_size != size:
                raise DamagedFile(f"{file}: records that belong to the checkpoint are missing or were cut off")
            verify(file)

    def records(self, shapes: PyTree) -> list[PyTree]:
        """Return the recorded pieces; `shapes` are those of one record."""

        def piece(name: str) -> PyTree:
            count = note_of(self.path / name)
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), shapes)
            return read(self.path / name, like, None)

        return [piece(name) for name in self.pieces]

    def write(self, moment: Moment, note: dict[str, Any], fresh: PyTree, step: int) -> None:
        """Write a checkpoint.

        Args:
            moment: what to remember.
            note: counts, and what the run is.
            fresh: what was recorded since the last checkpoint, stacked; `None` where nothing was.
            step: how many steps the run has taken.
        """
        here, pieces = self.path / f"step-{step:012d}.npz", list(self.pieces)
        if fresh is not None and (count := len(jax.tree.leaves(fresh)[0])):
            pieces.append(f"records-{step:012d}-{self.process}.npz")
            save(self.path / pieces[-1], fresh, note=count)
        sized = [(name, (self.path / name).stat().st_size) for name in pieces]
        save(here, moment, note={**note, "pieces": sized})
        old = [file for file in self.files() if file <= here][self.keep :]
        # checkpoints before this one have a part of its pieces, so all others belong to none
        left = [file for file in self._named(_RECORDS) if file.name not in pieces]
        for file in [*(x for x in self.strangers if x != here), *old, *left]:
            file.unlink(missing_ok=True)
        # later ones were passed over, because they are damaged: they must not take the places of good ones
        for file in self.files():
            if file > here:
                file.replace(file.with_name(f"{file.name}.damaged"))
        self.pieces, self.strangers = pieces, []


def _check_same(path: Path, found: dict[str, dict[str, str]], wanted: dict[str, dict[str, str]]) -> None:
    for part, now in wanted.items():
        then = found.get(part, {})
        for name in sorted({*then, *now}):
            if then.get(name) != now.get(name):
                raise ValueError(
                    f"checkpoint: the run in {path} is another one: {part}{name} is {then.get(name, 'nothing')} there "
                    f"and {now.get(name, 'nothing')} here; pass the arguments it was started with, another folder, or "
                    'resume="never" to replace it'
                )


def _lock(path: Path) -> int:
    """Take the lock that the system gives back when a process ends, however it ends."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except PermissionError as error:
        raise PermissionError(
            f"checkpoint: {path.parent} cannot be written to, and a run keeps a lock there; use a copy of the folder"
        ) from error
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    except OSError as error:
        os.close(handle)
        raise ValueError(
            f"checkpoint: another process is using {path.parent}; give every run a folder of its own"
        ) from error
    return handle


__all__ = ["RESUME", "Folder", "Moment"]
