"""`imagpose poses show`, `draw` and `convert`, as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from imagpose.cli.commands import app
from imagpose.pose import read_poses, read_skeleton_picture

CASES = Path(__file__).parents[1] / "pose" / "cases"


def run(*words: object):
    return CliRunner().invoke(app, ["poses", *map(str, words)])


def test_show_prints_format_units_frame_person_and_joints():
    result = run(
        "show", CASES / "poses" / "two_people_outlier.json", CASES / "poses" / "yolo.json", "--pose-frame", "768x512"
    )
    assert result.exit_code == 0
    assert "format   OpenPose JSON, COCO_18" in result.output
    assert "frame 768x512 (stated by the file); person 2 of 2; 18 of 18 joints" in result.output
    assert "format   Ultralytics JSON, COCO-17" in result.output
    assert "frame 768x512 (given); 18 of 18 joints" in result.output
    chosen = run("show", CASES / "poses" / "two_people_outlier.json", "--person", 1)
    assert "person 1 of 2; 17 of 18 joints, without right_wrist" in chosen.output


def test_draw_at_any_size_and_with_the_sticks_of_controlnet(tmp_path):
    base = CASES / "poses" / "base.json"
    assert run("draw", base, "--out", tmp_path / "a.png", "--size", "1536x1024").exit_code == 0
    assert run("draw", base, "--out", tmp_path / "b.png", "--size", "1536x1024", "--controlnet").exit_code == 0
    truth = read_poses(base)[0].resize(1024, 1536)
    for name in ("a.png", "b.png"):
        picture = Image.open(tmp_path / name)
        assert picture.size == (1024, 1536)
        read, _ = read_skeleton_picture(picture)
        assert np.hypot(*(read.keypoints - truth.keypoints)[:, :2].T).max() < 3
    places = truth.keypoints[10, :2].astype(int)  # the right ankle: nothing else is near
    for name, radius in (("a.png", 12), ("b.png", 4)):
        row = np.asarray(Image.open(tmp_path / name))[places[1], :, 2] > 200
        assert abs(row.sum() - (2 * radius + 1)) <= 2


@pytest.mark.parametrize(
    "words",
    [("draw", CASES / "poses" / "base.json", "--out"), ("convert", CASES / "poses" / "base.json"),
     ("list", "walk-01", "--sheet")],
)  # fmt: skip
def test_the_folder_of_a_file_is_made(words, tmp_path):
    out = tmp_path / "new" / "folder" / ("a.json" if words[0] == "convert" else "a.png")
    assert run(*words, out).exit_code == 0
    assert [file.name for file in out.parent.iterdir()] == [out.name]


@pytest.mark.parametrize(("size", "file"), [("768x512", "body_512.png"), ("1536x1024", "body_1024.png")])
def test_controlnets_sticks_are_those_of_its_own_drawings(size, file, tmp_path):
    run("draw", CASES / "poses" / "base.json", "--out", tmp_path / "a.png", "--size", size, "--controlnet")
    own, theirs = (
        np.asarray(Image.open(picture).convert("RGB"), int)
        for picture in (tmp_path / "a.png", CASES / "skeletons" / file)
    )
    different, drawn = int((own != theirs).any(2).sum()), int(theirs.any(2).sum())
    assert different <= 0.02 * drawn  # 0.6 and 1.6 %: pixels of edges; another rounding of one angle gives 10 %


def test_convert_writes_openpose_json_of_one_pose_or_of_frames(tmp_path):
    result = run("convert", CASES / "poses" / "mediapipe.json", tmp_path / "one.json", "--pose-frame", "768x512")
    assert result.exit_code == 0
    data = json.loads((tmp_path / "one.json").read_text())
    assert (data["canvas_height"], data["canvas_width"]) == (768, 512)
    assert data["people"][0]["pose_keypoints_2d"][:3] == [256.0, 120.0, 0.9]
    assert run("convert", CASES / "poses" / "comfy_frames.json", tmp_path / "all.json").exit_code == 0
    assert len(json.loads((tmp_path / "all.json").read_text())) == 3
    assert run("convert", CASES / "skeletons" / "body_512.png", tmp_path / "drawn.json").exit_code == 0
    assert read_poses(tmp_path / "drawn.json")[0].visible.all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", CASES / "poses" / "yolo.json"), "--pose-frame HEIGHTxWIDTH"),
        (("show", CASES / "poses" / "yolo.json", "--pose-frame", "768"), "height x width expected"),
        (("show", CASES / "poses"), "a folder; give its files"),
        (("draw", CASES / "poses" / "base.json", "--out", "a.jpg"), "written as .png"),
        (("draw", CASES / "poses" / "base.json", "--out", "a.png", "--size", "1x1"), "sides from 16"),
        (("convert", CASES / "poses" / "base.json", "a.txt"), "a .json"),
    ],
)
def test_refusals(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*words)
    assert result.exit_code != 0
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())
