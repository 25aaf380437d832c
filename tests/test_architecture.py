"""The imports of the package against the tables of docs/architecture.md."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagpose

ROOT = Path(imagpose.__file__).parent
TABLES = Path(__file__).parents[1] / "docs" / "architecture.md"
FREE = {"imagpose", "__main__"}  # what a user imports, and `python -m imagpose`: nobody imports them

Graph = dict[str, set[str]]


def import_graph(root: Path) -> Graph:
    """The package's modules and which others they import, anywhere in their code; `root` is the package's folder."""
    files = {_module(path, root): path for path in sorted(root.rglob("*.py"))}
    return {module: set(_imported(module, path, files)) - {module} for module, path in files.items()}


def _module(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(module: str, path: Path, modules: dict[str, Path]) -> Iterator[str]:
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            for alias in node.names:
                if f"{base}.{alias.name}" in modules:
                    yield f"{base}.{alias.name}"
                elif base in modules:
                    yield base


def room_of(module: str) -> str:
    """imagpose.data.groups -> data."""
    return [*module.split("."), module][1]


def forbidden(graph: Graph, allowed: dict[str, set[str]], common: set[str]) -> set[tuple[str, str]]:
    """Pairs of modules of which the first imports the second and its room may not."""
    return {
        (module, other)
        for module, others in graph.items()
        for other in others
        if room_of(module) not in FREE
        and room_of(module) != room_of(other)
        and room_of(other) not in allowed.get(room_of(module), set()) | (set() if room_of(module) in common else common)
    }


def circles(graph: Graph) -> list[list[str]]:
    """Each group of modules that import one another, directly or not."""
    found: set[frozenset[str]] = set()
    reach = {module: _reached(graph, module) for module in graph}
    for module in graph:
        group = frozenset(other for other in reach[module] if module in reach[other])
        found |= {group} if group else set()
    return sorted(sorted(group) for group in found)


def _reached(graph: Graph, module: str) -> set[str]:
    reached: set[str] = set()
    waiting = [*graph[module]]
    while waiting:
        other = waiting.pop()
        if other not in reached:
            reached.add(other)
            waiting += graph.get(other, ())
    return reached


def listed_rooms() -> tuple[dict[str, set[str]], set[str]]:
    """What each room may import beside the common ones, in the order of the document; and the common ones."""
    tables = TABLES.read_text(encoding="utf-8").split("In layers:")
    rows = [re.findall(r"^\| `(\w+)` \|.*\|([^|]*)\|$", part.split("## How")[0], re.MULTILINE) for part in tables]
    allowed = {room: set(re.findall(r"`(\w+)`", others)) for part in rows for room, others in part}
    return allowed, {room for room, _ in rows[0]}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return import_graph(ROOT)


def test_the_document_lists_every_room_and_arrows_point_up_only(graph):
    allowed, common = listed_rooms()
    assert {"io", "workers", "pixels"} <= common and "models" in allowed
    rooms = {room_of(module) for module in graph} - FREE
    assert rooms == set(allowed)
    order = list(allowed)
    for room, others in allowed.items():
        above = set(order[: order.index(room)])
        assert others <= above, f"{room} may not import {', '.join(sorted(others - above))}, which stands below it"


def test_rooms_import_what_the_document_allows(graph):
    allowed, common = listed_rooms()
    wrong = forbidden(graph, allowed, common)
    assert not wrong, "\n".join(f"{module} imports {other}" for module, other in sorted(wrong))


def test_no_modules_import_one_another_in_a_circle(graph):
    assert not circles(graph), circles(graph)


def test_a_planted_arrow_and_a_planted_circle_are_found(tmp_path):
    """Lazy, relative and type-only imports of a small package of its own."""
    package = tmp_path / "imagpose"
    files = {
        "__init__.py": "",
        "low.py": "import torch\n\ndef work():\n    from imagpose.high import first\n    return first\n",
        "high/__init__.py": "",
        "high/first.py": "from . import second\n",
        "high/second.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from imagpose.high.third import Three\n"
        ),
        "high/third.py": "import imagpose.high.first\nfrom imagpose import low\n",
        "common.py": "from imagpose.low import work\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    graph = import_graph(package)
    first, second, third = (f"imagpose.high.{name}" for name in ("first", "second", "third"))
    assert graph[first] == {second} and graph[second] == {third} and graph["imagpose.low"] == {first}
    assert forbidden(graph, {"high": {"low"}, "low": set()}, {"common"}) == {
        ("imagpose.low", first), ("imagpose.common", "imagpose.low"),
    }  # fmt: skip
    assert circles(graph) == [[first, second, third, "imagpose.low"]]
    assert circles({module: others - {second} for module, others in graph.items()}) == []


# Shorter than 30 lines all the same, each for its own reason.
SHORT = {
    "imagpose.__main__",  # `python -m imagpose`
    "imagpose.version",  # read by the build
    "imagpose.people.splits",  # the promise that nobody is both trained on and judged on
}


def test_files_and_functions_can_be_read_at_once():
    """Files of 30 to 400 lines, functions of at most 60 without their documentation; packages may be short."""
    files, functions = set(), set()
    for path in ROOT.rglob("*.py"):
        text, module = path.read_text(encoding="utf-8"), _module(path, ROOT)
        lines = text.count("\n")
        if lines > 400 or (lines < 30 and path.name != "__init__.py" and module not in SHORT):
            files.add((module, lines))
        for scope in ast.walk(ast.parse(text)):
            for node in getattr(scope, "body", ()) if isinstance(scope, (ast.Module, ast.ClassDef)) else ():
                owner = f"{module}.{scope.name}" if isinstance(scope, ast.ClassDef) else module
                if isinstance(node, ast.FunctionDef):
                    documented = node.body[0].end_lineno - node.body[0].lineno + 1 if ast.get_docstring(node) else 0
                    length = node.end_lineno - node.lineno + 1 - documented
                    functions |= {(f"{owner}.{node.name}", length)} if length > 60 else set()
    assert not files and not functions, (sorted(files), sorted(functions))


@pytest.mark.parametrize("document", ["architecture.md", "glossary.md"])
def test_what_the_documents_name_exists(document, graph):
    """`views.plan` is a name in imagpose.views, `training.loop` a module."""
    text = (TABLES.parent / document).read_text(encoding="utf-8")
    rooms = {room_of(module) for module in graph} - FREE
    names = {name for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", text) if name.split(".")[0] in rooms}
    assert len(names) >= 5
    unknown = {name for name in names if f"imagpose.{name}" not in graph and not _defines(name)}
    assert not unknown, unknown


def _defines(name: str) -> bool:
    module, _, own = name.rpartition(".")
    place = ROOT.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    defined = rf"^(?:def |class )?{own}\b|import .*\b{own}\b|^ +{own},$"  # the last in a list of imported names
    return file.is_file() and re.search(defined, file.read_text(encoding="utf-8"), re.MULTILINE) is not None
