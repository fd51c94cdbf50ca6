"""Import what is optional only when it is used, and say how to get it where it is missing."""

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import an optional dependency.

    Args:
        module: its dotted name.
        extra: the extra of treedyn that brings it.

    Returns:
        The module.

    Raises:
        ImportError: it is not installed; the message says what to do.

    Example:
        >>> require("nowhere", "gsd")
        Traceback (most recent call last):
        ImportError: nowhere is not installed: pip install "treedyn[gsd]"
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        name = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != name:
            raise
        raise ImportError(f'{name} is not installed: pip install "treedyn[{extra}]"', name=name) from error
