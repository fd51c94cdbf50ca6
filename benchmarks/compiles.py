"""Count what XLA compiles, so that no compilation hides in a time."""

import dataclasses
from typing import Any

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


@dataclasses.dataclass
class Compilations:
    """Hold what this process has compiled since the counter was made."""

    count: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        jax.monitoring.register_event_duration_secs_listener(self._add)

    def _add(self, event: str, duration: float, **_: Any) -> None:
        if event == _EVENT:
            self.count += 1
            self.seconds += duration


SO_FAR = Compilations()
