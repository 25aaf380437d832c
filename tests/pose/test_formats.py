"""One file per format, its key points worked out by hand."""

import json
import os

import numpy as np
import pytest

from imagpose.pose import (
    KEYPOINT_NAMES,
    Pose,
    from_coco17,
    read_annotation_csv,
    read_pose,
    read_txt,
    write_annotation_csv,
    write_openpose_json,
    write_txt,
)

BODY_25_NAMES = (
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe left_small_toe "
    "left_heel right_big_toe right_small_toe right_heel"
).split()
COCO_17_NAMES = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
).split()


def place(name: str) -> list[float]:
    """A place of its own for every name, the same in all formats."""
    every = [*KEYPOINT_NAMES, *(name for name in BODY_25_NAMES if name not in KEYPOINT_NAMES)]
    index = every.index(name)
    return [10.0 + 3 * index, 120.0 - 4 * index]


def expected(missing: tuple[str, ...] = (), confidence: float = 1.0) -> np.ndarray:
    return np.array([[0, 0, 0] if name in missing else [*place(name), confidence] for name in KEYPOINT_NAMES])


def triples(names, missing=(), confidence=1.0, factor=(1.0, 1.0)) -> list[float]:
    values = []
    for name in names:
        x, y = place(name)
        values += [0, 0, 0] if name in missing else [x * factor[0], y * factor[1], confidence]
    return values


def write_json(folder, *people, **rest):
    path = folder / "pose.json"
    path.write_text(
        json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": person} for person in people], **rest})
    )
    return path


def test_body_25(tmp_path):
    path = write_json(tmp_path, triples(BODY_25_NAMES, missing=("left_ear", "mid_hip"), confidence=0.75))
    pose = read_pose(path, size=(96, 128))
    np.testing.assert_allclose(pose.keypoints, expected(("left_ear",), 0.75))
    assert (pose.width, pose.height) == (96, 128)


def test_coco_18(tmp_path):
    pose = read_pose(write_json(tmp_path, triples(KEYPOINT_NAMES, missing=("nose",))), size=(96, 128))
    np.testing.assert_allclose(pose.keypoints, expected(("nose",)))


def test_canvas_of_the_file_comes_before_size(tmp_path):
    path = write_json(tmp_path, triples(KEYPOINT_NAMES), canvas_width=200, canvas_height=300)
    pose = read_pose(path, size=(96, 128))
    assert (pose.width, pose.height) == (200, 300)
    np.testing.assert_allclose(pose.keypoints, expected())


@pytest.mark.parametrize("stated", [True, False])
def test_fractions_of_the_canvas(tmp_path, stated):
    canvas = {"canvas_width": 128, "canvas_height": 256} if stated else {}
    path = write_json(tmp_path, triples(KEYPOINT_NAMES, factor=(1 / 128, 1 / 256)), **canvas)
    pose = read_pose(path, size=None if stated else (128, 256))
    np.testing.assert_allclose(pose.keypoints, expected(), rtol=1e-6)
    assert (pose.width, pose.height) == (128, 256)


def test_fractions_without_a_canvas_are_refused(tmp_path):
    path = write_json(tmp_path, triples(KEYPOINT_NAMES, factor=(1 / 128, 1 / 256)))
    with pytest.raises(ValueError, match=r"pose\.json: coordinates are fractions"):
        read_pose(path)


def test_list_with_one_result_as_controlnet_tools_export(tmp_path):
    path = tmp_path / "pose.json"
    person = {"pose_keypoints_2d": triples(KEYPOINT_NAMES), "face_keypoints_2d": None}
    path.write_text(json.dumps([{"people": [person], "canvas_width": 96, "canvas_height": 128}]))
    np.testing.assert_allclose(read_pose(path).keypoints, expected())


def test_largest_of_several_people_with_a_warning(tmp_path):
    small = triples(KEYPOINT_NAMES, factor=(0.4, 0.4))
    nobody = triples(KEYPOINT_NAMES, missing=KEYPOINT_NAMES)
    path = write_json(tmp_path, small, nobody, [], triples(KEYPOINT_NAMES))
    with pytest.warns(UserWarning, match=r"pose\.json: 2 people; the largest is used"):
        pose = read_pose(path, size=(96, 128))
    np.testing.assert_allclose(pose.keypoints, expected())


def test_frame_without_a_stated_size(tmp_path):
    # x from 10 to 10 + 3 * 17 = 61, y from 120 - 4 * 17 = 52 to 120: the margin is 6.8 pixels.
    assert read_pose(write_json(tmp_path, triples(KEYPOINT_NAMES))).width == 68  # 67.8, rounded up
    assert read_pose(write_json(tmp_path, triples(KEYPOINT_NAMES))).height == 127  # 126.8, rounded up


