"""Signals that end a run after the current chunk."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """A context in which Ctrl-C and SIGTERM are only noted; a second signal acts as usual.

    Attributes:
        asked: the signal that has not been obeyed yet, or `None`.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python delivers signals to the main thread only. Handlers of others stay, and so do ignored signals (`nohup`).
        if threading.current_thread() is threading.main_thread():
            usual = (signal.SIG_DFL, signal.default_int_handler)
            heard = [number for number in _SIGNALS if signal.getsignal(number) in usual]
            self.before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._give_back()
        if self.asked is not None:  # it came after the last chunk, or an error ended the run first
            self.obey("run stopped")

    def obey(self, said: str) -> NoReturn:
        """End the program as the signal would have."""
        asked, self.asked = self.asked, None
        if asked == signal.SIGINT:
            raise KeyboardInterrupt(said)
        print(said, file=sys.stderr)
        raise SystemExit(128 + signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.asked = signal.Signals(number)
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}
