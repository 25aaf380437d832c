"""What README, CONTRIBUTING, the pages in docs and the package's description say, against the code and the files."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

import imagpose
from imagpose.cli.commands import app
from imagpose.pictures import load_picture

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
README, CONTRIBUTING = PAGES[:2]
PACKAGE = ROOT / "src" / "imagpose"
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

each_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[tuple[str, str]]:
    """Text and target of the links that stay in the repository."""
    found = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose(page))
    return [(text, target) for text, target in found if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Names by which the headings of a page can be linked to."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_links_lead_somewhere(page):
    for _, target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@each_page
def test_names_that_link_to_a_module_are_defined_in_it(page):
    for text, target in links(page):
        if target.endswith(".py") and (name := re.fullmatch(r"`(\w+)`", text)):
            assert name[1] in defined(page.parent / target), f"{text} in {target}"


def defined(file: Path) -> set[str]:
    """Names that a module, or a class in it, defines."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {own.id for own in targets if isinstance(own, ast.Name)}
    return names


@each_page
def test_modules_and_files_that_are_named_are_there(page):
    text = prose(page)
    for name in set(re.findall(r"`(\w+(?:\.\w+)+)`", text)):
        room, *rest = name.removeprefix("imagpose.").split(".")
        is_ours = name.startswith("imagpose.") or (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
        is_file_or_field = rest[-1:] in (["py"], ["json"]) or (room == "data" and page.name == "training.md")
        assert not is_ours or is_file_or_field or is_named([room, *rest]), name
    for name in set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|sh|yaml))`", text)):
        is_example = page == CONTRIBUTING and name.endswith("flat.py")
        assert is_example or (ROOT / name).is_file() or (PACKAGE / name).is_file(), name


def is_named(names: list[str]) -> bool:
    """Whether `names` lead to a module of the package, or to something that a module names."""
    place = PACKAGE
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    file = place / f"{names.pop(0)}.py" if names and (place / f"{names[0]}.py").is_file() else place / "__init__.py"
    return file.is_file() and (not names or re.search(rf"\b{names[0]}\b", file.read_text(encoding="utf-8")) is not None)


@each_page
def test_commands_are_taken_by_the_command_line(page):
    for words in commands(page):
        command: Any = typer.main.get_command(app)
        name = ["imagpose"]
        while hasattr(command, "commands") and len(name) <= len(words):
            word = words[len(name) - 1]
            assert word in command.commands, f"imagpose {shlex.join(words)}"
            command = command.commands[word]
            name.append(word)
        rest = words[len(name) - 1 :]
        if not {"--help", "..."} & set(rest):
            command.make_context(" ".join(name), rest)  # a missing or an unknown option is an error


def commands(page: Path) -> Iterator[list[str]]:
    """The words behind `imagpose` of the commands on lines of their own, continued lines joined.

    Those of CONTRIBUTING are `test_contributing`'s, one of them adds a command.
    """
    if page == CONTRIBUTING:
        return
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for line in re.findall(r"^ *(?:[^`|\n]*(?:-m|-python) )?imagpose +([a-z].*)$", text, re.MULTILINE):
        yield shlex.split(line.rstrip("'"), comments=True)


def test_the_citation_names_the_version_the_licence_and_the_paper_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    described = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (paper,) = citation["references"]
    assert citation["version"] == imagpose.__version__
    assert f'license = "{citation["license"]}"' in described
    assert f'Paper = "{paper["url"]}"' in described
    readme = README.read_text(encoding="utf-8").replace("{IMAGPose}", "IMAGPose")
    for part in (paper["title"], paper["url"], *(author["family-names"] for author in paper["authors"])):
        assert part in readme


def test_the_package_says_that_it_is_typed():
    assert files("imagpose").joinpath("py.typed").is_file()


def test_the_example_of_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    (example,) = blocks(README)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    first, second = (load_picture(tmp_path / f"pose-{number}.png") for number in range(2))
    height, width = names["size"]
    assert first.size == second.size == (width, height)
    assert first.tobytes() != second.tobytes()


def blocks(page: Path) -> list[str]:
    """The blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
