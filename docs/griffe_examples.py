"""Show `Example:` sections of docstrings as code; griffe knows them by the name `Examples:` only."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the sections while the sources are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the sections of one object's docstring."""
        del kwargs
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^(\s*)Example:$", r"\1Examples:", obj.docstring.value)
