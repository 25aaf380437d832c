"""Benchmarks and tools ask the package only for names that it has: nothing else runs most of them."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path for folder in ("benchmarks", "tools") for path in (ROOT / folder).glob("*.py"))


def imported(path: Path) -> list[tuple[str, str]]:
    """Module and name of every `from imagpose... import ...`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    return [(own.module, alias.name) for own in froms if own.module.startswith("imagpose") for alias in own.names]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_a_script_imports_is_there(script: Path) -> None:
    for module, name in imported(script):
        found = import_module(module)
        if not hasattr(found, name):
            import_module(f"{module}.{name}")


def test_there_are_scripts_and_they_use_the_package() -> None:
    assert sum(bool(imported(script)) for script in SCRIPTS) > 10
