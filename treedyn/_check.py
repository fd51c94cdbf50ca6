"""Checks of arguments: each returns the value, or raises an error that names the argument and what is expected."""

import contextlib
import inspect
import operator
import os
import sys
import warnings
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, SupportsIndex, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike

from treedyn import tree

T = TypeVar("T")


def warn(message: str) -> None:
    """Warn of something in the code of the user: at the innermost line that belongs to neither this library nor JAX."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in ("treedyn", "jax"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def integer(name: str, value: object, least: int, below: int | None = None) -> int:
    """Return an integer with `least <= value < below`.

    Example:
        >>> integer("every", 0, least=1)
        Traceback (most recent call last):
        ValueError: every: expected an integer of at least 1, got 0
    """
    number = None
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with contextlib.suppress(TypeError):
            number = operator.index(value)
    if number is None or number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    if below is not None and number >= below:
        raise ValueError(f"{name}: expected an integer below {below}, got {value!r}")
    return number


def flag(name: str, value: object) -> bool:
    """Return a boolean; other values with a truth value, like the text "no", are usually mistakes."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def choice(name: str, value: object, options: Collection[T]) -> T:
    """Return one of a few strings or integers; a dict of options gives their meanings.

    Example:
        >>> choice("mode", "r", {"x": "new file", "w": "overwrite"})
        Traceback (most recent call last):
        ValueError: mode: expected 'x' (new file) or 'w' (overwrite), got 'r'
    """
    if isinstance(value, str | int | np.integer) and not isinstance(value, bool) and value in options:
        return value  # type: ignore[return-value]
    meanings = options if isinstance(options, dict) else {}
    words = [f"{option!r} ({meanings[option]})" if option in meanings else repr(option) for option in options]
    raise ValueError(f"{name}: expected {', '.join(words[:-1])} or {words[-1]}, got {value!r}")


def instance(name: str, value: object, kind: type[T] | tuple[type[T], ...], like: str) -> T:
    """Return an instance of `kind`; `like` describes it in the error message."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {like}, got {brief(value)}")
    return value


def function(name: str, value: object, of: str, count: int = 1) -> Callable[..., Any]:
    """Return a function of `of` that can be called with `count` arguments, as far as its signature is known.

    Example:
        >>> function("record", lambda: 1.0, "state")
        Traceback (most recent call last):
        ValueError: record: expected a function of state, got one of (): too many positional arguments
    """
    if not callable(value):
        raise ValueError(f"{name}: expected a function of {of}, got {brief(value)}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # some functions written in C have no signature
        return value
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise ValueError(f"{name}: expected a function of {of}, got one of {signature}: {error}") from error
    return value


def path(name: str, value: object, what: str = "file") -> Path:
    """Return the path of a file, or of whatever `what` says."""
    if not isinstance(value, str | os.PathLike) or isinstance(found := os.fspath(value), bytes):
        raise ValueError(f"{name}: expected the path of a {what}, got {brief(value)}. Pass a string or a pathlib.Path.")
    if not found or "\0" in found:
        raise ValueError(f"{name}: expected the path of a {what}, got {found!r}, which is not a valid name")
    return Path(found)


def file(name: str, value: object) -> Path:
    """Return the path of an existing file."""
    found = _no_directory(name, value)
    if not found.exists():
        raise FileNotFoundError(f"{name}: there is no such file: {str(found)!r}")
    return found


def new_file(name: str, value: object) -> Path:
    """Return the path of a file in an existing directory; the file may exist."""
    found = _no_directory(name, value)
    if not found.parent.is_dir():
        raise FileNotFoundError(
            f"{name}: there is no directory {str(found.parent)!r} for {found.name!r}. Make it first."
        )
    return found


def _no_directory(name: str, value: object) -> Path:
    found = path(name, value)
    if found.is_dir():
        raise IsADirectoryError(f"{name}: expected a file, but {str(found)!r} is a directory")
    return found


def array(
    name: str,
    value: Any,
    expected: str,
    ndims: Collection[int] | None = None,
    *,
    positive: bool = False,
    nonnegative: bool = False,
    finite: bool = True,
) -> Any:
    """Return real numbers as they are, but lists and tuples as NumPy arrays; values of tracers are not checked.

    `expected` describes the value in error messages, and `ndims` are the allowed numbers of axes.
    """
    numbers = value
    if isinstance(value, list | tuple):
        try:
            numbers = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected {expected}, got {brief(value)}") from error
    if not (is_real(numbers) or np.size(numbers) == 0) or (ndims is not None and np.ndim(numbers) not in ndims):
        raise ValueError(f"{name}: expected {expected}, got {brief(value)}")
    # reading an array may copy it from a device, so it is read only where a condition needs it
    if not (positive or nonnegative or finite) or (known := tree.known(numbers)) is None:
        return numbers
    if known.dtype == object:
        raise ValueError(f"{name}: expected {expected}, got {value!r}, which is too large")
    good = np.isfinite(known) if finite else np.ones(known.shape, bool)
    if positive or nonnegative:
        good = good & (known > 0 if positive else known >= 0)
    if not np.all(good):
        sign = ["positive"] if positive else ["zero or positive"] if nonnegative else []
        wanted = " and ".join(sign + ["finite"] * finite)
        raise ValueError(f"{name}: expected {expected}, {wanted}, got {known[~good].flat[0]}")
    return numbers


def number(
    name: str,
    value: Any,
    expected: str = "one number",
    *,
    positive: bool = False,
    nonnegative: bool = False,
    finite: bool = True,
) -> Any:
    """Return one real number as a float, or as a 0-d array that keeps its dtype; see `array`."""
    return floats(array(name, value, expected, (0,), positive=positive, nonnegative=nonnegative, finite=finite))


def reals(name: str, value: Any, expected: str, ndims: Collection[int] | None = None) -> np.ndarray:
    """Return finite real numbers with known values in double precision; see `array`."""
    return np.asarray(array(name, value, expected, ndims), dtype=np.float64)


def floats(x: ArrayLike) -> Any:
    """Return real numbers as a Python float, or as an array of floats that keeps its dtype."""
    if np.ndim(x) == 0 and not hasattr(x, "dtype"):
        return float(x)  # type: ignore[arg-type]
    is_float = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
    return x if is_float else jnp.asarray(x, jnp.result_type(float))


def is_real(value: object) -> bool:
    """Tell whether `value` is a real array or Python number; booleans are not numbers here."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    return isinstance(value, int | float) and not isinstance(value, bool)


def brief(value: object) -> str:
    """Describe a value for an error message: an array by its dtype and shape, anything else by a short repr."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if tree.is_array(value) and shape is not None:
        return f"{dtype}{list(shape)}" if shape else f"the {dtype} {value}"
    text = repr(value)
    return f"{text[:77]}..." if len(text) > 80 else text
