"""Which modules a module imports, directly or through others, read from the source."""

import ast
import functools
from pathlib import Path

PACKAGE = "models_under_pressure"
SRC = Path(__file__).parents[2] / "src"


@functools.cache
def import_closure(module: str) -> frozenset[Path]:
    """Files of the package that importing `module`, and running its functions, can load."""
    seen: set[Path] = set()
    queue = [module]
    while queue:
        path = _file(queue.pop())
        if path is None or path in seen:
            continue
        seen.add(path)
        queue += _imports(path)
    return frozenset(path.relative_to(SRC.parent) for path in seen)


@functools.cache
def _imports(path: Path) -> list[str]:
    names: list[str] = []
    tree = ast.parse(path.read_text("utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and _is_for_types(node))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.startswith(PACKAGE)]


def _is_for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@functools.cache
def _file(module: str) -> Path | None:
    path = SRC / Path(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
