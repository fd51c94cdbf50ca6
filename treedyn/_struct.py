"""Frozen, keyword-only dataclasses that are PyTrees.

Every state, target, space, operator and dynamics is a `Struct`. The fields are children of the PyTree, so their numbers
are leaves: changing one does not retrace, `vmap` maps over it, and `grad` differentiates with respect to it. Two kinds
of fields are different:

- `static()` fields are part of the tree structure (a name, a count, a flag). Their values must be hashable, and
  changing one retraces.
- `function()` fields hold callables. A plain Python function becomes part of the structure; a callable PyTree (a
  potential with parameters, an Equinox module) remains a child, so its numbers are leaves.
"""

import dataclasses
import enum
import inspect
from abc import ABCMeta
from typing import Any, Self, dataclass_transform

import jax
import numpy as np
from jax.core import Tracer
from wadler_lindig import TextDoc, pformat

_FEW = 9  # elements of an array that are shown
_KIND = "treedyn.kind"


def static(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that is part of the tree structure, not a leaf; its values must be hashable.

    Args:
        default: default value; without it the field is required.

    Example:
        >>> import jax, treedyn as td
        >>> class Chain(td.Struct):
        ...     mass: float
        ...     length: int = td.static(default=3)
        >>> jax.tree.leaves(Chain(mass=2.0))
        [2.0]
    """
    return dataclasses.field(metadata={_KIND: "static"}, default=default)


def function(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that holds a callable: a plain function is static, a callable PyTree keeps its leaves.

    Args:
        default: default value; without it the field is required.

    Example:
        >>> import jax, treedyn as td
        >>> class Loss(td.Struct):
        ...     model: object = td.function()
        >>> jax.tree.leaves(Loss(model=abs))
        []
    """
    return dataclasses.field(metadata={_KIND: "function"}, default=default)


def is_bare_function(value: object) -> bool:
    """Tell whether `value` is a callable that is not a PyTree: a function, lambda or unregistered object."""
    return callable(value) and jax.tree_util.all_leaves([value])


class _Child(enum.Enum):
    """A marker in the static part of a flattened struct, for a `function()` field that is a child."""

    CHILD = enum.auto()


class _Signature:
    """The signature of a struct class, made on request; an instance has the signature of its `__call__`."""

    def __get__(self, instance: object, owner: type) -> inspect.Signature:
        if instance is not None or not dataclasses.is_dataclass(owner):
            raise AttributeError("__signature__")
        parameters = []
        for field in dataclasses.fields(owner):
            default = field.default if field.default_factory is dataclasses.MISSING else ...
            default = inspect.Parameter.empty if default is dataclasses.MISSING else default
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=default, annotation=field.type))
        return inspect.Signature(parameters)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(static, function, dataclasses.field))
class Struct(metaclass=ABCMeta):  # noqa: B024
    """The base of frozen, keyword-only dataclasses that are PyTrees; every subclass is made one.

    Example:
        >>> class Spring(Struct):
        ...     stiffness: float
        ...     def __call__(self, x):
        ...         return 0.5 * self.stiffness * x**2
        >>> float(jax.grad(lambda spring: spring(3.0))(Spring(stiffness=2.0)).stiffness)
        4.5
    """

    __signature__ = _Signature()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        # a dataclass would compile these methods for every class; writing them once makes the import fast
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        _register(cls)

    def __init__(self, **values: Any) -> None:
        """Set every field by its name.

        Raises:
            TypeError: a required field is missing, or a name is not a field.
        """
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        names = [field.name for field in fields]
        for name in values:
            if name not in names:
                raise TypeError(f"{type(self).__name__}: no field {name!r}; the fields are {', '.join(names)}")
        for field in fields:
            if field.name in values:
                value = values[field.name]
            elif field.default is not dataclasses.MISSING:
                value = field.default
            elif field.default_factory is not dataclasses.MISSING:
                value = field.default_factory()
            else:
                raise TypeError(f"{type(self).__name__}: missing the keyword argument {field.name!r}")
            object.__setattr__(self, field.name, value)
        self.__post_init__()

    def __post_init__(self) -> None:  # noqa: B027
        """Check the fields; the default does nothing."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change a field."""
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        """Refuse to delete a field."""
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        return pformat(self, width=120, custom=_numbers)

    def replace(self, **changes: Any) -> Self:
        """Return a copy with new values of the named fields.

        Raises:
            TypeError: a name is not a field.
        """
        return type(self)(**{**vars(self), **changes})


def _numbers(x: object) -> TextDoc | None:
    """Return the numbers of a small array; of others, dtype and shape are shown."""
    if not isinstance(x, jax.Array) or isinstance(x, Tracer) or x.size > _FEW:
        return None
    if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key):
        return None
    return TextDoc(" ".join(np.array2string(np.asarray(x), separator=", ").split()))


def static_fields(struct: Struct) -> dict[str, Any]:
    """Return the static fields of a struct by name."""
    return {
        field.name: getattr(struct, field.name)
        for field in dataclasses.fields(struct)  # type: ignore[arg-type]
        if field.metadata.get(_KIND) == "static"
    }


def _register(cls: type) -> None:
    fields = dataclasses.fields(cls)
    children = tuple(f.name for f in fields if f.metadata.get(_KIND) is None)
    statics = tuple(f.name for f in fields if f.metadata.get(_KIND) == "static")
    functions = tuple(f.name for f in fields if f.metadata.get(_KIND) == "function")

    def split(struct: Any) -> tuple[list[str], tuple[Any, ...]]:
        bare = [name for name in functions if is_bare_function(getattr(struct, name))]
        dynamic = [name for name in functions if name not in bare]
        aux = tuple(getattr(struct, name) for name in statics)
        aux += tuple(getattr(struct, name) if name in bare else _Child.CHILD for name in functions)
        return [*children, *dynamic], aux

    def flatten_with_keys(struct: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        names, aux = split(struct)
        return [(jax.tree_util.GetAttrKey(name), getattr(struct, name)) for name in names], aux

    def flatten(struct: Any) -> tuple[list[Any], tuple[Any, ...]]:
        names, aux = split(struct)
        return [getattr(struct, name) for name in names], aux

    def unflatten(aux: tuple[Any, ...], values: Any) -> Any:
        # bypass __init__: JAX rebuilds structs with placeholders that would not pass its checks
        struct = object.__new__(cls)
        values = iter(values)
        for name in children:
            object.__setattr__(struct, name, next(values))
        for name, value in zip(statics, aux[: len(statics)], strict=True):
            object.__setattr__(struct, name, value)
        for name, value in zip(functions, aux[len(statics) :], strict=True):
            object.__setattr__(struct, name, next(values) if value is _Child.CHILD else value)
        return struct

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
