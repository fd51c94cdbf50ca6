"""What arguments of many functions have to be: one that is something else is refused by name, and told what to be."""

import inspect
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from treedyn import tree

T = TypeVar("T")


def integer(name: str, value: Any, least: int, below: int | None = None) -> int:
    """Return an integer of a range.

    Raises:
        ValueError: it is none.

    Example:
        >>> integer("every", 0, least=1)
        Traceback (most recent call last):
        ValueError: every: expected an integer of at least 1, got 0
    """
    try:
        number = None if isinstance(value, bool) else value.__index__()
    except (AttributeError, TypeError):
        number = None
    if number is None or number < least:
        raise ValueError(f"{name}: expected an integer of at least {least}, got {value!r}")
    if below is not None and number >= below:
        raise ValueError(f"{name}: expected an integer below {below}, got {value!r}")
    return number


def flag(name: str, value: Any) -> bool:
    """Return a boolean: what else is true or false in Python is more often a mistake, like the text "no".

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def choice(name: str, value: Any, options: Collection[T]) -> T:
    """Return one of a few strings or integers.

    Args:
        name: the name of the argument.
        value: what was given.
        options: what there is; a dict says in its values what each of them means.

    Raises:
        ValueError: it is none of them.

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


def instance(name: str, value: Any, kind: type[T] | tuple[type[T], ...], like: str) -> T:
    """Return what has to be of a kind.

    Args:
        name: the name of the argument.
        value: what was given.
        kind: its type.
        like: what to pass instead; for the error message.

    Raises:
        ValueError: it is of another kind.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected {like}, got {brief(value)}")
    return value


def function(name: str, value: Any, of: str, count: int = 1) -> Callable[..., Any]:
    """Return a function that can be called with `count` arguments, as far as its signature tells.

    Args:
        name: the name of the argument.
        value: what was given.
        of: what it is a function of; for the error message.
        count: how many arguments it is going to be called with.

    Raises:
        ValueError: it is no function, or one of another number of arguments.

    Example:
        >>> function("record", lambda: 1.0, "state")
        Traceback (most recent call last):
        ValueError: record: expected a function of state, got one of (): too many positional arguments
    """
    if not callable(value):
        raise ValueError(f"{name}: expected a function of {of}, got {brief(value)}")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # not every function that is written in C has one
        return value
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise ValueError(f"{name}: expected a function of {of}, got one of {signature}: {error}") from error
    return value


def path(name: str, value: Any, what: str = "file") -> Path:
    """Return the path of a file, or of what else it is to be.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(found := os.fspath(value), bytes):
        raise ValueError(
            f"{name}: expected the path of a {what}, got {brief(value)}; a string or a pathlib.Path is one"
        )
    if not found or "\0" in found:
        raise ValueError(f"{name}: expected the path of a {what}, got {found!r}, which can be the name of none")
    return Path(found)


def file(name: str, value: Any) -> Path:
    """Return the path of a file that is there.

    Raises:
        ValueError: it is no path.
        FileNotFoundError: there is no such file.
        IsADirectoryError: there is a directory.
    """
    found = path(name, value)
    if found.is_dir():
        raise IsADirectoryError(f"{name}: expected a file, but {str(found)!r} is a directory")
    if not found.exists():
        raise FileNotFoundError(f"{name}: there is no such file: {str(found)!r}")
    return found


def new_file(name: str, value: Any) -> Path:
    """Return the path of a file that can be written, as far as it can be told before.

    Raises:
        ValueError: it is no path.
        FileNotFoundError: the directory that it is to be in is not there.
        IsADirectoryError: there is a directory of that name.
    """
    found = path(name, value)
    if found.is_dir():
        raise IsADirectoryError(f"{name}: expected a file, but {str(found)!r} is a directory")
    if not found.parent.is_dir():
        raise FileNotFoundError(f"{name}: there is no directory {str(found.parent)!r} for {found.name!r}; make it")
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
    """Return real numbers: an array, or a Python number as it is. Those that are not known yet are not looked at.

    Args:
        name: the name of the argument.
        value: what was given; a list becomes an array of NumPy.
        expected: what is wanted; for the error message.
        ndims: how many axes it may have; any number by default.
        positive: whether every number has to be larger than 0.
        nonnegative: whether no number may be below 0.
        finite: whether NaN and infinity are refused.

    Raises:
        ValueError: something is no real number, out of range, or has another number of axes.
    """
    numbers = value
    if isinstance(value, list | tuple):
        try:
            numbers = np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: expected {expected}, got {brief(value)}") from error
    if not (_is_real(numbers) or np.size(numbers) == 0) or (ndims is not None and np.ndim(numbers) not in ndims):
        raise ValueError(f"{name}: expected {expected}, got {brief(value)}")
    # nothing is read from a device that does not have to be
    if not (positive or nonnegative or finite) or (known := tree.known(numbers)) is None:
        return numbers
    if known.dtype == object:
        raise ValueError(f"{name}: expected {expected}, got {value!r}, which is too large")
    good = np.isfinite(known) if finite else np.ones(known.shape, bool)
    if positive or nonnegative:
        good = good & (known > 0 if positive else known >= 0)
    if not np.all(good):
        sign = ["positive"] if positive else ["zero or positive"] if nonnegative else []
        range_ = " and ".join(sign + ["finite"] * finite)
        raise ValueError(f"{name}: expected {expected}, {range_}, got {known[~good].flat[0]}")
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
    """Return one real number, as a float or as an array without axes that keeps its dtype; see `array`."""
    return floats(array(name, value, expected, (0,), positive=positive, nonnegative=nonnegative, finite=finite))


def reals(name: str, value: Any, expected: str, ndims: Collection[int] | None = None) -> np.ndarray:
    """Return known, finite real numbers in double precision; see `array`."""
    return np.asarray(array(name, value, expected, ndims), dtype=np.float64)


def floats(x: Any) -> Any:
    """Return real numbers as a Python float, or as an array of floats that keeps its dtype."""
    if np.ndim(x) == 0 and not hasattr(x, "dtype"):
        return float(x)
    is_float = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)
    return x if is_float else jnp.asarray(x, jnp.result_type(float))


def _is_real(leaf: Any) -> bool:
    """Tell whether something is an array or a Python number that is real: booleans are none."""
    if isinstance(leaf, jax.Array | np.ndarray | np.generic):
        return jnp.issubdtype(leaf.dtype, jnp.floating) or jnp.issubdtype(leaf.dtype, jnp.integer)
    return isinstance(leaf, int | float) and not isinstance(leaf, bool)


def brief(value: Any) -> str:
    """Say in a few words what was given: an array by its dtype and shape, all else as Python would."""
    if tree.is_array(value) and hasattr(value, "shape"):
        return f"{value.dtype}{list(value.shape)}" if value.shape else f"the {value.dtype} {value}"
    said = repr(value)
    return f"{said[:77]}..." if len(said) > 80 else said


__all__ = ["array", "brief", "choice", "file", "flag", "floats"]
__all__ += ["function", "instance", "integer", "new_file", "number", "path", "reals"]
