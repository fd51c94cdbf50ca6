"""Stop at the end of a chunk when the user or the system asks for it."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Note Ctrl-C and SIGTERM instead of being torn away by them; a second one works as always.

    Attributes:
        asked: the signal that came, and was not obeyed yet; `None` while none did.
    """

    def __init__(self) -> None:
        self.asked: signal.Signals | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python hands signals to the main thread only. Those that somebody handles in another way, or ignores (`nohup`
        # does), stay as they are.
        if threading.current_thread() is threading.main_thread():
            usual = (signal.SIG_DFL, signal.default_int_handler)
            heard = [number for number in _SIGNALS if signal.getsignal(number) in usual]
            self.before = {number: signal.signal(number, self._note) for number in heard}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._give_back()
        if self.asked is not None:  # it came when nobody looked any more, or something went wrong before
            self.obey("run stopped")

    def obey(self, said: str) -> NoReturn:
        """End as the program would have without a run."""
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


__all__ = ["Stop"]
