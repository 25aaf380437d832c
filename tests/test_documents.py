"""What README, CONTRIBUTING, the pages in docs and the package's description say, against the code and the files."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml

import imagpose

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
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


def test_the_citation_names_the_version_the_licence_and_the_paper_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    described = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (paper,) = citation["references"]
    assert citation["version"] == imagpose.__version__
    assert f'license = "{citation["license"]}"' in described
    assert f'Paper = "{paper["url"]}"' in described


def test_the_package_says_that_it_is_typed():
    assert files("imagpose").joinpath("py.typed").is_file()
