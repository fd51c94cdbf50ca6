"""Optional dependencies, imported when they are used."""

import importlib
from typing import Any


def require(module: str, extra: str) -> Any:
    """Import an optional module, or raise an `ImportError` that names the extra of treedyn that installs it.

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
