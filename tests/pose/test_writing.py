"""Writing poses, and reading them back; the field's annotation CSV, worked out by hand."""

import os
import re

import numpy as np
import pytest

from imagpose.pose import (
    KEYPOINT_NAMES,
    Pose,
    read_annotation_csv,
    read_pose,
    write_annotation_csv,
    write_openpose_json,
    write_txt,
)


def expected(missing: tuple[str, ...] = (), confidence: float = 1.0) -> np.ndarray:
    """A place of its own for every name."""
    points = [[10.0 + 3 * index, 120.0 - 4 * index, confidence] for index in range(18)]
    return np.array(
        [[0, 0, 0] if name in missing else point for name, point in zip(KEYPOINT_NAMES, points, strict=True)]
    )


def test_openpose_json_round_trip(tmp_path):
    pose = Pose(expected(("neck", "left_knee"), 0.5), 96, 128)
    write_openpose_json(pose, tmp_path / "pose.json")
    again = read_pose(tmp_path / "pose.json")
    np.testing.assert_allclose(again.keypoints, pose.keypoints)
    assert (again.width, again.height) == (96, 128)
    assert os.listdir(tmp_path) == ["pose.json"]


def test_txt_round_trip(tmp_path):
    pose = Pose(expected(("neck",)) + np.array([0.25, 0.5, 0]), 96, 128)
    write_txt(pose, tmp_path / "pose.txt")
    again = read_pose(tmp_path / "pose.txt", frame=(128, 96))
    np.testing.assert_allclose(again.keypoints[again.visible], pose.keypoints[pose.visible])
    assert again.visible.tolist() == pose.visible.tolist()


def test_annotation_csv_holds_y_before_x(tmp_path):
    """The second line of the public Market-1501 annotation: the right arm is on the left of the picture."""
    path = tmp_path / "annotation.csv"
    path.write_text(
        "name:keypoints_y:keypoints_x\n"
        "0224.jpg: [8, 23, 23, 43, 60, 23, 43, 60, 64, 92, 118, 65, 89, 108, 5, 6, 7, 8]: "
        "[39, 37, 20, 12, 8, 53, 59, 53, 22, 24, 24, 43, 43, 45, 36, 42, 31, -1]\n"
        f"nobody.jpg: {[-1] * 18}: {[-1] * 18}\n"
    )
    poses = read_annotation_csv(path, (64, 128))
    assert list(poses) == ["0224.jpg"]
    points = poses["0224.jpg"].keypoints
    assert points[0].tolist() == [39, 8, 1]
    assert points[KEYPOINT_NAMES.index("right_wrist")].tolist() == [8, 60, 1]
    assert points[KEYPOINT_NAMES.index("left_ankle")].tolist() == [45, 108, 1]
    assert points[17].tolist() == [0, 0, 0]
    write_annotation_csv(poses, tmp_path / "again.csv")
    again = read_annotation_csv(tmp_path / "again.csv", (64, 128))
    np.testing.assert_array_equal(again["0224.jpg"].keypoints, points)
    lines = path.read_text().splitlines()
    assert (tmp_path / "again.csv").read_text().splitlines() == [lines[0], lines[1].replace("7, 8]", "7, -1]")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,y,x\n", "the first line must be"),
        ("", "the first line must be"),
        (f"name:keypoints_y:keypoints_x\na.jpg: {[1] * 18}\n", "line 2"),
        (f"name:keypoints_y:keypoints_x\na.jpg: {[1] * 18}: {[1] * 17}\n", "line 2"),
        (f"name:keypoints_y:keypoints_x\na.jpg: {[1] * 18}: {[900] * 18}\n", "line 2: no key point lies inside"),
        (f"name:keypoints_y:keypoints_x\n\na.jpg: {[1] * 18}: {{}}\n", "line 3"),
        (f"name:keypoints_y:keypoints_x\na.jpg: {[1] * 18}: [{{}}]\n", "line 2"),
    ],
)
def test_unusable_annotation_csv(tmp_path, text, message, refused):
    path = tmp_path / "annotation.csv"
    path.write_text(text)
    refused(lambda path: read_annotation_csv(path, (64, 128)), path, message)


@pytest.mark.parametrize("name", ["a:b", "a\nb", "a\n", "a\rb", "a\u2028b", " a", "a "])
def test_annotation_csv_refuses_names_it_cannot_hold(tmp_path, name):
    with pytest.raises(ValueError, match=re.escape(repr(name))):
        write_annotation_csv({name: Pose(expected(), 96, 128)}, tmp_path / "annotation.csv")
    assert not os.listdir(tmp_path)
