"""The poses that come with the package."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import KEYPOINT_NAMES, read_pose, read_pose_file, write_openpose_json
from imagpose.pose.library import library, named_poses
from imagpose.serving.poses import list_poses

RIGHT_SHOULDER, LEFT_SHOULDER, NOSE, NECK = (
    KEYPOINT_NAMES.index(name) for name in ("right_shoulder", "left_shoulder", "nose", "neck")
)


def test_it_has_the_groups_that_people_look_for_from_all_sides():
    groups: dict[str, list] = {}
    for name, own in library().items():
        groups.setdefault(name.rpartition("-")[0], []).append(own)
    assert len(library()) >= 60
    assert all(len(groups[group]) >= 8 for group in ("stand", "walk", "sit", "dance", "reach", "upper"))
    for group in ("stand", "walk", "upper"):
        views = " ".join(own.view for own in groups[group])
        assert all(word in views for word in ("front", "back", "facing right")), group
    for group, members in groups.items():
        assert [own.name for own in members] == [f"{group}-{n:02}" for n in range(1, len(members) + 1)]


def test_left_and_right_are_those_of_the_view():
    """Facing the camera, a person's right side is at the picture's left; facing right, the nose leads to the right."""
    for own in library().values():
        points = own.pose.keypoints
        seen_across = points[LEFT_SHOULDER, 0] - points[RIGHT_SHOULDER, 0]
        nose_ahead = points[NOSE, 0] - points[NECK, 0]
        if own.view.startswith("front") and not own.name.startswith("dance"):
            assert seen_across > 0, own.name
        if own.view.startswith("back"):
            assert seen_across < 0, own.name
        if own.view.endswith(("facing right", "to the right")) and "head" not in own.text:
            assert nose_ahead > -2, own.name
        if own.view == "facing left":
            assert nose_ahead < 0, own.name


def test_whole_bodies_are_whole_and_upper_bodies_are_not():
    for own in library().values():
        ankles = own.pose.visible[[10, 13]]
        assert not ankles.any() if own.text.startswith("upper body") else ankles.all(), own.name
        assert own.pose.visible[:2].all() and (own.pose.inside == own.pose.visible).all(), own.name


def test_no_two_are_alike():
    for one, other in combinations(library().values(), 2):
        both = one.pose.visible & other.pose.visible
        apart = np.linalg.norm(one.pose.keypoints[both, :2] - other.pose.keypoints[both, :2], axis=1).mean()
        assert apart > 0.015 * one.pose.height, (one.name, other.name)


def test_patterns_give_names_in_order():
    walks = [own.name for own in named_poses("walk-*")]
    assert walks == sorted(name for name in library() if name.startswith("walk-")) and len(walks) > 5
    assert named_poses("walk-03")[0] is library()["walk-03"] and named_poses("fly-*") == []


def test_a_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_library = library()["walk-03"].pose
    np.testing.assert_array_equal(read_pose("walk-03").keypoints, of_library.keypoints)
    assert "pose of the library, walking" in "\n".join(read_pose_file("walk-03").lines())
    write_openpose_json(library()["sit-01"].pose, tmp_path / "walk-03")
    np.testing.assert_allclose(read_pose("walk-03").keypoints, library()["sit-01"].pose.keypoints, atol=1e-3)


@pytest.mark.parametrize(("name", "near"), [("wlak-03", "walk-03"), ("dance-99", "dance-"), ("nothing", "no pose")])
def test_an_unknown_name_is_refused_with_what_is_near(name, near):
    with pytest.raises(FileNotFoundError, match="not found") as raised:
        read_pose(name)
    assert near in str(raised.value) and "\n" not in str(raised.value)


def test_the_list_and_its_sheet(tmp_path):
    sheet = tmp_path / "sheet.png"
    assert [own.name for own in list_poses(["sit-*", "sit-01"], sheet)] == [own.name for own in named_poses("sit-*")]
    with Image.open(sheet) as picture:
        assert picture.height < 400 and picture.width > 8 * 176
    assert len(list_poses()) == len(library())
    with pytest.raises(ValueError, match="fits no pose"):
        list_poses(["fly-*"])
    with pytest.raises(ValueError, match=r"\.png"):
        list_poses([], tmp_path / "sheet.jpg")
