"""The key-point files of tests/pose/cases, each standing for its kind, and files made by tools/pose_files.py."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pose_files
from imagpose import read_poses
from imagpose.pose import KEYPOINT_NAMES, PoseOptions, read_pose_file

CASES = Path(__file__).parent / "cases" / "poses"
FRAME = (768, 512)
NECK = KEYPOINT_NAMES.index("neck")


def truth() -> np.ndarray:
    values = json.loads((CASES / "base.json").read_text())["people"][0]["pose_keypoints_2d"]
    return np.array(values).reshape(18, 3)


def assert_pose(pose, places: np.ndarray, missing: tuple[str, ...] = (), neck: float = 0.0) -> None:
    assert (pose.height, pose.width) == FRAME
    assert [name for name, found in zip(KEYPOINT_NAMES, pose.visible, strict=True) if not found] == list(missing)
    expected = places[:, :2].copy()
    expected[NECK, 1] += neck
    np.testing.assert_allclose(pose.keypoints[pose.visible, :2], expected[pose.visible], atol=0.01)


@pytest.mark.parametrize("file", ["base", "fkunn"])
def test_files_that_state_their_frame(file):
    (pose,) = read_poses(CASES / f"{file}.json")
    assert_pose(pose, truth())


@pytest.mark.parametrize(
    ("file", "neck"),
    [("old_openpose", 0), ("alphapose_coco", 5), ("mmpose_inferencer", 5), ("yolo", 5), ("mediapipe", 5)],
)
def test_files_without_a_frame_ask_for_it_or_take_the_picture_beside(file, neck, tmp_path):
    with pytest.raises(ValueError, match=r"does not state: --pose-frame HEIGHTxWIDTH, or put its picture beside it$"):
        read_poses(CASES / f"{file}.json")
    (pose,) = read_poses(CASES / f"{file}.json", frame=FRAME)
    assert_pose(pose, truth(), neck=neck)
    copy = tmp_path / f"{file}.json"
    copy.write_bytes((CASES / f"{file}.json").read_bytes())
    Image.new("RGB", (512, 768)).save(tmp_path / ("dance.jpg" if file == "alphapose_coco" else f"{file}.png"))
    (pose,) = read_poses(copy)
    assert_pose(pose, truth(), neck=neck)


def test_signed_coordinates():
    read = read_pose_file(CASES / "minus1_1.json")
    assert_pose(read.poses[0], truth())
    assert read.units.startswith("signed")


def test_fractions_are_recognised_from_the_bulk():
    read = read_pose_file(CASES / "norm_over_one.json")
    assert read.units.startswith("fractions")
    written = json.loads((CASES / "norm_over_one.json").read_text())["people"][0]["pose_keypoints_2d"]
    expected = np.array(written).reshape(18, 3)[:, :2] * [512, 768]
    assert expected[:, 1].max() > 768
    np.testing.assert_allclose(read.poses[0].keypoints[:, :2], expected, atol=0.01)


def test_a_list_of_frames_gives_one_pose_a_frame_in_order():
    poses = read_poses(CASES / "comfy_frames.json")
    assert len(poses) == 3
    for number, pose in enumerate(poses):
        assert_pose(pose, truth() + [10 * number, 0, 0])


@pytest.mark.parametrize(
    ("file", "missing"),
    [
        ("lowconf", ("right_wrist", "left_wrist")),
        ("minus1_conf1", ("right_elbow", "right_wrist")),
        ("zero_conf1", ("right_elbow", "right_wrist")),
    ],
)
def test_missing_points(file, missing):
    (pose,) = read_poses(CASES / f"{file}.json")
    assert_pose(pose, truth(), missing)


def test_the_threshold_is_an_option():
    (pose,) = read_poses(CASES / "lowconf.json", min_confidence=0.015)
    assert np.flatnonzero(~pose.visible).tolist() == [7]  # of .01; .02 is found now


def test_a_frame_that_is_not_stated_is_never_guessed(tmp_path):
    with pytest.raises(ValueError, match="pixels up to y 928, x 1368, in a frame that the file does not state"):
        read_poses(CASES / "nocanvas_1920.json")
    with pytest.raises(ValueError, match=r"most key points lie outside the frame 768x512 \(given\)"):
        read_poses(CASES / "nocanvas_1920.json", frame=FRAME)
    (pose,) = read_poses(CASES / "nocanvas_1920.json", frame=(1080, 1920))
    assert (pose.height, pose.width) == (1080, 1920)
    np.testing.assert_allclose(pose.keypoints[0, :2], [1207.2, 244.0], atol=0.01)


def test_of_two_people_the_most_complete_in_the_largest_robust_box():
    with pytest.warns(UserWarning, match="2 people; person 2 is taken, .*--person"):
        (pose,) = read_poses(CASES / "two_people_outlier.json")
    assert pose.keypoints[0, :2].tolist() == pytest.approx([250.4, 128.0])
    (pose,) = read_poses(CASES / "two_people_outlier.json", person=1)
    assert pose.keypoints[0, :2].tolist() == pytest.approx([71.2, 584.0])
    with pytest.raises(ValueError, match="person 3: 2 people"):
        read_poses(CASES / "two_people_outlier.json", person=3)


@pytest.mark.parametrize("kind", pose_files.KINDS)
def test_files_made_by_chance_are_read_right(kind, tmp_path):
    for seed in range(1000, 1006):
        folder = tmp_path / str(seed)
        folder.mkdir()
        assert pose_files.fault(pose_files.KINDS[kind](np.random.default_rng(seed)), folder) is None, seed


def test_what_was_read_is_said():
    lines = read_pose_file(CASES / "two_people_outlier.json").lines()
    assert lines[1:4] == [
        "  format   OpenPose JSON, COCO_18",
        "  units    pixels (found from the bulk of the points)",
        "  pose 1   frame 768x512 (stated by the file); person 2 of 2; 18 of 18 joints",
    ]
    (joints,) = (line for line in read_pose_file(CASES / "lowconf.json").lines() if "joints" in line)
    assert joints.endswith("16 of 18 joints, without right_wrist, left_wrist")
    assert "given" in read_pose_file(CASES / "base.json", PoseOptions(units="pixels")).units
