"""Detecting poses by rtmlib, with networks whose answer is known by hand (tests/conftest.py)."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.cli import main
from imagpose.pose import KEYPOINT_NAMES, Pose, read_pose
from imagpose.pose.rtmpose import RTMPose, detection_models

COCO = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
RED = ("red", (60, 40, 140, 240), (100.0, 150.0))
GREEN = ("green", (180, 100, 230, 200), (205.0, 140.0))


@pytest.fixture
def detector(pose_networks: Path, monkeypatch: pytest.MonkeyPatch) -> RTMPose:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pose_networks))
    return RTMPose(threads=1)


def expected_places(box: tuple[int, int, int, int], spot: tuple[float, float]) -> dict[str, np.ndarray]:
    """RTMPose's input shows the box, a quarter wider and of the aspect 192:256, in 192 x 256 pixels."""
    width, height = 1.25 * (box[2] - box[0]), 1.25 * (box[3] - box[1])
    scale = max(width / 192, height / 256)
    return {
        name: np.array(spot) + scale * np.array((7 * number - 50, 45 - 5 * number)) for number, name in enumerate(COCO)
    }


def check(pose: Pose, box: tuple[int, int, int, int], spot: tuple[float, float]) -> None:
    expected = expected_places(box, spot)
    for name, (x, y, confidence) in zip(KEYPOINT_NAMES, pose.keypoints, strict=True):
        if name == "neck":
            middle = (expected["left_shoulder"] + expected["right_shoulder"]) / 2
            np.testing.assert_allclose((x, y), middle, atol=2)
            assert confidence == pytest.approx(1.0 - 0.05 * COCO.index("right_shoulder"), abs=0.03)  # the lower of two
        elif name in ("left_ankle", "right_ankle"):  # confidences 0.25 and 0.2
            assert confidence == 0
        else:
            np.testing.assert_allclose((x, y), expected[name], atol=2)
            assert confidence == pytest.approx(1.0 - 0.05 * COCO.index(name), abs=0.03)


def test_key_points_are_where_the_network_says(detector: RTMPose, block_person) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pose = detector(block_person((300, 260), RED))
    assert (pose.width, pose.height) == (300, 260)
    check(pose, *RED[1:])


def test_of_two_people_the_largest_is_taken_and_it_is_said(detector: RTMPose, block_person) -> None:
    with pytest.warns(UserWarning, match="2 people in the picture; the largest is taken"):
        pose = detector(block_person((300, 260), GREEN, RED))
    check(pose, *RED[1:])
    larger = ("green", (150, 10, 290, 250), (205.0, 140.0))
    with pytest.warns(UserWarning, match="2 people"):
        check(detector(block_person((300, 260), larger, RED)), *larger[1:])


def test_people_are_listed_the_largest_first_and_a_crop_is_one(detector: RTMPose, block_person) -> None:
    both = detector.people(block_person((300, 260), GREEN, RED))
    for pose, person in zip(both, (RED, GREEN), strict=True):
        check(pose, *person[1:])
    box = (0, 0, 90, 120)
    check(detector.in_crop(block_person(box[2:], ("red", box, (45.0, 60.0)))), box, (45.0, 60.0))


def test_a_picture_without_people_is_refused(detector: RTMPose, block_person) -> None:
    with pytest.raises(ValueError, match="nobody was found in the picture"):
        detector(block_person((300, 260)))


def test_networks_that_are_not_there_are_named_with_place_and_address(
    pose_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rtmlib.tools.file

    def no_network(*_args, **_options) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(rtmlib.tools.file, "download_url_to_file", no_network)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        OSError, match=r"cannot download http\S+yolox\S+\.zip \(no route to host\).*end2end\.onnx to \S+"
    ) as error:
        detection_models()
    assert str(tmp_path / "imagpose" / "pose" / "yolox_m_8xb8-300e_humanart-c2c7a14a.onnx") in str(error.value)


