"""Checkpoints: a folder from which a run goes on as if it had never stopped.

Every checkpoint is one file. It is written aside and then renamed, so a process may be killed at any moment without
damage. The last few checkpoints are kept, and a damaged one is skipped. Records are written once, in files of their
own, which know their names. A run is identified by its start, dynamics, environment, records and tag. A folder that
holds another run is refused, never overwritten. A folder that cannot be written to can still be read.
"""

import errno
import os
import re
import secrets
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import jax

from treedyn._check import warn
from treedyn.store._archive import DamagedFile, note_of, read, save, verify
from treedyn.tree import PyTree

RESUME = ("auto", "never", "must")
T = TypeVar("T")
# Other files in the folder are left alone.
_STEP, _RECORDS = re.compile(r"step-\d{12}\.npz"), re.compile(r"records-\d{12}-[0-9a-f]{8}\.npz")
_PART = re.compile(r"\.(step|records)-\d{12}(-[0-9a-f]{8})?\.npz\.\d+\.part")


class Folder:
    """The checkpoints of one run, locked against other processes if they can be written."""

    def __init__(self, path: str | os.PathLike[str], keep: int) -> None:
        """Open the folder, or make it.

        Raises:
            ValueError: `path` is not a folder, or another process is using it.
            PermissionError: the folder cannot be written to, and holds no checkpoint.
        """
        self.path, self.keep = Path(path).absolute(), keep
        # name, size and number of records
        self.pieces: list[tuple[str, int, int]] = []
        # No file of records takes the name of an older one, on which a checkpoint of another process may depend.
        self.process = secrets.token_hex(4)
        self.strangers: list[Path] = []
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ValueError(f"checkpoint: expected a folder, got the file {self.path}. Pass another path.") from error
        self.lock = _lock(self.path / "lock")
        if not self.files():
            self.check_writable()
        for leftover in [] if self.lock is None else self._named(_PART):
            leftover.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.lock is not None:
            os.close(self.lock)

    def files(self) -> list[Path]:
        """Return the files of the checkpoints, the last one first."""
        return sorted(self._named(_STEP), reverse=True)

    def _named(self, pattern: re.Pattern[str]) -> list[Path]:
        return [file for file in self.path.iterdir() if pattern.fullmatch(file.name) and file.is_file()]

    def check_writable(self) -> None:
        """Raise a PermissionError if the folder can only be read."""
        if self.lock is None:
            raise PermissionError(f"checkpoint: {self.path} cannot be written to. Use a copy of the folder")

    def forget(self) -> None:
        """Begin a new run; the old checkpoints are deleted once there is a new one."""
        self.check_writable()
        self.strangers = self.files()

    def latest(self, like: T, about: dict[str, Any]) -> tuple[T, dict[str, Any]] | None:
        """Return the last undamaged checkpoint and its note; `None` if there is no checkpoint.

        Args:
            like: the state of the run before its first step.
            about: a description of the run.

        Raises:
            ValueError: the folder holds another run.
            DamagedFile: all checkpoints are damaged.
        """
        damage: DamagedFile | None = None
        for file in self.files():
            try:
                note = note_of(file)
                if not isinstance(note, dict) or "about" not in note:
                    raise DamagedFile(f"{file} is not a checkpoint")
                _check_same(self.path, note["about"], about)
                found = read(file, like, ".env")
                self._check_pieces(note)
            except DamagedFile as error:
                warn(f"{error}; the checkpoint before it is used")
                damage = error
                continue
            self.pieces = [tuple(piece) for piece in note["pieces"]]
            return found, note
        if damage is not None:
            raise DamagedFile(
                f"checkpoint: all checkpoints in {self.path} are damaged. The oldest: {damage}"
            ) from damage
        return None

    def _check_pieces(self, note: dict[str, Any]) -> None:
        for name, size, _ in note["pieces"]:
            file = self.path / name
            if not file.exists() or file.stat().st_size != size:
                raise DamagedFile(f"{file}: records of the checkpoint are missing or truncated")
            verify(file)
            if (other := note_of(file)) != name:
                raise DamagedFile(f"{file}: it is damaged: it holds the records of {other}")

    def records(self, shapes: PyTree) -> list[PyTree]:
        """Return the recorded parts; `shapes` are those of one record."""

        def piece(name: str, count: int) -> PyTree:
            like = jax.tree.map(lambda x: jax.ShapeDtypeStruct((count, *x.shape), x.dtype), shapes)
            return read(self.path / name, like, None)

        return [piece(name, count) for name, _, count in self.pieces]

    def write(self, run: PyTree, note: dict[str, Any], fresh: PyTree, step: int) -> None:
        """Write a checkpoint.

        Args:
            run: the state of the run.
            note: further values, as JSON can hold them, with a description of the run under "about".
            fresh: the records since the last checkpoint, stacked, or `None`.
            step: number of steps taken.

        Raises:
            PermissionError: the folder cannot be written to.
        """
        self.check_writable()
        here, pieces = self.path / f"step-{step:012d}.npz", list(self.pieces)
        if fresh is not None and (count := len(jax.tree.leaves(fresh)[0])):
            file = self.path / f"records-{step:012d}-{self.process}.npz"
            save(file, fresh, note=file.name)
            pieces.append((file.name, file.stat().st_size, count))
        save(here, run, note={**note, "pieces": pieces})
        old = [file for file in self.files() if file <= here][self.keep :]
        # earlier checkpoints only use records of this one, so all other files of records are unused
        left = [file for file in self._named(_RECORDS) if file.name not in {name for name, *_ in pieces}]
        for file in [*(x for x in self.strangers if x != here), *old, *left]:
            file.unlink(missing_ok=True)
        # later checkpoints were skipped because they are damaged; they must not take the places of good ones
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
                    f"checkpoint: {path} holds another run, with {part}{name} = {then.get(name, 'nothing')} instead of "
                    f"{now.get(name, 'nothing')}. Pass the arguments with which it was started, another folder, or "
                    'resume="never" to replace it.'
                )


def _lock(path: Path) -> int | None:
    """Take a lock that the system releases when the process ends, however it ends; `None` if nothing can be written."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return None
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
            f"checkpoint: another process is using {path.parent}. Give every run its own folder."
        ) from error
    return handle
