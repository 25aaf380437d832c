"""Fixtures of the training tests: no renderer, configurations in the test's own folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_people import fake_views, values_of_run
from tiny_networks import save_frozen

from imagpose import people


@pytest.fixture(autouse=True, scope="module")
def _fake_people() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(people), "iterate_views", fake_views)
        yield


@pytest.fixture(scope="package")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a tiny autoencoder and a tiny image encoder."""
    folder = tmp_path_factory.mktemp("frozen")
    save_frozen(folder)
    return folder


@pytest.fixture
def run_values(tmp_path: Path) -> dict:
    """`values_of_run` in the test's own folder."""
    return values_of_run(tmp_path)


@pytest.fixture
def write_config(tmp_path: Path):
    """Write YAML values to a file; returns its path."""

    def write(values: dict, name: str = "config.yaml") -> Path:
        path = tmp_path / name
        path.write_text(yaml.safe_dump(values))
        return path

    return write
