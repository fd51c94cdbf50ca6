"""Show the fields of a struct as the parameters of its signature, which its source does not write out."""

from typing import Any

import griffe

STRUCT = "treedyn._struct.Struct"


class StructSignatures(griffe.Extension):
    """Gives every struct an `__init__` with its fields."""

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Add the signatures once all bases are known."""
        del loader, kwargs
        self._visit(pkg)

    def _visit(self, owner: griffe.Module) -> None:
        for member in owner.members.values():
            if isinstance(member, griffe.Module):
                self._visit(member)
            elif isinstance(member, griffe.Class) and any(base.path == STRUCT for base in member.mro()):
                fields = {}
                for base in (*reversed(member.mro()), member):
                    fields |= {x.name: x for x in base.members.values() if _is_field(x)}
                self_ = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
                named = [
                    griffe.Parameter(
                        name, annotation=x.annotation, default=_default(x), kind=griffe.ParameterKind.keyword_only
                    )
                    for name, x in fields.items()
                ]
                init = griffe.Function("__init__", parameters=griffe.Parameters(self_, *named), parent=member)
                member.set_member("__init__", init)


def _is_field(member: Any) -> bool:
    return isinstance(member, griffe.Attribute) and bool(member.annotation) and "instance-attribute" in member.labels


def _default(field: griffe.Attribute) -> Any:
    """Return the default of a field, which may stand in `static(default=...)` or `function(default=...)`."""
    value = field.value
    if not isinstance(value, griffe.ExprCall):
        return value
    named = [x.value for x in value.arguments if isinstance(x, griffe.ExprKeyword) and x.name == "default"]
    return named[0] if named else None
