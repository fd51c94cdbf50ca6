"""A progress bar with steps/s and the time left."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol

from treedyn._extras import require


class Bar(Protocol):
    """A counter of steps."""

    def update(self, steps: int, /) -> object:
        """Add `steps` to the count."""


class _NoBar:
    def update(self, steps: int, /) -> None:
        """Do nothing."""


@contextmanager
def no_bar() -> Generator[Bar]:
    """Yield a bar that shows nothing."""
    yield _NoBar()


@contextmanager
def progress_bar(steps: int, title: bool | str) -> Generator[Bar]:
    """Yield a bar for the terminal or the notebook."""
    tqdm = require("tqdm.auto", "progress").tqdm
    with tqdm(total=steps, desc=title if isinstance(title, str) else None, unit=" steps", unit_scale=True) as bar:
        yield bar
