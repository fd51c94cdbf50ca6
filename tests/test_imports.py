"""The direction of imports: plugins know the core, the core knows no plugin, and `import treedyn` loads neither."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "treedyn"
PLUGINS = {"particles", "networks", "diffusion"}
TOP = {"view", "demo", "cli"}
# the rooms of the core that a user sees as `td.<name>`
NAMESPACES = {
    *(
        "bijector",
        "diagnostics",
        "driver",
        "dynamics",
        "environment",
        "metric",
        "minimize",
        "montecarlo",
        "noise",
        "operators",
        "schedule",
    ),
    *("space", "store", "stream", "tree"),
}
EXTRAS = {
    *("optax", "flax", "equinox", "diffrax", "tqdm", "matplotlib", "PIL", "imageio", "imageio_ffmpeg"),
    *("ase", "vesin", "gsd", "h5py", "zarr", "MDAnalysis"),
}


def files(*parts: str) -> list[Path]:
    found = []
    for part in parts:
        found += sorted((PACKAGE / part).rglob("*.py")) if (PACKAGE / part).is_dir() else []
    return found


def core_files() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if part_of(path) not in PLUGINS | TOP]


def part_of(path: Path) -> str:
    """Return the module or subpackage directly below `treedyn` to which a file belongs."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_names(tree: ast.AST, path: Path) -> Iterator[str]:
    """Yield the absolute dotted name of everything that is imported anywhere in a file, inside functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(path.relative_to(PACKAGE.parent).with_suffix("").parts[: -node.level]) if node.level else []
            base = ".".join([*package, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def imported_parts(path: Path) -> set[str]:
    """Return the parts of treedyn (names directly below the package) that a file imports."""
    names = imported_names(ast.parse(path.read_text()), path)
    return {name.split(".")[1] for name in names if name.startswith("treedyn.")}


@functools.cache
def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(result.stdout.split())


def test_modules_are_private_and_packages_have_a_face():
    public = [path for path in PACKAGE.rglob("*.py") if not path.name.startswith("_")]
    assert [path.name for path in public] == ["cli.py"]  # a command, started with `python -m`
    for path in PACKAGE.rglob("__init__.py"):
        imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)]
        assert all(alias.asname == alias.name for node in imports for alias in node.names), path


def test_no_name_of_a_face_is_shadowed_by_a_module():
    modules = "(name for name in dir(treedyn) if isinstance(getattr(treedyn, name), types.ModuleType))"
    code = f"import types, treedyn; print(*(name for name in {modules} if not name.startswith('_')))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert set(found.split()) == NAMESPACES


def test_import_scan_sees_every_form_of_import():
    code = "import treedyn.view\ndef f():\n  from treedyn import particles as tp\n  from ..networks.mlp import x\n"
    names = set(imported_names(ast.parse(code), PACKAGE / "driver" / "run.py"))
    assert names == {"treedyn.view", "treedyn.particles", "treedyn.networks.mlp.x"}


def test_core_imports_no_plugin():
    wrong = {str(path): bad for path in core_files() if (bad := imported_parts(path) & (PLUGINS | TOP))}
    assert not wrong


@pytest.mark.parametrize("plugin", sorted(PLUGINS))
def test_plugin_imports_no_other_plugin(plugin):
    forbidden = (PLUGINS | TOP) - {plugin}
    wrong = {str(path): bad for path in files(plugin) if (bad := imported_parts(path) & forbidden)}
    assert not wrong


def test_import_treedyn_loads_no_plugin_and_no_extra():
    loaded = loaded_by("import treedyn")
    assert not {name for name in loaded if name.startswith(tuple(f"treedyn.{part}" for part in PLUGINS | TOP))}
    # what jax itself loads is not ours to forbid
    roots = {name.split(".")[0] for name in loaded - loaded_by("import jax")}
    assert not roots & EXTRAS


@pytest.mark.parametrize("modules", ["treedyn.particles", "treedyn.diffusion", "treedyn.view, treedyn.cli"])
def test_importing_a_plugin_loads_no_extra(modules):
    roots = {name.split(".")[0] for name in loaded_by(f"import {modules}") - loaded_by("import jax")}
    assert not roots & EXTRAS


def test_import_treedyn_adds_less_than_300_ms_to_import_jax():
    # CPU time, the best of three, so that a busy machine does not count
    code = (
        "import time, jax, jax.numpy; start = time.process_time(); import treedyn; print(time.process_time() - start)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    assert min(float(run.stdout) for run in runs) < 0.3
