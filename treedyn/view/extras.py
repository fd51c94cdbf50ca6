"""Import what draws and writes pictures only when it is used, and say how to get it where it is missing."""

import importlib
from types import ModuleType


def require(module: str, extra: str = "demo") -> ModuleType:
    """Import an optional dependency.

    Args:
        module: its dotted name.
        extra: the extra of treedyn that brings it.

    Returns:
        The module.

    Raises:
        ImportError: it is not installed; the message says what to do.

    Example:
        >>> require("nowhere")
        Traceback (most recent call last):
        ImportError: treedyn.view needs nowhere, which is not installed: pip install 'treedyn[demo]'
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        name = module.split(".")[0]
        raise ImportError(
            f"treedyn.view needs {name}, which is not installed: pip install 'treedyn[{extra}]'", name=name
        ) from error
