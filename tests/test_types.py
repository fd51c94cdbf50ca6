"""What the type checker finds in code of a user: half-written subclasses and overrides with another signature."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = """
import jax
import treedyn as td


class Half(td.Operator):
    name = "half"


Half()


class Other(td.Space):
    def shift(self, position: jax.Array) -> jax.Array:
        return position

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        return a - b


class Own(td.Targeted):
    def step(self, state: td.State, env: td.tree.PyTree = None) -> td.State:
        return state


class Good(td.Space):
    def shift(self, position: jax.Array, displacement: jax.Array) -> jax.Array:
        return position + displacement

    def displacement(self, a: jax.Array, b: jax.Array) -> jax.Array:
        return a - b


Good()
"""


@pytest.mark.slow
def test_contracts_are_checked_before_the_code_runs(tmp_path):
    (tmp_path / "own.py").write_text(CODE)
    settings = {"include": ["own.py"], "extraPaths": [str(ROOT)], "typeCheckingMode": "standard"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = ["pyright", "-p", str(tmp_path), "--outputjson", "--pythonpath", sys.executable]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    rules = sorted((x["rule"], x["range"]["start"]["line"] + 1) for x in found["generalDiagnostics"])
    lines = CODE.splitlines()
    where = {
        name: next(k + 1 for k, line in enumerate(lines) if line.startswith(name)) for name in ("Half()", "Good()")
    }
    assert ("reportAbstractUsage", where["Half()"]) in rules
    assert {rule for rule, _ in rules} == {"reportAbstractUsage", "reportIncompatibleMethodOverride"}
    assert len(rules) == 3 and where["Good()"] not in {line for _, line in rules}