def test_a_download_that_came_in_part_is_loaded_again(
    pose_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import rtmlib.tools.file

    def download(_address: str, file: Path, *_args, **_options) -> None:
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            packed.writestr("inside/end2end.onnx", b"network")
        Path(file).write_bytes(archive.getvalue()[:length])

    monkeypatch.setattr(rtmlib.tools.file, "download_url_to_file", download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    length: int | None = 30
    with pytest.raises(OSError, match="cannot download"):
        detection_models()
    length = None
    files = detection_models()
    assert [file.read_bytes() for file in files] == [b"network"] * 2
    assert sorted(files) == sorted((tmp_path / "imagpose" / "pose").iterdir())


def test_a_damaged_network_is_named(pose_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for file in (pose_networks / "imagpose" / "pose").iterdir():
        copy = tmp_path / "imagpose" / "pose" / file.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes() if "yolox" in file.name else b"not a network")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(OSError, match=r"rtmpose\S+\.onnx cannot be used: .*remove it to have it downloaded"):
        RTMPose()


def test_devices_are_never_changed_silently(pose_networks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setenv("XDG_CACHE_HOME", str(pose_networks))
    with pytest.raises(ValueError, match="device 'gpu'; one of cpu, cuda expected"):
        RTMPose("gpu")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(ValueError, match="onnxruntime cannot use cuda here: install onnxruntime-gpu"):
        RTMPose("cuda")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(ValueError, match=r'pip install "imagpose\[rtmlib\]"'):
        RTMPose()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch):
    """Runs the command line in this process; gives its exit code."""

    def command(*arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["imagpose", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        return ending.value.code or 0

    return command


def test_the_command_writes_poses_that_generate_reads(
    pose_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_person, capsys, run
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pose_networks))
    block_person((300, 260), RED).save(tmp_path / "a.png")
    block_person((120, 140), ("green", (20, 20, 100, 130), (60.0, 80.0))).save(tmp_path / "b.jpg", quality=95)
    Image.new("RGB", (50, 50)).save(tmp_path / "nobody.png")
    pictures = [str(tmp_path / "a.png"), str(tmp_path / "b.jpg")]
    rtmlib = ("poses", "detect", "--detector", "rtmlib")
    assert run(*rtmlib, *pictures, "--out", str(tmp_path / "poses")) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "poses" / name) for name in ("a.json", "b.json")]
    written = json.loads((tmp_path / "poses" / "a.json").read_text())
    assert (written["canvas_width"], written["canvas_height"]) == (300, 260)
    check(read_pose(tmp_path / "poses" / "a.json"), *RED[1:])
    (tmp_path / "empty").mkdir()
    nobody, damaged = str(tmp_path / "nobody.png"), str(tmp_path / "damaged.png")
    Path(damaged).write_bytes((tmp_path / "a.png").read_bytes()[:99])
    assert run(*rtmlib, nobody, damaged, *pictures, "--out", str(tmp_path / "some")) == 0
    said = capsys.readouterr()
    assert said.out.split() == [str(tmp_path / "some" / name) for name in ("a.json", "b.json")]
    assert "nobody.png: nobody was found in the picture; left out" in " ".join(said.err.split())
    assert re.search(r"damaged\.png: [^;]+; left out", " ".join(said.err.split()))
    assert sorted(file.name for file in (tmp_path / "some").glob("[!.]*")) == ["a.json", "b.json"]
    shutil.copy(nobody, tmp_path / "empty.png")
    for wrong, message in (
        ([nobody], "nobody.png: nobody was found in the picture; --crops"),
        ([damaged], "damaged.png: "),
        ([*pictures, str(tmp_path / "absent.png")], "picture not found"),
        ([nobody, str(tmp_path / "empty.png")], "nobody was found in any of 2 pictures"),
        ([*pictures, str(tmp_path / "a.png")], "a.json would be written twice"),
        ([str(tmp_path / "empty")], "no pictures in this folder"),
        ([*pictures, "--detector", "yolo"], "one of mediapipe, rtmlib, rtmlib-cuda expected"),
    ):
        assert run(*rtmlib, *wrong, "--out", str(tmp_path / "none")) == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "none").exists()


def test_the_command_counts_usable_crops(
    pose_networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_person, capsys, run
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(pose_networks))
    find = RTMPose.in_crop
    monkeypatch.setattr(RTMPose, "in_crop", lambda self, crop: find(self, crop) if crop.getbbox() else None)
    (tmp_path / "crops" / "0001").mkdir(parents=True)
    block_person((90, 120), ("red", (0, 0, 90, 120), (45.0, 60.0))).save(tmp_path / "crops" / "0001" / "a.png")
    Image.new("RGB", (90, 120)).save(tmp_path / "crops" / "0001" / "b.png")
    crops = ("poses", "detect", "--crops", "--detector", "rtmlib", str(tmp_path / "crops"))
    assert run(*crops, "--out", str(tmp_path / "poses")) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 crops are usable (50.0%)" in said and "unusable.txt" in said
    assert (tmp_path / "poses" / "0001" / "a.json").is_file()
    assert (tmp_path / "poses" / "unusable.txt").read_text() == f"{tmp_path / 'crops' / '0001' / 'b.png'}\n"
    (tmp_path / "crops" / "0001" / "a.png").unlink()
    assert run(*crops, "--out", str(tmp_path / "none")) == 2
    assert "no pose was found in any of 1 crops" in " ".join(capsys.readouterr().err.split())
