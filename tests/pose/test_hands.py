"""Hands on drawn skeletons."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from imagpose.pose import Pose, draw_skeleton, draw_skeletons, read_skeleton_picture
from imagpose.pose.drawing import HAND_BONES
from imagpose.pose.library import library

WRISTS = (7, 4)  # of the left and of the right hand


def with_hands(pose: Pose, reach: float = 8.0) -> Pose:
    """Open hands at the wrists: five fingers of four points each."""
    hands = np.ones((2, 21, 3), np.float32)
    for hand, wrist in zip(hands, WRISTS, strict=True):
        hand[:, :2] = pose.keypoints[wrist, :2]
        for finger in range(5):
            turn = np.pi * (0.1 + 0.2 * finger)
            along = np.arange(1, 5)[:, None] * np.array([np.cos(turn), -np.sin(turn)])
            hand[1 + 4 * finger : 5 + 4 * finger, :2] += reach * along
    return replace(pose, hands=hands)


POSE = with_hands(library()["dance-01"].pose)


def test_bones_lead_from_the_wrist_along_each_finger():
    assert len(HAND_BONES) == 20 and {end for _, end in HAND_BONES} == set(range(1, 21))
    assert [start for start, _ in HAND_BONES].count(0) == 5
    assert HAND_BONES[:5] == ((0, 1), (1, 2), (2, 3), (3, 4), (0, 5))


def test_hands_are_drawn_only_when_asked_for():
    bare = draw_skeleton(replace(POSE, hands=None))
    assert draw_skeleton(POSE).tobytes() == bare.tobytes()
    assert draw_skeleton(replace(POSE, hands=None), hands=True).tobytes() == bare.tobytes()
    shown = np.asarray(draw_skeleton(POSE, hands=True))
    changed = (shown != np.asarray(bare)).any(2)
    rows, columns = np.nonzero(changed)
    places = POSE.hands[..., :2].reshape(-1, 2)
    assert places[:, 0].min() - 6 < columns.min() and columns.max() < places[:, 0].max() + 6
    assert places[:, 1].min() - 6 < rows.min() and rows.max() < places[:, 1].max() + 6


@pytest.mark.parametrize("exact", [False, True])
def test_points_are_blue_and_missing_ones_are_not_drawn(exact):
    far = POSE.resize(1056, 1536)
    shown = np.asarray(draw_skeleton(far, exact=exact, hands=True))
    for x, y, _ in far.hands[0, 4::4]:
        assert tuple(shown[int(y), int(x)]) == (0, 0, 255)
    hands = far.hands.copy()
    hands[0, :, 2] = 0
    none_left = np.asarray(draw_skeleton(replace(far, hands=hands), exact=exact, hands=True))
    for x, y, _ in far.hands[0, 4::4]:
        assert not none_left[int(y), int(x)].any()


def test_a_drawing_with_hands_is_read_as_the_same_body():
    large = POSE.resize(704, 1024)
    read, _ = read_skeleton_picture(draw_skeleton(large, exact=True, hands=True))
    body = [index for index in range(14) if large.visible[index]]
    assert np.linalg.norm(read.keypoints[body, :2] - large.keypoints[body, :2], axis=1).max() < 0.02 * 1024


def test_tensors_have_them_too():
    tall = POSE.resize(176, 256)
    drawn = draw_skeletons([tall, None], 256, 176, 16, hands=True)
    expected = np.asarray(draw_skeleton(tall, hands=True))
    np.testing.assert_array_equal(drawn[0].movedim(0, -1).numpy(), expected)
    assert not drawn[1].any() and Image.fromarray(expected).size == (176, 256)
