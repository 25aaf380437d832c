"""Sequences of poses: gaps bridged, places smoothed, one person followed."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from imagpose.pose import Pose, PoseOptions, read_pose_file, to_openpose
from imagpose.pose.choice import nearest_person
from imagpose.pose.sequence import bridge_gaps, fill_between, one_euro, poses_between, savitzky_golay, smooth_poses
from imagpose.pose.settling import NobodyFoundError

FPS = 25.0


def track(places: np.ndarray) -> np.ndarray:
    """One point (n, 1, 3) that is seen in every frame, from places (n, 2)."""
    return np.concatenate([places, np.ones((len(places), 1))], 1)[:, None]


def poses_of(points: np.ndarray) -> list[Pose]:
    return [Pose(frame, 100, 200) for frame in points]


@pytest.fixture
def walking() -> np.ndarray:
    """18 points (30, 18, 3) that move to the right at constant acceleration, each on its own parabola."""
    time, rng = np.arange(30)[:, None, None], np.random.default_rng(0)
    start, speed, growth = (rng.uniform(low, high, (1, 18, 2)) for low, high in ((20, 60), (0, 0.5), (0, 0.02)))
    return np.concatenate([start + speed * time + growth * time**2, np.ones((30, 18, 1))], 2)


def test_savitzky_golay_is_the_value_of_a_parabola_fitted_to_the_window():
    places = np.random.default_rng(1).normal(50, 5, (40, 2))
    smoothed = savitzky_golay(track(places), 7)[:, 0, :2]
    for frame in range(40):
        start = min(max(frame - 3, 0), 33)  # at the ends the first or last window
        time = np.arange(start, start + 7)
        for axis in range(2):
            fitted = np.polynomial.Polynomial.fit(time, places[time, axis], 2)
            assert smoothed[frame, axis] == pytest.approx(fitted(frame), abs=1e-6)


def test_motion_at_constant_acceleration_stays_and_jitter_shrinks(walking):
    rng = np.random.default_rng(2)
    noisy = walking.copy()
    noisy[..., :2] += rng.normal(0, 1, noisy[..., :2].shape)
    same = np.stack([pose.keypoints for pose in smooth_poses(poses_of(walking), FPS)])
    np.testing.assert_allclose(same, walking, atol=1e-3)
    better = np.stack([pose.keypoints for pose in smooth_poses(poses_of(noisy), FPS)])
    before, after = (np.abs(own[..., :2] - walking[..., :2]).mean() for own in (noisy, better))
    assert after < 0.75 * before
    with_hold = np.stack([pose.keypoints for pose in smooth_poses(poses_of(noisy), FPS, "none")])
    np.testing.assert_allclose(with_hold, noisy, atol=1e-3)


def test_poses_far_apart_in_time_are_not_smoothed(walking):
    noisy = walking.copy()
    noisy[..., :2] += np.random.default_rng(2).normal(0, 5, noisy[..., :2].shape)
    same = np.stack([pose.keypoints for pose in smooth_poses(poses_of(noisy), 4.0)])
    np.testing.assert_allclose(same, noisy, atol=1e-3)


def test_one_euro_answers_a_step_as_its_recursion_says():
    """In body heights a second, with a cutoff of 1 Hz that grows by 4 Hz for each of them."""
    places = np.zeros((12, 2))
    places[1:, 0] = 30.0
    found = one_euro(track(places), FPS, height=60.0)[:, 0, 0]

    def weight(cutoff: float) -> float:
        return 1 / (1 + FPS / (2 * math.pi * cutoff))

    value, speed, expected = 0.0, 0.0, [0.0]
    for wanted in places[1:, 0]:
        speed += weight(1.0) * ((wanted - value) * FPS / 60.0 - speed)
        value += weight(1.0 + 4.0 * abs(speed)) * (wanted - value)
        expected.append(value)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert 20 < found[4] < 30  # five frames are a fifth of a second


def test_what_stands_still_is_held_stiller_than_what_moves():
    rng = np.random.default_rng(3)
    jitter = rng.normal(0, 0.5, (60, 2))
    still, fast = track(50 + jitter), track(50 + jitter + np.arange(60)[:, None] * 8.0)
    rest = one_euro(still, FPS, 100.0)[20:, 0, :2]
    assert rest.std() < 0.6 * (50 + jitter)[20:].std()
    lag = fast[20:, 0, :2] - one_euro(fast, FPS, 100.0)[20:, 0, :2]
    assert 0 < lag.mean() < 8.0  # behind by less than one frame's way


def test_short_gaps_are_bridged_by_straight_lines_and_long_ones_stay(walking):
    points = walking.copy()
    points[10:13, 4] = 0  # 3 frames
    points[5:15, 7] = 0  # 10 frames
    points[:2, 9] = points[28:, 9] = 0  # ends
    points[9, 4, 2], points[13, 4, 2] = 0.4, 0.9
    bridged = bridge_gaps(points, 3)
    for frame, share in ((10, 0.25), (11, 0.5), (12, 0.75)):
        expected = (1 - share) * points[9, 4, :2] + share * points[13, 4, :2]
        np.testing.assert_allclose(bridged[frame, 4], [*expected, 0.4])
    others = np.ones(points.shape[:2], bool)
    others[10:13, 4] = False
    np.testing.assert_array_equal(bridged[others], points[others])


def test_a_point_that_is_gone_for_long_stays_missing_and_frames_of_nobody_are_none(walking):
    points = walking.copy()
    points[5:15, 7] = 0
    points[20:] = 0
    frames: list[Pose | None] = [Pose(frame, 100, 200) if frame[:, 2].any() else None for frame in points]
    frames[8] = None  # short: all points but the seventh come back
    smoothed = smooth_poses(frames, FPS)
    assert smoothed[8] is not None and smoothed[8].visible.sum() == 17
    assert not any(own.visible[7] for own in smoothed[5:15]) and smoothed[4].visible[7]
    assert smoothed[20:] == [None] * 10


def test_hands_are_smoothed_too_and_only_where_they_are_known(walking):
    hands = np.zeros((2, 21, 3), np.float32)
    hands[0] = (30, 40, 1)
    frames = [Pose(frame, 100, 200, hands if number < 15 else None) for number, frame in enumerate(walking)]
    smoothed = smooth_poses(frames, FPS)
    np.testing.assert_allclose(smoothed[14].hands, hands, atol=1e-4)
    assert smoothed[15].hands is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "kalman"}, "savgol, one-euro, none"), ({"fps": 0}, "fps"), ({"fps": math.nan}, "fps")],
)
def test_what_is_refused(walking, changes, message):
    with pytest.raises(ValueError, match=message):
        smooth_poses(poses_of(walking), **{"fps": FPS, **changes})
    with pytest.raises(ValueError, match=r"frame 2 of the sequence has 50x60, the first 200x100"):
        smooth_poses([Pose(walking[0], 100, 200), Pose(walking[1], 60, 50)], FPS)


def test_one_person_is_followed_through_a_file_whatever_the_order(tmp_path, walking):
    """The other one is larger, and people change places in the list."""
    near, far = walking[:4].copy(), walking[:4].copy()
    far[..., :2] = far[..., :2] * 1.5 + (100, 0)
    frames = []
    for number in range(4):
        people = [to_openpose(Pose(own[number], 400, 300))["people"][0] for own in (near, far)]
        people = people[::-1] if number % 2 else people
        frames.append({"canvas_width": 400, "canvas_height": 300, "people": people})
    frames.insert(1, {"canvas_width": 400, "canvas_height": 300, "people": []})
    file = tmp_path / "dance.json"
    file.write_text(json.dumps(frames))
    start = Pose(near[0], 400, 300)
    followed = read_pose_file(file, PoseOptions(follow=True, last=start))
    np.testing.assert_allclose(np.stack([own.keypoints for own in followed.poses]), near, atol=1e-2)
    assert [own.number for own in followed.entries] == [1, 3, 4, 5]
    largest = read_pose_file(file, PoseOptions(follow=True))
    np.testing.assert_allclose(np.stack([own.keypoints for own in largest.poses]), far, atol=1e-2)


def test_nobody_in_a_file_is_an_error_of_its_own(tmp_path):
    file = tmp_path / "empty.json"
    file.write_text('{"people": []}')
    with pytest.raises(NobodyFoundError, match="empty.json: no people"):
        read_pose_file(file)


def test_the_nearest_person_is_found_by_points_that_both_have():
    last = np.zeros((18, 3))
    last[:5] = (10, 10, 1)
    near, far = np.full((18, 3), 14.0), np.full((18, 3), 40.0)
    near[:, 2] = far[:, 2] = 1
    far[5:, :2] = 10  # where `last` has nothing
    assert nearest_person([far, near], last) == 1
    near[:5, 2] = far[:5, 2] = 0  # nothing in common: the larger one
    far[5:, :2] = np.random.default_rng(0).uniform(20, 80, (13, 2))
    assert nearest_person([near, far], last) == 1


def some_pose(seed: int, hands: bool = False) -> Pose:
    rng = np.random.default_rng(seed)
    points = np.concatenate([rng.uniform(20, 180, (60, 2)), rng.uniform(0.5, 1, (60, 1))], 1)
    return Pose(points[:18], 200, 300, points[18:].reshape(2, 21, 3) if hands else None)


def test_between_two_poses_joints_turn_and_the_trunk_goes_straight():
    first, second = some_pose(0), some_pose(1)
    start, end = first.keypoints.copy(), second.keypoints.copy()
    for points, angle, length in ((start, 0.2, 40), (end, 0.2 + math.pi / 2, 60)):  # a quarter of a turn
        points[3, :2] = points[2, :2] + length * np.array([math.cos(angle), math.sin(angle)])
    first, second = Pose(start, 200, 300), Pose(end, 200, 300)
    (middle,) = poses_between(first, second, 1)
    np.testing.assert_allclose(
        middle.keypoints[[1, 2, 8, 0, 16], :2], ((start + end) / 2)[[1, 2, 8, 0, 16], :2], rtol=1e-6
    )
    arm = middle.keypoints[3, :2] - middle.keypoints[2, :2]
    np.testing.assert_allclose(
        arm, 50 * np.array([math.cos(0.2 + math.pi / 4), math.sin(0.2 + math.pi / 4)]), atol=1e-4
    )
    np.testing.assert_allclose(middle.keypoints[:, 2], np.minimum(start[:, 2], end[:, 2]), rtol=1e-6)


def test_a_limb_turns_the_shorter_way():
    start, end = some_pose(0).keypoints.copy(), some_pose(0).keypoints.copy()
    for points, angle in ((start, math.radians(170)), (end, math.radians(-170))):
        points[9, :2] = points[8, :2] + 40 * np.array([math.cos(angle), math.sin(angle)])
    (middle,) = poses_between(Pose(start, 200, 300), Pose(end, 200, 300), 1)
    np.testing.assert_allclose(middle.keypoints[9, :2] - middle.keypoints[8, :2], (-40, 0), atol=1e-4)


def test_the_way_back_is_the_way_there():
    first, second = some_pose(2, hands=True), some_pose(3, hands=True)
    there, back = poses_between(first, second, 4), poses_between(second, first, 4)[::-1]
    for one, other in zip(there, back, strict=True):
        np.testing.assert_allclose(one.keypoints, other.keypoints, atol=1e-3)
        np.testing.assert_allclose(one.hands, other.hands, atol=1e-3)


def test_a_body_that_only_moves_keeps_its_shape():
    first = some_pose(4, hands=True)
    second = first.crop(-30, 12, 200, 300)
    for number, pose in enumerate(poses_between(first, second, 4), 1):
        moved = first.crop(-30 * number / 5, 12 * number / 5, 200, 300)
        np.testing.assert_allclose(pose.keypoints, moved.keypoints, atol=1e-3)
        np.testing.assert_allclose(pose.hands, moved.hands, atol=1e-3)


def test_what_one_of_two_poses_lacks_is_missing_in_between():
    points = some_pose(5).keypoints.copy()
    points[[2, 9], 2] = 0
    (middle,) = poses_between(some_pose(6, hands=True), Pose(points, 200, 300), 1)
    assert np.flatnonzero(~middle.visible).tolist() == [2, 9] and middle.hands is None
    straight = (some_pose(6).keypoints[3, :2] + points[3, :2]) / 2  # nothing is left to turn about
    np.testing.assert_allclose(middle.keypoints[3, :2], straight, rtol=1e-6)


def test_a_sequence_is_filled_around_its_own_poses_and_not_beside_unknown_ones():
    poses = [some_pose(0), some_pose(1), None, some_pose(2)]
    filled = fill_between(poses, 3)
    assert [filled[place] for place in (0, 4, 8, 12)] == poses and len(filled) == 13
    assert [pose is None for pose in filled] == [False] * 5 + [True] * 7 + [False]
    assert fill_between(poses, 0) == poses and fill_between([], 3) == []
    with pytest.raises(ValueError, match="frame 2 of the sequence has 150x100"):
        fill_between([some_pose(0), some_pose(1).resize(100, 150)], 1)
