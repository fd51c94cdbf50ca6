"""What a run is known by, the same in every process: numbers are known by their bits, functions by their code."""

import dataclasses
import functools
import hashlib
import re
import types
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from treedyn import tree
from treedyn.tree import PyTree

_VALUES = int | float | complex | str | bytes | tuple | frozenset | types.CodeType | None
_LIBRARIES = {"jax", "numpy", "treedyn"}  # known by their names: a new version is not another run


def describe(value: PyTree) -> list[list[str]]:
    """Return a path and a fingerprint for every leaf of a tree, and one of its structure."""
    lines = [["", _short(_nameless(tree.describe(tree.box(value))).encode())]]
    for path, leaf in tree_flatten_with_path(tree.box(value))[0]:
        array = _plain(leaf)
        bits = repr(array.item()) if array.ndim == 0 else f"{array.dtype}{list(array.shape)} {_bits(array)}"
        lines.append([keystr(path), bits])
    return lines


def computes(value: Any) -> str:
    """Return a fingerprint of what functions compute: their code, and all numbers and functions that they use.

    It tells that something was changed, not that nothing was: what is called through a module is known by its name.

    Args:
        value: functions, in anything: a dynamics, a closure, a tuple of reducers.
    """
    return _short("\n".join(_parts(value, set())).encode())


def _parts(value: Any, seen: set[int]) -> Iterator[str]:
    yield type(value).__qualname__
    if not isinstance(value, _VALUES):  # whether two of those are one object is up to the interpreter
        if id(value) in seen:
            return
        seen.add(id(value))
    for part in _inner(value):
        if isinstance(part, str):
            yield part
        else:
            yield from _parts(part[0], seen)


def _inner(value: Any) -> Iterator[str | tuple[Any]]:
    """Yield words about `value`, and, each in a tuple, the values that it is made of."""
    if isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif isinstance(value, types.CodeType):
        yield from (value.co_code.hex(), *value.co_names)
        yield from ((constant,) for constant in value.co_consts)
    elif isinstance(value, types.MethodType):
        yield from ((value.__func__,), (value.__self__,))
    elif isinstance(value, functools.partial):
        yield from ((value.func,), (value.args,), (value.keywords,))
    elif isinstance(value, type | types.BuiltinFunctionType | types.ModuleType):
        yield value.__name__
    elif hasattr(value, "dtype") and hasattr(value, "shape"):
        yield _bits(_plain(value))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from ((key,), (inner,))
    elif isinstance(value, tuple | list):
        yield from ((inner,) for inner in value)
    elif isinstance(value, set | frozenset):
        yield from sorted(map(repr, value))  # in an order that is not that of this process
    elif callable(inner := getattr(value, "__wrapped__", None)):
        yield (inner,)  # of functools.wraps, and of jax.jit
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from (field.name, (getattr(value, field.name),))
        yield from ((method,) for method in vars(type(value)).values() if isinstance(method, types.FunctionType))
    else:
        yield _nameless(repr(value))


def _of_function(function: types.FunctionType) -> Iterator[str | tuple[Any]]:
    yield f"{function.__module__}.{function.__qualname__}"
    if function.__module__.partition(".")[0] in _LIBRARIES:
        return
    yield from ((function.__code__,), (function.__defaults__,), (function.__kwdefaults__,))
    for cell in function.__closure__ or ():
        try:
            yield (cell.cell_contents,)
        except ValueError:  # it is not filled yet
            continue
    for name in function.__code__.co_names:
        found = function.__globals__.get(name)
        beside = isinstance(found, types.FunctionType) and found.__module__ == function.__module__
        if beside or isinstance(found, int | float | complex | str | tuple):
            yield (found,)  # whatever else it finds there is known by its name


def _plain(leaf: Any) -> np.ndarray:
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _bits(array: np.ndarray) -> str:
    return _short(np.ascontiguousarray(array).tobytes())


def _nameless(text: str) -> str:
    """Return a text without the addresses of objects in it."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", text)


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


__all__ = ["computes", "describe"]
