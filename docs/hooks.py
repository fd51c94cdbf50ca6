"""Show objects of the reference under their usual names: `td.nve`, `tp.pair_energy`, `view.render`."""

import re
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parents[1]
_SHORT = (
    ("treedyn.particles.", "tp."),
    ("treedyn.view.", "view."),
    ("treedyn.testing.", "testing."),
    ("treedyn.", "td."),
)


def on_page_markdown(markdown: str, **kwargs: Any) -> str:
    """Add a heading to every `::: name` block, and the public names to a package."""
    del kwargs
    return re.sub(r"(?m)^::: (treedyn\.[\w.]+)\n((?:    .*\n)*)", _with_options, markdown + "\n")


def _with_options(block: re.Match[str]) -> str:
    name, options = block.group(1), block.group(2) or "    options:\n"
    short = next(new + name.removeprefix(old) for old, new in _SHORT if name.startswith(old))
    options += f"      heading: {short}\n      toc_label: {short}\n"
    face = _ROOT.joinpath(*name.split("."), "__init__.py")
    if face.exists() and "members:" not in options:
        members = re.findall(r"import ([a-z]\w*) as \1$", face.read_text(), re.MULTILINE)
        options += f"      members: [{', '.join(members)}]\n"
    return f"::: {name}\n{options}"
