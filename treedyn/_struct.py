"""Frozen, keyword-only dataclasses that are PyTrees.

Every state, target, space, operator and dynamics of the library is a `Struct`. Its fields are PyTree children, so
their numbers are leaves: changing one does not retrace, `vmap` maps over it and `grad` differentiates with respect to
it. Two kinds of field are not plain children:

- `static()`: part of the tree structure (a name, a count, a flag). It must be hashable; changing it retraces.
- `function()`: something callable. A bare Python function has no leaves and becomes part of the structure; a callable
  that is itself a PyTree (a potential with parameters, an Equinox module) stays a child, so its numbers stay leaves.
"""

import dataclasses
import inspect
from abc import ABCMeta
from typing import Any, Self, dataclass_transform

import jax

_KIND = "treedyn.kind"


def static(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field that belongs to the tree structure instead of the leaves.

    Args:
        default: value of the field where none is given; without it the field is required.

    Returns:
        A dataclass field; its values must be hashable.

    Example:
        >>> import treedyn as td
        >>> class Chain(td.Struct):
        ...     mass: float
        ...     length: int = td.static(default=3)
        >>> jax.tree.leaves(Chain(mass=2.0))
        [2.0]
    """
    return dataclasses.field(metadata={_KIND: "static"}, default=default)


def function(default: Any = dataclasses.MISSING) -> Any:
    """Declare a field for a callable, which may be a bare function or a PyTree of its own.

    Args:
        default: value of the field where none is given; without it the field is required.

    Returns:
        A dataclass field. A bare function becomes static; a callable PyTree keeps its leaves.
    """
    return dataclasses.field(metadata={_KIND: "function"}, default=default)


def is_bare_function(value: Any) -> bool:
    """Tell whether `value` is a callable without leaves of its own: a function, lambda or unregistered object."""
    return callable(value) and jax.tree_util.all_leaves([value])


class _Child:
    """Marks, in the static half of a flattened struct, a `function()` field that was flattened as a child."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<child>"


_CHILD = _Child()


class _Signature:
    """The signature of a struct, made when somebody asks for it; its instances have that of their `__call__`."""

    def __get__(self, instance: Any, owner: type) -> inspect.Signature:
        if instance is not None or not dataclasses.is_dataclass(owner):
            raise AttributeError("__signature__")
        parameters = []
        for field in dataclasses.fields(owner):
            made = field.default_factory is not dataclasses.MISSING
            default = ... if made else field.default
            empty = inspect.Parameter.empty if default is dataclasses.MISSING else default
            parameters.append(
                inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=empty, annotation=field.type)
            )
        return inspect.Signature(parameters)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(static, function, dataclasses.field))
class Struct(metaclass=ABCMeta):  # noqa: B024
    """Turn every subclass into a frozen, keyword-only dataclass that is registered as a PyTree.

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
        # The methods that a dataclass would compile for every class are written once below: a hundred classes are then
        # ready in a few milliseconds.
        dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
        _register(cls)

    def __init__(self, **values: Any) -> None:
        """Set every field by its name.

        Raises:
            TypeError: a field without a default is missing, or a name is not a field.
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
                raise TypeError(f"{type(self).__name__}: missing the argument {field.name!r}; give it by its name")
            object.__setattr__(self, field.name, value)
        self.__post_init__()

    def __post_init__(self) -> None:  # noqa: B027
        """Check the fields; by default they are taken as they are."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to change a field."""
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}; use replace({name}=...)")

    def __delattr__(self, name: str) -> None:
        """Refuse to delete a field."""
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")

    def __repr__(self) -> str:
        fields = [f.name for f in dataclasses.fields(self) if f.repr]  # type: ignore[arg-type]
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in fields)})"

    def replace(self, **changes: Any) -> Self:
        """Return a copy in which the named fields are replaced.

        Raises:
            TypeError: a name is not a field of this struct.
        """
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        unknown = [name for name in changes if name not in names]
        if unknown:
            raise TypeError(
                f"{type(self).__name__}.replace: no field {unknown[0]!r}; the fields are {', '.join(names)}"
            )
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]


def static_fields(struct: Struct) -> dict[str, Any]:
    """Return the static fields of a struct by their names."""
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
        aux += tuple(getattr(struct, name) if name in bare else _CHILD for name in functions)
        return [*children, *dynamic], aux

    def flatten_with_keys(struct: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        names, aux = split(struct)
        return [(jax.tree_util.GetAttrKey(name), getattr(struct, name)) for name in names], aux

    def flatten(struct: Any) -> tuple[list[Any], tuple[Any, ...]]:
        names, aux = split(struct)
        return [getattr(struct, name) for name in names], aux

    def unflatten(aux: tuple[Any, ...], values: Any) -> Any:
        # Bypasses __init__ on purpose: JAX rebuilds structs around placeholders, which no validation would accept.
        struct = object.__new__(cls)
        values = iter(values)
        for name in children:
            object.__setattr__(struct, name, next(values))
        for name, value in zip(statics, aux[: len(statics)], strict=True):
            object.__setattr__(struct, name, value)
        for name, value in zip(functions, aux[len(statics) :], strict=True):
            object.__setattr__(struct, name, next(values) if value is _CHILD else value)
        return struct

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
