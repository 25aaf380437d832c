"""The worked examples of CONTRIBUTING.md: a data set, a metric, a baseline, each added and run as it is written there."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.data.dataset import PersonDataset
from imagpose.data.pairs import pairs_of_dataset
from imagpose.data.rendered import prepare_people
from imagpose.people import iterate_views
from imagpose.pose import write_openpose_json

ROOT = Path(__file__).parents[1]
HEIGHT, WIDTH = 64, 48


def section(title: str) -> str:
    """One section of the page."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    """The blocks of code of one language, in their order."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [code for own, code in found if own == language]


def command(text: str) -> list[str]:
    """The words behind `imagpose` of the section's command."""
    (line,) = blocks(text, "")
    return shlex.split(line)[1:]


@pytest.fixture
def package(tmp_path) -> Path:
    """A folder with a copy of the package that may be changed; without its weights."""
    ignored = shutil.ignore_patterns("weights", "demo_people", "__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "copy" / "src", ignore=ignored)
    return tmp_path / "copy"


def change(root: Path, diff: str) -> None:
    """Make the changes of a block: what each of its parts takes away, with its context, is there once and is replaced."""
    name, *lines = diff.splitlines()
    path = root / name.removeprefix("+++ ")
    text = path.read_text(encoding="utf-8")
    parts: list[list[str]] = [[]]
    for line in lines:
        parts.append([]) if line == "@@" else parts[-1].append(line)
    for part in parts:
        before, after = ("".join(f"{line[1:]}\n" for line in part if line[0] in marks) for marks in (" -", " +"))
        assert text.count(before) == 1, f"{path.name} has {text.count(before)} times:\n{before}"
        text = text.replace(before, after)
    path.write_text(text, encoding="utf-8")


def run(package: Path, words: list[str], folder: Path) -> str:
    """The output of a command of the changed package."""
    environment = os.environ | {"PYTHONPATH": str(package / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "imagpose", *words, "--workers", "1"],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_data_set(package, tmp_path) -> None:
    text = section("Add a data set")
    (code,), (diff,) = blocks(text, "python"), blocks(text, "diff")
    (package / "src/imagpose/data/flat.py").write_text(code)
    change(package, diff)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    rendered = dict(
        zip(("anna", "ben"), (views for _, views in iterate_views((0, 1), 2, HEIGHT, WIDTH, 1)), strict=True)
    )
    for name, views in rendered.items():
        for number, view in enumerate(views):
            Image.fromarray(view.picture).save(pictures / f"{name}_{number}.png")
            write_openpose_json(view.pose, pictures / f"{name}_{number}.json")
    (pictures / "ben_1.png").write_bytes(b"no picture")

    output = run(package, command(text), tmp_path)
    people = PersonDataset(tmp_path / "data/flat", "train")
    assert people.identities == ["anna", "ben"] and people.view_counts.tolist() == [2, 1]
    for stored, view in zip(people.views("anna"), rendered["anna"], strict=True):
        np.testing.assert_array_equal(stored.decode(), view.picture)
        found = view.pose.keypoints[:, 2] > 0
        np.testing.assert_allclose(stored.keypoints[found], view.pose.keypoints[found], atol=0.01)
    assert "ben_1.png" in (tmp_path / "data/flat/problems.csv").read_text() and "1 skipped" in output


def test_the_metric(package, tmp_path) -> None:
    text = section("Add a metric")
    for diff in blocks(text, "diff"):
        change(package, diff)
    truth = np.random.default_rng(0).integers(10, 240, (HEIGHT, WIDTH, 3), np.uint8)
    for folder, shifts in (("generated", (3, -9)), ("reference", (0, 0))):
        (tmp_path / folder).mkdir()
        for name, shift in zip("ab", shifts, strict=True):
            Image.fromarray((truth.astype(int) + shift).astype(np.uint8)).save(tmp_path / folder / f"{name}.png")

    table = run(package, command(text), tmp_path)
    (row,) = [
        row for row in json.loads((tmp_path / "evaluation/summary.json").read_text())["rows"] if row["key"] == "l1"
    ]
    assert (row["value"], row["count"], row["higher"]) == (6.0, 2, False)
    order = [line.split(" | ")[0] for line in table.splitlines()]
    assert order.index("| PSNR, dB ↑") + 1 == order.index("| L1 ↓")


class Copying:
    """Stands for a model, which would take minutes; gives back its first source."""

    def __init__(self, vae) -> None:
        self.vae = vae

    def to(self, device):
        return self

    def set_progress_bar_config(self, **_): ...

    def __call__(self, sources, target_poses, **settings):
        return ([[own[0]] * len(poses) for own, poses in zip(sources, target_poses, strict=True)],)


def test_the_baseline(tmp_path, monkeypatch) -> None:
    pytest.importorskip("matplotlib")
    from imagpose.evaluation import model as evaluation
    from imagpose.evaluation.reproduce import items
    from imagpose.pipeline import IMAGPosePipeline

    text = section("Add a baseline")
    (code,) = blocks(text, "python")
    monkeypatch.chdir(tmp_path)
    prepare_people(0, 2, 3, HEIGHT, WIDTH, tmp_path / "data/people", test_people=2, workers=1)
    names: dict = {}
    exec(code, names)
    pairs = pairs_of_dataset("data/people", "test")
    assert len(list(Path("aligned").glob("*/*_to_*.png"))) == len(pairs) > 2
    view = names["people"].views(0)[0]
    np.testing.assert_array_equal(names["aligned"](view, view), view.decode())

    stand_in = Copying(IMAGPosePipeline.from_pretrained("mini").vae)
    for module in (evaluation, items):
        monkeypatch.setattr(module, "load_pipeline", lambda *_: stand_in)
    result = CliRunner().invoke(app, [*command(text), "--limit", "2"])
    assert result.exit_code == 0, result.output
    page = Path("runs/table1/table1.md").read_text()
    assert re.search(r"^\| aligned \| 0\.\d+", page, re.MULTILINE)