def test_points_outside_the_frame_are_kept(tmp_path):
    pose = read_pose(write_json(tmp_path, triples(KEYPOINT_NAMES)), size=(20, 128))
    np.testing.assert_allclose(pose.keypoints, expected())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"people": []}', "no people"),
        ('{"people": [{"pose_keypoints_2d": []}]}', "no people"),
        (json.dumps({"people": [{"pose_keypoints_2d": [0] * 54}]}), "no people"),
        (json.dumps({"people": [{"pose_keypoints_2d": [1] * 53}]}), "53 values"),
        (json.dumps({"people": [{"pose_keypoints_2d": ["x"] * 54}]}), "not a number"),
        (json.dumps({"people": [{"pose_keypoints_2d": [[1, 2], 3]}]}), "not a number"),
        (json.dumps({"people": [{"pose_keypoints_2d": [10**400] * 54}]}), "not a number"),
        (json.dumps({"people": [{"pose_keypoints_2d": [float("nan")] * 54}]}), "not finite"),
        (json.dumps({"people": [{"pose_keypoints_2d": [1e9] * 54}]}), "100,000 pixels"),
        (json.dumps({"people": [{"pose_keypoints_2d": [500] * 54}]}), "no key point lies inside the frame of 96x128"),
        (
            json.dumps({"people": [{"pose_keypoints_2d": [5] * 54}], "canvas_width": 0, "canvas_height": 9}),
            "canvas_wid",
        ),
        ('{"people": [{"hand": 1}, 3]}', r"people\[1\]"),
        ('{"persons": []}', "a list 'people' expected"),
        ("[]", "a list 'people' expected"),
        ("3", "a list 'people' expected"),
        ("{", "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_unusable_json_is_refused_in_one_line_that_names_the_file(tmp_path, content, message):
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        read_pose(path, size=(96, 128))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_other_unusable_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json"):
        read_pose(tmp_path / "none.json")
    binary = tmp_path / "binary.json"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match=r"binary\.json: not a text file"):
        read_pose(binary)
    with pytest.raises(ValueError, match=r"pose\.yaml: a pose is"):
        read_pose(tmp_path / "pose.yaml")


def test_openpose_json_round_trip(tmp_path):
    pose = Pose(expected(("neck", "left_knee"), 0.5), 96, 128)
    write_openpose_json(pose, tmp_path / "pose.json")
    again = read_pose(tmp_path / "pose.json")
    np.testing.assert_allclose(again.keypoints, pose.keypoints)
    assert (again.width, again.height) == (96, 128)
    assert os.listdir(tmp_path) == ["pose.json"]


def test_coco_17_with_a_neck_between_the_shoulders():
    values = [[*place(name), 0.25 if name == "left_shoulder" else 0.75] for name in COCO_17_NAMES]
    pose = from_coco17(values, 96, 128)
    right, left = place("right_shoulder"), place("left_shoulder")
    for index, name in enumerate(KEYPOINT_NAMES):
        if name == "neck":
            point = [(right[0] + left[0]) / 2, (right[1] + left[1]) / 2, 0.25]
        else:
            point = [*place(name), 0.25 if name == "left_shoulder" else 0.75]
        np.testing.assert_allclose(pose.keypoints[index], point, err_msg=name)
    np.testing.assert_array_equal(from_coco17(np.ravel(values), 96, 128).keypoints, pose.keypoints)


def test_coco_17_without_a_shoulder_has_no_neck():
    values = [[*place(name), float(name != "left_shoulder")] for name in COCO_17_NAMES]
    assert np.flatnonzero(~from_coco17(values, 96, 128).visible).tolist() == [1, 5]
    with pytest.raises(ValueError, match="48 values; 17 COCO key points"):
        from_coco17(values[:16], 96, 128)


def test_txt_holds_x_before_y(tmp_path):
    path = tmp_path / "pose.txt"
    lines = ["-1 -1" if name == "left_eye" else "{} {}".format(*place(name)) for name in KEYPOINT_NAMES]
    path.write_text("\n".join(lines) + "\n")
    pose = read_pose(path, size=(256, 256))
    np.testing.assert_allclose(pose.keypoints, expected(("left_eye",)))
    assert (pose.width, pose.height) == (256, 256)
    assert (read_txt(path).width, read_txt(path).height) == (68, 127)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n" * 17, "18 lines"),
        ("1 2 3\n" * 18, "18 lines"),
        ("1 2\n" * 17 + "1", "18 lines"),
        ("a b\n" * 18, "18 lines"),
        ("nan nan\n" * 18, "18 lines"),
        ("-1 -1\n" * 18, "all key points are missing"),
        ("500 500\n" * 18, "no key point lies inside the frame of 96x128"),
    ],
)
def test_unusable_txt(tmp_path, text, message):
    path = tmp_path / "pose.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_pose(path, size=(96, 128))
    assert str(path) in str(error.value)


def test_txt_round_trip(tmp_path):
    pose = Pose(expected(("neck",)) + np.array([0.25, 0.5, 0]), 96, 128)
    write_txt(pose, tmp_path / "pose.txt")
    again = read_txt(tmp_path / "pose.txt", (96, 128))
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
def test_unusable_annotation_csv(tmp_path, text, message):
    path = tmp_path / "annotation.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_annotation_csv(path, (64, 128))
    assert str(path) in str(error.value)


def test_annotation_csv_refuses_names_it_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="a:b"):
        write_annotation_csv({"a:b": Pose(expected(), 96, 128)}, tmp_path / "annotation.csv")
    assert not os.listdir(tmp_path)
