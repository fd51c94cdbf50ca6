"""What no argument of a kind may be: wrong types, wrong numbers, wrong shapes, wrong functions, wrong paths."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers import KEY
from treedyn import particles as tp

NAN, INF, NUMBER = float("nan"), float("inf"), itertools.count()


class In(NamedTuple):
    """Make a value in a folder of its own, for arguments that are files."""

    make: Callable[[Path], Any]


class Argument(NamedTuple):
    """Say what an argument takes.

    Attributes:
        good: a value that is accepted.
        kinds: names of `KINDS`, whose values are refused.
        but: labels of values that are accepted nevertheless.
        more: further values that are refused, by label.
        named: the name under which messages speak of it.
    """

    good: Any
    kinds: tuple[str, ...]
    but: frozenset[str]
    more: dict[str, Any]
    named: str | None

    def wrong(self) -> dict[str, Any]:
        """Return the values that are refused."""
        values = {label: x for kind in self.kinds for label, x in KINDS[kind].items()} | self.more
        unknown = self.but - set(values)
        assert not unknown, f"no such labels: {unknown}"
        return {label: x for label, x in values.items() if label not in self.but}


class Row(NamedTuple):
    """Say how something public is called, and what its arguments take."""

    of: Callable[..., Any]
    name: str
    arguments: dict[str, Argument]


def arg(good: Any, kinds: str, but: str = "", more: dict[str, Any] | None = None, named: str | None = None) -> Argument:
    """Describe an argument: `arg(0.1, "number positive")`."""
    return Argument(good, tuple(kinds.split()), frozenset(but.split()), more or {}, named)


def row(of: Callable[..., Any], /, *, called: str | None = None, **arguments: Argument) -> Row:
    """Describe a call; `called` names one that goes on with what a public function returned."""
    return Row(of, called or f"{of.__module__}.{of.__qualname__}", arguments)


def file(suffix: str) -> In:
    """Return a path that is not there."""
    return In(lambda folder: folder / f"{next(NUMBER)}{suffix}")


def garbage(suffix: str) -> In:
    def make(folder: Any) -> Any:
        path = file(suffix).make(folder)
        path.write_bytes(b"neither this\nnor that\n")
        return path

    return In(make)


class Thing:
    """An object that is nothing in particular."""

    def __repr__(self) -> str:
        return "<a thing>"


def f0() -> float:
    return 0.0


def f4(a: Any, b: Any, c: Any, d: Any) -> Any:
    return a


THING, X = Thing(), jnp.ones((3, 2))
_OBJECTS = {"thing": THING, "text": "one", "empty_text": "", "texts": ["a", "b"], "bytes": b"1", "set": {1.0}}
_ARRAYS = {
    "objects": np.array([THING, THING]),
    "strings": np.array(["a", "b"]),
    "complexes": jnp.array([1j, 2j]),
    "key": KEY,
}
_INTEGER = {"half": 2.5, "whole": 2.0, "nan": NAN, "inf": INF, "true": True, "complex": 1j, "row": jnp.ones(2)}

KINDS: dict[str, dict[str, Any]] = {
    # numbers as methods take them: constants, schedules, trees
    "number": {
        **{"none": None, "true": True, "complex": 1 + 1j, "nan": NAN, "nans": jnp.array([1.0, NAN, 1.0])},
        **{"boolean_row": np.array([True]), "of_nothing": f0, **_OBJECTS, **_ARRAYS},
    },
    "positive": {
        "zero": 0.0,
        "minus": -1.0,
        "minus_inf": -INF,
        "one_minus": jnp.array([1.0, -1.0, 1.0]),
        "none_int": 0,
    },
    "nonnegative": {"minus": -1.0, "minus_inf": -INF, "one_minus": jnp.array([1.0, -1.0, 1.0]), "minus_int": -1},
    "finite": {"inf": INF, "infs": jnp.array([1.0, INF, 1.0])},
    "one": {"row": jnp.ones(2), "list": [1.0, 2.0], "tree": {"a": 1.0}, "matrix": np.ones((2, 2))},
    "constant": {"schedule": lambda step: 1.0},
    # exact things
    "natural": {"none": None, **_OBJECTS, **_ARRAYS, **_INTEGER, "minus": -1, "list": [1, 2], "far_below": -(2**70)},
    "counting": {"zero": 0, "none_array": np.int64(0)},
    "flag": {"none": None, **_OBJECTS, **_ARRAYS, "two": 2, "one": 1, "half": 0.5, "nan": NAN, "row": jnp.ones(2) > 0},
    "mode": {"none": None, **_OBJECTS, **_ARRAYS, "two": 2, "nan": NAN, "true": True, "upper": "X\n", "tree": {"a": 1}},
    # functions
    "function": {
        "none": None,
        **_OBJECTS,
        **_ARRAYS,
        "two": 2.0,
        "row": jnp.ones(2),
        "functions": [f0],
        "tree": {"a": f0},
    },
    "arity": {"of_nothing": f0, "of_four": f4, "of_keywords": lambda *, position: position},
    # trees and spaces
    "space": {
        **{"none": None, **_OBJECTS, **_ARRAYS, "two": 2.0, "row": jnp.ones(2), "function": f4, "single": (f4,)},
        **{"three": (f4, f4, f4), "list": [f4, f4], "tree": {"a": 2.0}, "class": tp.Periodic, "half_pair": (f4, 2.0)},
    },
    "one_space": {"spaces": {"a": tp.free(), "b": tp.free()}, "list_of_spaces": [tp.free()]},
    "position": {
        **{"none": None, "thing": THING, "text": "one", "texts": ["a", "b"], "function": jnp.tanh, "empty": {}},
        **{"integer": 3, "integers": jnp.arange(3), "booleans": X > 0, "complexes": jnp.array([1j, 2j]), "key": KEY},
        **{"nans": X.at[0, 0].set(NAN), "infs": {"a": X, "b": X.at[1, 1].set(INF)}, "class": Thing},
    },
    "points": {
        **{"none": None, "thing": THING, "text": "one", "texts": ["a", "b"], "objects": _ARRAYS["objects"], "key": KEY},
        **{
            "number": 3.0,
            "row": jnp.ones(3),
            "cube": jnp.ones((2, 2, 2)),
            "complexes": X.astype(complex),
            "tree": {"a": X},
        },
        **{"integers": jnp.ones((3, 2), jnp.int32), "booleans": X > 0},
    },
    "known_points": {"nans": X.at[0, 0].set(NAN), "infs": X.at[1, 1].set(INF), "empty": X[:0], "flat": X[:, :0]},
    "key": {
        **{"none": None, **_OBJECTS, "seed": 0, "half": 0.5, "keys": jax.random.split(KEY, 2), "row": jnp.ones(2)},
        **{"objects": _ARRAYS["objects"], "tree": {"a": KEY}, "old_keys": jnp.zeros((3, 2), jnp.uint32)},
    },
    "struct": {"none": None, **_OBJECTS, **_ARRAYS, "two": 2.0, "function": f4, "tree": {"a": 2.0}, "class": Thing},
    # files
    "path": {
        **{"none": None, "thing": THING, "bytes": b"name", "descriptor": 7, "half": 2.5, "texts": ["a"], "true": True},
        **{"empty_text": "", "key": KEY, "tree": {"a": "b"}, "null": "a\0b"},
    },
    "to_write": {"a_directory": In(lambda folder: folder), "no_directory": In(lambda folder: folder / "no" / "file")},
    "to_read": {"a_directory": In(lambda folder: folder), "missing": In(lambda folder: folder / "missing.npz")},
}
