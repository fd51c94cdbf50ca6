"""Show `Example:` sections of docstrings as code, by renaming them to `Examples:`, the name that griffe knows."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Renames the sections when the sources are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rename the sections of one object's docstring."""
        del kwargs
        if obj.docstring:
            obj.docstring.value = re.sub(r"(?m)^(\s*)Example:$", r"\1Examples:", obj.docstring.value)
