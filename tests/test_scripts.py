"""Scripts beside the package, which no other test runs, name only what the package has."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted([*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_name_that_a_script_imports_exists(script):
    missing = []
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("models_under_pressure"):
            if find_spec(node.module) is None:
                missing.append(node.module)
                continue
            module = import_module(node.module)
            for name in node.names:
                if not hasattr(module, name.name) and find_spec(f"{node.module}.{name.name}") is None:
                    missing.append(f"{node.module}.{name.name}")
    assert not missing
