"""Poses as files, folders, patterns and names; how their pictures are named."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import Pose, draw_skeleton, read_pose, read_pose_file, write_openpose_json
from imagpose.pose.library import library, named_poses
from imagpose.pose.sniffing import UnknownKindError
from imagpose.serving.inputs import name_targets, poses_digest, read_inputs, read_targets


@pytest.fixture
def dances(tmp_path, pose):
    """A folder with three poses, a picture beside one, and a file that is none."""
    folder = tmp_path / "dances"
    folder.mkdir()
    for number, name in enumerate(("b", "a", "c")):
        write_openpose_json(pose(number), folder / f"{name}.json")
    Image.new("RGB", (16, 32)).save(folder / "a.png")
    (folder / "notes.json").write_text('{"author": "me"}')
    (folder / ".hidden.json").write_text("{")
    return folder


def test_a_folder_gives_its_poses_in_order_and_says_what_is_none(dances):
    with pytest.warns(UserWarning, match=r"notes\.json: left out"):
        found = read_targets([dances])
    assert found.names == ["a", "b", "c"]
    assert found.origins == [str(dances / f"{name}.json") for name in "abc"]
    np.testing.assert_array_equal(found.poses[0].keypoints, read_pose(dances / "a.json").keypoints)


def test_a_file_is_known_to_hold_no_pose_by_its_error_and_not_by_its_name(dances):
    """In a folder that is called what the message says, a pose file that cannot be used is still an error."""
    folder = dances.rename(dances.with_name("no known kind of pose file"))
    with pytest.raises(UnknownKindError, match=r"notes\.json: no known kind of pose file"):
        read_targets([folder / "notes.json"])
    (folder / "notes.json").unlink()
    (folder / "b.json").write_text("{")
    with pytest.raises(ValueError, match=r"b\.json: not valid JSON"):
        read_targets([folder])
    (folder / "a.json").write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read_inputs([folder / "a.png"], ["walk-03"])


def test_patterns_mean_files_first_then_names(dances, monkeypatch):
    assert read_targets([str(dances / "[ab].json")]).names == ["a", "b"]
    monkeypatch.chdir(dances)
    assert read_targets(["walk-*"]).names == [own.name for own in named_poses("walk-*")]
    shutil.copy("a.json", "walk-z.json")
    assert read_targets(["walk-*"]).names == ["walk-z"]


def test_a_file_of_several_poses_gives_them_all(tmp_path, pose):
    write_openpose_json([pose(0), pose(1)], tmp_path / "dance.json")
    found = read_targets([tmp_path / "dance.json", "sit-01"])
    assert found.names == ["dance-001", "dance-002", "sit-01"]
    np.testing.assert_allclose(found.poses[1].keypoints, pose(1).keypoints, atol=1e-3)


def test_what_was_read_is_said_once_for_each_file(tmp_path, pose):
    write_openpose_json([pose(0), pose(1)], tmp_path / "dance.json")
    alone = [read_targets([own]).said for own in ("walk-01", "walk-02", tmp_path / "dance.json")]
    assert read_targets(["walk-01", "walk-02", tmp_path / "dance.json", "walk-01"]).said == [
        line for own in alone for line in own
    ]


def test_objects_are_poses_too(pose):
    found = read_targets([pose(0), library()["walk-03"], pose(1)])
    assert found.names == ["pose", "walk-03", "pose-2"]
    assert found.poses[1] is library()["walk-03"].pose


def test_a_skeleton_picture_in_a_folder_of_its_own(tmp_path):
    folder = tmp_path / "drawn"
    folder.mkdir()
    draw_skeleton(library()["dance-01"].pose).save(folder / "kick.png")
    found = read_targets([folder])
    assert found.names == ["kick"]
    whole = library()["dance-01"].pose.keypoints[:14, :2]
    assert np.linalg.norm(found.poses[0].keypoints[:14, :2] - whole, axis=1).max() < 0.02 * 512


@pytest.mark.parametrize(
    ("stems", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "b", "a"], ["a", "a-2", "b", "a-3"]),
        (["a", "a", "a-2"], ["a", "a-2", "a-2-2"]),
        (["a-2", "a", "a"], ["a-2", "a", "a-3"]),
        (["A", "a"], ["A", "a-2"]),  # one file on some systems
        (["sheet"], ["sheet-2"]),
    ],
)
def test_names_are_stems_each_once(stems, names):
    assert name_targets(stems) == names


def test_long_names_are_cut_and_stay_apart():
    names = name_targets(["ä" * 120 + "x", "ä" * 120 + "y"])
    assert len(set(names)) == 2 and all(len(name.encode()) <= 200 for name in names)


def test_source_poses_may_be_known_for_some(tmp_path, picture, pose):
    write_openpose_json(pose(0), tmp_path / "own.json")
    read = read_inputs([picture(0), picture(1)], ["walk-01"], [None, tmp_path / "own.json"])
    assert read.source_poses[0] is None and isinstance(read.source_poses[1], Pose)


def test_a_mask_has_the_size_of_its_source(picture):
    assert read_inputs([picture(0)], ["walk-01"], masks=[Image.new("L", (16, 32))]).masks[0].mode == "L"
    with pytest.raises(ValueError, match="20x16 for a source of 32x16"):
        read_inputs([picture(0)], ["walk-01"], masks=[Image.new("L", (16, 20))])


def test_an_address_is_refused_as_one():
    with pytest.raises(ValueError, match="address: download"):
        read_targets(["https://example.org/dance.json?raw=1"])


def test_a_folder_is_no_source(tmp_path):
    with pytest.raises(ValueError, match="--photos"):
        read_inputs([tmp_path], ["walk-01"])


def test_a_digest_of_poses_tells_any_change(pose):
    """Of a point, a hand, the frame, the order, and of what is not known."""
    first, other = pose(3), pose(4)
    hands = np.full((2, 21, 3), 0.5)
    given = [
        [first, other],
        [other, first],
        [first],
        [first, None],
        [None, first],
        [replace(first, width=first.width + 1), other],
        [replace(first, height=first.height + 1), other],
        [replace(first, hands=hands), other],
        [replace(first, hands=hands + 0.1), other],
        [first, replace(other, hands=hands)],
        [],
    ]
    assert len({poses_digest(poses) for poses in given}) == len(given)
    assert poses_digest([pose(3), pose(4)]) == poses_digest(given[0])


def test_the_pose_that_lies_beside_a_photo_is_its_own(dances, pose):
    """By name, only where none is given, and only if the file holds poses."""
    photo = dances / "a.png"
    found = read_inputs([photo], ["walk-03"])
    np.testing.assert_array_equal(found.source_poses[0].keypoints, read_pose(dances / "a.json").keypoints)
    assert found.files["source_poses"] == [str(dances / "a.json")] and any("a.json" in line for line in found.said)
    given = read_inputs([photo], ["walk-03"], [dances / "b.json"])
    np.testing.assert_array_equal(given.source_poses[0].keypoints, read_pose(dances / "b.json").keypoints)
    (dances / "a.json").rename(dances / "a_keypoints.json")
    shutil.copy(photo, dances / "notes.png")
    both = read_inputs([photo, dances / "notes.png"], ["walk-03"])
    assert both.source_poses[1] is None and both.files["source_poses"][1] == "unknown"
    np.testing.assert_array_equal(both.source_poses[0].keypoints, found.source_poses[0].keypoints)
    assert read_inputs([dances / "notes.png"], ["walk-03"]).source_poses is None
    assert read_inputs([Image.open(photo)], ["walk-03"]).source_poses is None


def test_the_word_detect_reads_no_pose_from_beside_a_photo(dances):
    """Once for all photos or in place of one; a file of this name is a path with a folder or an ending."""
    photos = [dances / "a.png", dances / "b.png"]
    shutil.copy(photos[0], photos[1])
    shutil.copy(dances / "b.json", dances / "detect")
    poses = [read_pose(dances / name).keypoints.tolist() for name in ("a.json", "b.json")]

    def own(*given, count=2):
        return [
            pose and pose.keypoints.tolist() for pose in read_inputs(photos[:count], ["walk-03"], given).source_poses
        ]

    assert own() == poses
    assert own("detect") == own("detect", "detect") == own(None, None) == [None, None]
    assert read_inputs(photos, ["walk-03"], "detect").source_poses == [None, None]
    assert own("detect", dances / "a.json") == [None, poses[0]] and own("detect", count=1) == [None]
    assert own(str(dances / "detect"), count=1) == [poses[1]]
    assert read_inputs(photos, ["walk-03"], ["detect"]).files["source_poses"] == ["detect", "detect"]
    (dances / "a.json").write_text("{")
    assert own("detect", count=1) == [None]
    with pytest.raises(ValueError, match="3 source poses for 2 sources"):
        own("detect", "detect", "detect")


def test_what_is_wrong_with_a_pose_beside_a_photo_is_said_with_its_name(dances, pose, monkeypatch):
    """Each file is read once; one that holds nobody is left out, one that does not fit names the way out."""
    photo, seen = dances / "a.png", []

    def read(file, *given, **options):
        seen.append(file)
        return read_pose_file(file, *given, **options)

    monkeypatch.setattr("imagpose.serving.inputs.read_pose_file", read)
    targets = read_targets(["walk-03"])
    seen.clear()
    read_inputs([photo], targets)
    assert seen == [dances / "a.json"]
    (dances / "a.json").write_text('{"canvas_width": 90, "canvas_height": 30, "people": []}')
    with pytest.warns(UserWarning, match=r"a\.json: .*left out"):
        assert read_inputs([photo], targets).source_poses is None
    write_openpose_json(pose(0).resize(90, 30), dances / "a.json")
    with pytest.raises(ValueError, match=r"a\.json: .*lies beside a\.png: --source-pose names another, or says detect"):
        read_inputs([photo], targets)
    given = read_inputs([photo], targets, [dances / "b.json"])
    assert given.files["source_poses"] == [str(dances / "b.json")]
    assert read_inputs([photo], targets, [None]).source_poses == [None]
