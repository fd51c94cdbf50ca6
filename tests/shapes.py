"""A type checker for the import hook of jaxtyping that checks array shapes and nothing else."""

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any

from jaxtyping import AbstractArray


def check_shapes(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check all arguments and results that are annotated with shapes."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            require(name, value, signature.parameters[name].annotation)
        result = function(*args, **kwargs)
        require("the result", result, signature.return_annotation)
        return result

    return checked


def require(name: str, value: Any, kind: Any) -> None:
    if has_shape(kind) and not fits(value, kind):
        raise TypeError(f"{name}: expected {kind}, got {value!r}")


def has_shape(kind: Any) -> bool:
    return is_shape(kind) or any(has_shape(part) for part in typing.get_args(kind))


def is_shape(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, AbstractArray)


def fits(value: Any, kind: Any) -> bool:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, part) for part in parts)
    if origin is typing.Literal:
        return value in parts
    kind = kind if origin is None else origin
    return not isinstance(kind, type) or isinstance(value, kind)
