"""What is refused, and with which words; units, frames, people and hands beyond the cases."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import Pose, PoseOptions, read_pose, read_pose_file, read_poses, to_openpose
from imagpose.pose.choice import choose_person, find_units
from imagpose.pose.settling import NobodyFoundError


def written(folder: Path, content: object, name: str = "pose.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def openpose(points: np.ndarray, **rest: object) -> dict:
    return {"people": [{"pose_keypoints_2d": np.ravel(points).tolist()}], **rest}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"people": []}', "no people"),
        ('{"people": [{"pose_keypoints_2d": []}]}', "no people"),
        (json.dumps(openpose([0] * 54)), "no people"),
        (json.dumps(openpose([float("nan")] * 54)), "no people"),
        (json.dumps(openpose([1] * 53)), r"people\[0\]\.pose_keypoints_2d: 53 values; 3 \(or 2\) a point"),
        (json.dumps(openpose(["x"] * 54)), "not numbers only"),
        (json.dumps(openpose([10**400] * 54)), "not numbers only"),
        (json.dumps({"people": [{"pose_keypoints_2d": [[1, 2], 3]}]}), "people.0..pose_keypoints_2d: points of 2 to 4"),
        (json.dumps(openpose([500] * 54)), "most key points lie outside the frame 128x96"),
        (json.dumps(openpose([500] * 54, canvas_width=96, canvas_height=128)), "no key point lies inside the frame"),
        (json.dumps(openpose([5] * 54, canvas_width=0, canvas_height=9)), "the frame is 9 x 0"),
        ('{"people": [{"pose_keypoints_2d": []}, 3]}', r"people\[1\]: an object"),
        ('{"persons": []}', "no known kind of pose file; found an object with 'persons'; known are OpenPose JSON"),
        ("[]", "no known kind of pose file"),
        ("3", "no known kind of pose file"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ('{"data":' * 100 + '[{"a": 1}]' + "}" * 100, "no known kind of pose file; found an object with 'data'"),
        ('{"data":' * 600 + "[1]" + "}" * 600, "not valid JSON|nested too deeply"),
        ('{"landmarks":' + "[" * 700 + '{"x": 1, "y": 1}' + "]" * 700 + "}", "not valid JSON|nested too deeply"),
        ("[{}, [], null]", "found a list; known"),
        (json.dumps({"a" * 100_000: 1}), r"found an object with 'a+\.\.\.; known"),
        ('{"images": [{"id": [1]}], "annotations": []}', r"images: an id is a number, not \[1\]"),
        (
            json.dumps({"images": [], "annotations": [{"keypoints": [1] * 51, "image_id": [1]}]}),
            r"annotations\[0\]\.image_id: an id is a number",
        ),
        (
            json.dumps({"images": [], "annotations": [], "categories": [{"id": [], "keypoints": []}]}),
            "categories: an id is a number",
        ),
        (
            json.dumps([{"keypoints": [[9, 9]] * 18, "keypoint_names": 5}]),
            "a list of the points' names expected, not 5",
        ),
        (json.dumps([{"keypoints": [[9, 9]] * 18, "keypoint_names": [5]}]), "a list of the points' names expected"),
        (json.dumps({"keypoints": [{"x": 1, "y": 1}, 3] * 9}), "a point without x and y: 3"),
        (json.dumps({"keypoints": {"xyn": [[0.1, 0.2]] * 17, "conf": [1, 1, 1]}}), "3 scores for 17 points"),
        ("a.json" + "\0" * 300, "not a text file"),
        ("", "an empty file"),
        ("1 2\n" * 16, "no known kind"),
        ("frame,nose_x,nose_y\n0,1,2\n", "of CSV only the field's annotation is known"),
        ("https://example.org/pose.json", "download the file first"),
        ('{"pose_world_landmarks": [{"x": 1, "y": 2}]}', "world landmarks are metres"),
        ("<html>", "XML or HTML"),
        ("%YAML:1.0", "write JSON instead"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line_that_names_the_file(tmp_path, content, message, refused):
    refused(lambda path: read_poses(path, frame=(128, 96)), written(tmp_path, content), message)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (b"\x00\x00\x00\x20ftypisom", "a video: `imagpose animate` takes it"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "a video"),
        (b"PK\x03\x04", "an archive"),
        (b"\x80\x04\x95", "a pickle"),
        (b"\xfe\x01\xff\x00\x9f\x00\x00\x00", "not a text file|no known kind"),
    ],
)
def test_other_files_have_hints_of_their_own(tmp_path, start, message):
    path = tmp_path / "pose.json"
    path.write_bytes(start + b"\x00" * 31)
    with pytest.raises(ValueError, match=message):
        read_poses(path)


def test_folders_addresses_and_files_that_are_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"a folder; give its files, for example .*/\*\.json"):
        read_poses(tmp_path)
    for address in ("https://example.org/pose.json", "s3://poses/pose.json"):
        with pytest.raises(ValueError, match="an address: download the file first"):
            read_poses(address)
    with pytest.raises(FileNotFoundError, match=r"none\.json"):
        read_poses(tmp_path / "none.json")


def test_arrays_of_objects_are_not_loaded(tmp_path):
    np.save(tmp_path / "pose.npy", np.array([{"x": 1}], object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pose\.npy: a NumPy array that cannot be read safely"):
        read_poses(tmp_path / "pose.npy")
    with pytest.raises(ValueError, match="19 points; known numbers are 17 "):
        read_poses(np.ones((19, 2)), frame=(9, 9))


@pytest.mark.parametrize(
    "header", ["{'descr': '<f8', 'fortran_order': False, 'shape': (10**13, 18, 3), }", "(" * 9000, "{'descr': ["]
)
def test_arrays_with_a_damaged_header_are_refused(tmp_path, header):
    start = header.replace("10**13", str(10**13)).encode()
    (tmp_path / "pose.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(start).to_bytes(2, "little") + start)
    with pytest.raises(ValueError, match=r"pose\.npy: a NumPy array that cannot be read safely \(.+\)"):
        read_poses(tmp_path / "pose.npy")


def test_a_picture_name_that_no_system_takes_is_none(tmp_path, standing):
    points = standing.keypoints[:17].ravel().tolist()
    for name in ("a" * 5000 + ".jpg", "a\0.jpg"):
        with pytest.raises(ValueError, match="does not state: --pose-frame"):
            read_poses(written(tmp_path, [{"image_id": name, "keypoints": points}]))


def test_formats_are_recognised_by_content_whatever_the_name(tmp_path, standing):
    np.save(tmp_path / "a.npy", standing.keypoints)
    (tmp_path / "a.npy").rename(tmp_path / "pose.txt")
    assert read_pose_file(tmp_path / "pose.txt", PoseOptions(frame=(512, 384))).kind.startswith("NumPy array")
    path = tmp_path / "pose.dat"
    path.write_text(json.dumps(to_openpose(standing)), encoding="utf-16")  # as PowerShell writes
    np.testing.assert_allclose(read_pose(path).keypoints, standing.keypoints)
    lines = tmp_path / "frames.jsonl"
    lines.write_text("\n".join([json.dumps(to_openpose(standing))] * 2))
    assert len(read_poses(lines)) == 2


@pytest.mark.parametrize(
    ("scale", "shift", "units"),
    [
        (1.0, (0.0, 0.0), "fractions"),
        (1.0, (-0.5, 0.0), None),  # half a body outside, or [-1, 1]?
        (1.0, (0.05, 0.15), "fractions"),
        (2.0, (-1.0, -1.0), "signed"),
        (4.0, (0.0, 0.0), None),  # a frame of 4 pixels?
        (300.0, (0.0, 0.0), "pixels"),
        (300.0, (-150.0, -20.0), "pixels"),
    ],
)
def test_units_by_the_bulk_of_the_points(standing, scale, shift, units):
    points = standing.keypoints / [384, 512, 1] * [scale, scale, 1] + [*shift, 0]
    assert find_units([points]) == units
    stray = points.copy()
    stray[[4, 7], :2] = [[5000, 4000], [7000, 1]]
    assert find_units([stray]) == units


def test_unsure_units_are_asked_for_with_both_readings(tmp_path, standing):
    points = standing.keypoints / [384, 512, 1] - [0.5, 0, 0]
    path = written(tmp_path, openpose(points, canvas_width=384, canvas_height=512))
    message = r"could be fractions of the frame with points outside, or \[-1, 1\] .*--pose-units pixels, fractions"
    with pytest.raises(ValueError, match=message):
        read_poses(path)
    (pose,) = read_poses(path, units="fractions")
    np.testing.assert_allclose(pose.keypoints[:, 0], standing.keypoints[:, 0] - 0.5 * 384, atol=0.01)
    (pose,) = read_poses(path, units="signed")
    np.testing.assert_allclose(pose.keypoints[0, :2], [(points[0, 0] + 1) * 192, (points[0, 1] + 1) * 256], atol=0.01)


def test_what_may_be_percent_of_the_frame_is_asked_for(tmp_path, standing):
    points = np.round(standing.keypoints / [3.84, 5.12, 1], 3)
    path = written(tmp_path, openpose(points, canvas_width=384, canvas_height=512))
    message = "could be percent of the frame, or pixels in its upper left corner .* of 512x384, stated by the file"
    with pytest.raises(ValueError, match=message):
        read_poses(path)
    (pose,) = read_poses(path, units="percent")
    np.testing.assert_allclose(pose.keypoints, standing.keypoints, atol=0.01)
    (pose,) = read_poses(path, units="pixels")
    np.testing.assert_allclose(pose.keypoints, points, atol=0.01)
    (pose,) = read_poses(written(tmp_path, openpose(points, canvas_width=96, canvas_height=128)))  # it fills the frame
    np.testing.assert_allclose(pose.keypoints, points, atol=0.01)
    data = openpose(points, canvas_width=384, canvas_height=512)
    data["people"] += openpose(standing.keypoints)["people"]  # who is larger, so that these are pixels
    with pytest.warns(UserWarning, match="person 2 is taken"):
        np.testing.assert_allclose(read_pose(written(tmp_path, data)).keypoints, standing.keypoints, atol=0.01)
    np.testing.assert_allclose(read_pose(written(tmp_path, data), person=1).keypoints, points, atol=0.01)


def test_the_frame_of_the_file_comes_first_then_the_option_then_the_picture(tmp_path, standing):
    path = written(tmp_path, openpose(standing.keypoints), "walk_keypoints.json")
    Image.new("RGB", (400, 600)).save(tmp_path / "walk.jpg")
    assert (read_pose(path).height, read_pose(path).width) == (600, 400)
    assert read_pose_file(path).entries[0].frame_from == "of walk.jpg beside it"
    assert read_pose(path, frame=(520, 390)).height == 520
    path = written(tmp_path, openpose(standing.keypoints, canvas_width=384, canvas_height=512), "walk_keypoints.json")
    assert read_pose(path, frame=(520, 390)).height == 512
    Image.new("RGB", (200, 600)).save(tmp_path / "walk.png")  # two pictures that differ: neither
    with pytest.raises(ValueError, match="does not state"):
        read_pose(written(tmp_path, openpose(standing.keypoints), "walk_keypoints.json"))


def test_a_frame_of_another_shape_than_the_picture_is_refused_and_never_stretched(tmp_path, standing):
    path = written(tmp_path, to_openpose(standing))
    with pytest.raises(ValueError, match=r"in a frame of 512x384, the picture has 256x256 .*another shape"):
        read_pose(path, picture=(256, 256))
    half = read_pose(path, picture=(256, 192))
    assert (half.height, half.width) == (256, 192)
    np.testing.assert_allclose(half.keypoints, standing.keypoints * [0.5, 0.5, 1], atol=0.01)


def test_one_stray_point_decides_no_choice_of_person(standing):
    large = standing.keypoints * [0.8, 0.8, 1]
    bystander = standing.keypoints * [0.3, 0.3, 1]
    bystander[4] = [380, 510, 0.9]  # confident, and far off
    assert choose_person([bystander, large]) == 1
    few = standing.keypoints.copy()  # larger still, but of four points
    few[4:, 2] = 0
    assert choose_person([few, large, bystander]) == 1


def test_of_people_of_one_size_the_surer_and_more_complete_is_taken(standing):
    unsure = standing.keypoints * [1, 1, 0.4]
    half = standing.keypoints.copy()
    half[[3, 6, 8, 9, 11, 12, 14, 15], 2] = 0  # the outermost points stay, and so does the box
    assert choose_person([unsure, standing.keypoints]) == 1
    assert choose_person([half, standing.keypoints * [0.99, 0.99, 1]]) == 1


def test_visibilities_of_coco_become_confidences(tmp_path, standing):
    from imagpose.pose.layouts import LAYOUTS

    points = np.ones((17, 3)) * [50, 60, 2] + np.arange(17)[:, None] * [5, 9, 0]
    points[3, 2], points[4] = 1, 0  # left ear hidden, right ear not labelled
    data = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 512, "width": 384}],
        "annotations": [{"image_id": 1, "keypoints": points.ravel().tolist()}],
    }
    pose = read_pose(written(tmp_path, data))
    assert LAYOUTS[17].names[3:5] == ("left_ear", "right_ear")
    assert pose.keypoints[16:, 2].tolist() == [0, 0.5]
    assert pose.keypoints[0].tolist() == [50, 60, 1]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("end", ["", " 0.91", " 0.91 4"])  # as predicted with save_conf, and by a tracker
def test_label_files_of_ultralytics(tmp_path, size, end):
    places = np.arange(34).reshape(17, 2) / 50 + 0.1
    points = np.concatenate([places, np.full((17, 1), 0.8)], 1)[:, :size]
    line = "0 0.5 0.5 0.4 0.8 " + " ".join(map(str, points.ravel())) + end
    file = tmp_path / "pose.txt"
    file.write_text(f"{line}\n")
    pose = read_pose(file, frame=(512, 384))
    np.testing.assert_allclose(pose.keypoints[0, :2], places[0] * [384, 512], rtol=1e-5)  # the nose comes first
    np.testing.assert_allclose(pose.keypoints[10, :2], places[16] * [384, 512], rtol=1e-5)  # the right ankle last
    assert pose.keypoints[10, 2] == pytest.approx(1 if size == 2 else 0.8)


def test_frames_without_people_are_left_out_and_said(tmp_path, standing):
    data = [to_openpose(standing), {"people": [], "canvas_width": 384, "canvas_height": 512}, to_openpose(standing)]
    with pytest.warns(UserWarning, match="picture 2: nobody in it; left out"):
        assert len(read_poses(written(tmp_path, data))) == 2
    with pytest.raises(ValueError, match="2 poses; one expected here"), pytest.warns(UserWarning, match="nobody"):
        read_pose(written(tmp_path, data))


def test_a_picture_whose_only_person_has_no_points_is_one_without_people(standing):
    nobody, somebody = {"keypoints": None}, {"keypoints": standing.keypoints.ravel().tolist()}
    read = read_pose_file([[nobody], [somebody]], PoseOptions(frame=(standing.height, standing.width)))
    assert read.notes == ["picture 1: nobody in it; left out"] and [entry.number for entry in read.entries] == [2]
    with pytest.raises(NobodyFoundError, match="no people with key points"):
        read_pose_file([nobody])


def test_hands_are_read_moved_and_mirrored(tmp_path, standing):
    hands = np.concatenate([np.random.default_rng(0).uniform(50, 300, (2, 21, 2)), np.ones((2, 21, 1))], 2)
    hands[1, 20] = 0
    pose = Pose(standing.keypoints, 384, 512, hands)
    again = read_pose(written(tmp_path, to_openpose(pose)))
    np.testing.assert_allclose(again.hands, hands, atol=0.001)
    np.testing.assert_allclose(again.resize(192, 256).hands, hands * [0.5, 0.5, 1], atol=0.001)
    mirrored = again.mirror()
    np.testing.assert_allclose(mirrored.hands[1, :, 0], 384 - hands[0, :, 0], atol=0.001)
    assert mirrored.hands[0, 20].tolist() == [0, 0, 0]
    assert read_pose(written(tmp_path, to_openpose(standing))).hands is None


def test_people_are_counted_as_in_the_file(tmp_path, standing):
    empty, small = {"pose_keypoints_2d": []}, np.ravel(standing.keypoints * [0.4, 0.4, 1]).tolist()
    data = to_openpose(standing)
    data["people"] = [empty, {"pose_keypoints_2d": small}, *data["people"]]
    path = written(tmp_path, data)
    with pytest.warns(UserWarning, match="2 people; person 3 is taken"):
        np.testing.assert_allclose(read_pose(path).keypoints, standing.keypoints, atol=0.01)
    np.testing.assert_allclose(read_pose(path, person=2).keypoints[:, 0], standing.keypoints[:, 0] * 0.4, atol=0.01)
    with pytest.raises(ValueError, match="person 1: 3 people, with key points: 2, 3"):
        read_pose(path, person=1)


def test_files_below_a_key(tmp_path, standing):
    frames = {"frames": [to_openpose(standing), to_openpose(standing)]}
    assert len(read_poses(written(tmp_path, frames))) == 2
    bare = {"height": 512, "width": 384, "poses": [np.round(standing.keypoints, 2).tolist()]}
    np.testing.assert_allclose(read_pose(written(tmp_path, bare)).keypoints, standing.keypoints)


def test_units_that_do_not_fit_leave_nobody(tmp_path, standing):
    with pytest.raises(ValueError, match=r"no key point is left where the coordinates are fractions \(--pose-units\)"):
        read_poses(written(tmp_path, to_openpose(standing)), units="fractions")


def test_a_stated_frame_that_most_points_leave_is_said(tmp_path, standing):
    with pytest.warns(UserWarning, match="most key points lie outside the frame 120x384 that the file states"):
        read_poses(written(tmp_path, openpose(standing.keypoints, canvas_width=384, canvas_height=120)))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"units": "metres"}, "pixels, fractions, percent, signed expected"),
        ({"frame": (0, 5)}, "height x width in pixels expected"),
        ({"person": 0}, "counted from 1"),
        ({"min_confidence": 2}, "0 to 1 expected"),
    ],
)
def test_options_outside_their_range(option, message):
    with pytest.raises(ValueError, match=message):
        PoseOptions(**option)
