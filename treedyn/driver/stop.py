"""Stop at the end of a chunk when the user or the system asks for it."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Note Ctrl-C and SIGTERM instead of being torn away by them; a second one works as always.

    Attributes:
        asked: the signal that came; `None` while none did.
        pending: whether nobody has obeyed it yet.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self.pending = False
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python hands signals to the main thread only; elsewhere they stay as they are, and so do those that somebody
        # ignores (`nohup` does) or handles below Python.
        if threading.current_thread() is threading.main_thread():
            left = (None, signal.SIG_IGN)
            heard = [number for number in _SIGNALS if signal.getsignal(number) not in left]
            self.before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._give_back()
        if self.pending and self.asked is not None and error is None:
            signal.raise_signal(self.asked)  # it came when nobody looked any more

    def told(self) -> signal.Signals:
        """Return the signal that came, and count it as obeyed."""
        assert self.asked is not None
        self.pending = False
        return self.asked

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.asked, self.pending = signal.Signals(number), True
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}


__all__ = ["Stop"]
