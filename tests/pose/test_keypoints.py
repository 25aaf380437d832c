import numpy as np
import pytest

from imagpose.pose import KEYPOINT_NAMES, LIMBS, Pose


def make_pose(width: int = 100, height: int = 200) -> Pose:
    """Point i at (10 + i, 20 + 2 i), the nose missing."""
    index = np.arange(18)
    points = np.stack([10 + index, 20 + 2 * index, np.full(18, 0.9)], 1)
    points[0] = [-1, -1, 0]
    return Pose(points, width, height)


def test_order_is_that_of_openpose_coco():
    assert len(KEYPOINT_NAMES) == 18
    assert KEYPOINT_NAMES[:3] == ("nose", "neck", "right_shoulder")
    assert KEYPOINT_NAMES[5] == "left_shoulder"
    assert KEYPOINT_NAMES[8:14] == ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle")
    assert KEYPOINT_NAMES[14:] == ("right_eye", "left_eye", "right_ear", "left_ear")


def test_limbs_are_those_of_controlnet_in_its_order():
    published = "2,3 2,6 3,4 4,5 6,7 7,8 2,9 9,10 10,11 2,12 12,13 13,14 2,1 1,15 15,17 1,16 16,18"  # counted from 1
    assert [tuple(int(number) - 1 for number in pair.split(",")) for pair in published.split()] == list(LIMBS)


def test_scale_resize_and_crop_move_found_points_only():
    pose = make_pose()
    moved = {
        "scale": (pose.scale(2, 0.5), [22, 11], (100, 200)),
        "resize": (pose.resize(50, 400), [5.5, 44], (50, 400)),
        "crop": (pose.crop(5, 6, 30, 40), [6, 16], (30, 40)),
    }
    for name, (result, neck, frame) in moved.items():
        np.testing.assert_allclose(result.keypoints[1], [*neck, 0.9], rtol=1e-6, err_msg=name)
        np.testing.assert_array_equal(result.keypoints[0], [-1, -1, 0], err_msg=name)
        assert (result.width, result.height) == frame, name


def test_mirror_swaps_left_and_right():
    pose = make_pose()
    mirrored = pose.mirror()
    for index, name in enumerate(KEYPOINT_NAMES):
        other = {"left": "right", "right": "left"}.get(name.split("_")[0])
        partner = KEYPOINT_NAMES.index(name.replace(name.split("_")[0], other)) if other else index
        if pose.visible[partner]:
            x, y, confidence = pose.keypoints[partner]
            np.testing.assert_allclose(mirrored.keypoints[index], [100 - x, y, confidence])
    np.testing.assert_allclose(mirrored.mirror().keypoints, pose.keypoints)


def test_visible_and_inside():
    points = np.zeros((18, 3))
    points[3] = [5, 5, 0.5]
    points[4] = [100.5, 5, 1]
    points[5] = [-0.5, 5, 1]
    points[6], points[7] = [100, 5, 1], [0, 200, 1]  # on the edge: where fractions of 1 come to lie
    pose = Pose(points, 100, 200)
    assert np.flatnonzero(pose.visible).tolist() == [3, 4, 5, 6, 7]
    assert np.flatnonzero(pose.inside).tolist() == [3, 6, 7]


@pytest.mark.parametrize(
    ("points", "frame", "message"),
    [
        (np.zeros((17, 3)), (9, 9), r"\(18, 3\) expected"),
        (np.full((18, 3), np.nan), (9, 9), "not finite"),
        (np.full((18, 3), 1.5), (9, 9), "between 0 and 1"),
        (np.full((18, 3), -0.5), (9, 9), "between 0 and 1"),
        (np.ones((18, 3)), (0, 9), "the frame is 9x0 .*; sides from 1 to 20,000"),
        (np.ones((18, 3)), (100_000, 1), "the frame is 1x100000 .*; sides from 1 to 20,000"),
        (np.ones((18, 3)), (20_000, 20_000), "at most 100,000,000 pixels"),
    ],
)
def test_impossible_poses_are_refused(points, frame, message):
    with pytest.raises(ValueError, match=message):
        Pose(points, *frame)
