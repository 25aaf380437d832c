"""The command line as a user meets it, where that matters in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import Pose, read_pose, write_openpose_json


def start(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "120", "TERM": "dumb", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", "from imagpose.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env=environment, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good picture, one good pose and every kind of bad file."""
    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(np.full((128, 96, 3), 90, np.uint8)).save(folder / "good.png")
    points = np.stack([np.linspace(20, 70, 18), np.linspace(10, 120, 18), np.ones(18)], 1)
    write_openpose_json(Pose(points, 96, 128), folder / "good.json")
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    Image.new("L", (30_000, 16)).save(folder / "huge.png")
    (folder / "text.png").write_text("no picture")
    (folder / "broken.json").write_text("{")
    (folder / "nobody.json").write_text(json.dumps({"people": []}))
    outside = [value for _ in range(18) for value in (500, 500, 1)]
    (folder / "outside.json").write_text(
        json.dumps({"people": [{"pose_keypoints_2d": outside}], "canvas_width": 96, "canvas_height": 128})
    )
    damaged = folder / "damaged"
    damaged.mkdir()
    (damaged / "model_index.json").write_text("{}")
    return folder


@pytest.mark.parametrize("command", [[], ["generate"]], ids=["imagpose", "generate"])
def test_help_is_shown(command: list[str]) -> None:
    shown = start(*command, "--help")
    assert shown.returncode == 0 and "Usage: " in shown.stdout and not shown.stderr


@pytest.mark.parametrize("statement", ["import imagpose", "import imagpose.cli", "from imagpose import Pose"])
def test_importing_does_not_import_torch(statement: str) -> None:
    code = f"{statement}; import sys; print(sorted({{'torch', 'diffusers', 'transformers'}} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert shown.stdout.strip() == "[]"


def test_version() -> None:
    from imagpose import __version__

    assert start("--version").stdout.strip() == f"imagpose {__version__}"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"--source": "absent.png"}, ("absent.png", "not found")),
        ({"--source": "text.png"}, ("text.png", "not a picture")),
        ({"--source": "pixel.png"}, ("pixel.png", "1x1")),
        ({"--source": "huge.png"}, ("huge.png", "16x30000")),
        ({"--pose": "absent.json"}, ("absent.json", "not found")),
        ({"--pose": "broken.json"}, ("broken.json", "JSON")),
        ({"--pose": "nobody.json"}, ("nobody.json", "people")),
        ({"--pose": "outside.json"}, ("outside.json", "128x96")),
        ({"--pose": "good.png"}, ("good.png", "no coloured limbs")),
        ({"--grid": "0x3"}, ("0x3",)),
        ({"--grid": "two"}, ("two", "2x2")),
        ({"--scenario": "T9"}, ("T9", "T1, T2, T3")),
        ({"--steps": "0"}, ("steps", "0")),
        ({"--model": "nothing"}, ("nothing", "mini")),
        ({"--model": "damaged"}, ("damaged",)),
    ],
    ids=lambda value: " ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_line_and_leaves_nothing(
    inputs: Path, tmp_path: Path, monkeypatch, run, changes: dict[str, str], words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(inputs)
    options = {"--source": "good.png", "--pose": "good.json", "--out": str(tmp_path / "out"), **changes}
    ended = run("generate", *(word for option in options.items() for word in option))
    assert ended.code == 2
    assert_one_line(ended.err, words)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_of_the_whole_process(inputs: Path, tmp_path: Path) -> None:
    """Nothing that is imported warns, and nothing is said as the process ends."""
    ended = start("generate", "--source", "text.png", "--pose", "good.json", "--out", tmp_path / "out", cwd=inputs)
    assert ended.returncode == 2 and not ended.stdout
    assert_one_line(ended.stderr, ("text.png", "not a picture"))


def assert_one_line(text: str, words: tuple[str, ...]) -> None:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_missing_inputs_are_named(tmp_path: Path, run) -> None:
    for given, missing in ((["--pose", "a.json"], "no source picture"), (["--source", "a.png"], "no target pose")):
        ended = run("generate", *given, "--out", tmp_path / "out")
        assert ended.code == 2
        assert missing in ended.err and len(ended.err.strip().splitlines()) == 1


def test_people_writes_pictures_poses_and_masks_and_continues(tmp_path: Path) -> None:
    options = (
        "people",
        "--seed",
        2_000_001,
        "--count",
        1,
        "--views",
        2,
        "--size",
        "128x96",
        "--workers",
        1,
        "--out",
        tmp_path,
    )
    ended = start(*options)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "2000001"
    files = {path.name for path in folder.iterdir()}
    assert files >= {f"{view}{ending}" for view in (0, 1) for ending in (".png", ".json", "_mask.png")}
    picture, mask = Image.open(folder / "0.png"), np.asarray(Image.open(folder / "0_mask.png"))
    assert picture.size == (96, 128)
    pose = read_pose(folder / "0.json")
    assert (pose.width, pose.height) == (96, 128)
    x, y = pose.keypoints[pose.keypoints[:, 2] == 1, :2].astype(int).T
    assert (mask[y, x] > 0).all()  # what is seen of a person lies in the mask
    before = (folder / "0.png").stat().st_mtime_ns
    assert start(*options).returncode == 0
    assert (folder / "0.png").stat().st_mtime_ns == before


def test_bad_size_and_configuration(tmp_path: Path, run) -> None:
    ended = run("people", "--size", "big", "--out", tmp_path / "people")
    assert (ended.code, len(ended.err.strip().splitlines())) == (2, 1)
    config = tmp_path / "config.yaml"
    config.write_text("stepz: 3\n")
    ended = run("train", "autoencoder", "--config", config)
    assert ended.code == 2
    assert "stepz: unknown key" in ended.err
    assert len(ended.err.strip().splitlines()) == 1
