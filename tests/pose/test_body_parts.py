"""A pose cut into parts, against lengths and angles that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from standing import (
    FACE,
    HEIGHT,
    LEGS,
    STANDING,
    TRUNK,
    WIDTH,
    Places,
    from_behind,
    from_the_side,
    looking,
    moved,
    pose,
)

from imagpose.pose.body_parts import Body, Part, find_body
from imagpose.pose.keypoints import other_side

FRONT = [
    *("left_lower_leg", "left_upper_leg", "right_lower_leg", "right_upper_leg", "trunk", "neck", "head"),
    *("left_upper_arm", "left_lower_arm", "right_upper_arm", "right_lower_arm"),
]


def body(places: Places, *missing: str) -> Body:
    found = find_body(pose(places, *missing))
    assert found is not None
    return found


def test_the_parts_of_somebody_who_stands() -> None:
    found = body(STANDING)
    assert found.scale == pytest.approx(TRUNK)
    trunk, arm, leg = (found.parts[name] for name in ("trunk", "left_lower_arm", "right_upper_leg"))
    np.testing.assert_allclose(trunk.axis, (0, 1))
    np.testing.assert_allclose(trunk.normal, (-1, 0))
    assert (trunk.length, trunk.radius) == pytest.approx((70, 1.1 * 22))  # half of 44 pixels from shoulder to shoulder
    assert (trunk.before, trunk.after) == pytest.approx((0.12 * 70 - 0.3 * 24.2, 0.15 * 70 - 0.3 * 24.2))
    assert (arm.length, arm.radius, arm.before, arm.after) == pytest.approx((np.hypot(12, 33), 10.5, 0, 0.24 * 70))
    np.testing.assert_allclose(arm.axis, np.array((12, 33)) / np.hypot(12, 33))
    assert (leg.length, leg.radius, leg.after) == pytest.approx((np.hypot(6, 54), 0.24 * 70, 0))
    head, neck = found.parts["head"], found.parts["neck"]
    np.testing.assert_allclose(head.start, (88, 35))
    np.testing.assert_allclose(head.axis, (0, -1))
    assert (head.length, head.radius, head.before) == pytest.approx((0, 22.4, 25 - 0.6 * 22.4))
    np.testing.assert_allclose((neck.start, neck.start + neck.length * neck.axis), [(88, 60), (88, 35)])


def test_turn_and_order_say_from_where_somebody_is_seen() -> None:
    front = body(STANDING)
    assert front.turn == pytest.approx(44 / 70) and list(front.parts) == FRONT
    back = body(from_behind())
    assert back.turn == pytest.approx(-44 / 70) and list(back.parts) == [*FRONT[7:], *FRONT[:7]]
    right, left = body(from_the_side(np.pi / 2)), body(from_the_side(-np.pi / 2))
    assert right.turn == left.turn == 0
    assert list(right.parts) == [*FRONT[7:9], *FRONT[:7], *FRONT[9:]]  # the left arm is behind
    for shoulders, order in ((31, right.parts), (32, FRONT)):  # .45 of 70 are 31.5
        ends = {"right_shoulder": (88 - shoulders / 2, 60), "left_shoulder": (88 + shoulders / 2, 60)}
        assert list(body(from_the_side(np.pi / 2) | ends).parts) == list(order)
    swapped = [name if name == other_side(name) else other_side(name) for name in right.parts]
    assert list(left.parts) == swapped


def test_hips_say_the_turn_where_a_shoulder_is_missing() -> None:
    assert body(STANDING, "left_shoulder").turn == pytest.approx(1.6 * 24 / 70)
    assert body(from_behind(), "left_shoulder").turn == pytest.approx(-1.6 * 24 / 70)


@pytest.mark.parametrize("degrees", [0, 30, -30, 90, -90, 150, -150])
def test_yaw_is_the_angle_of_the_head(degrees: float) -> None:
    assert np.rad2deg(body(looking(np.deg2rad(degrees))).yaw) == pytest.approx(degrees, abs=1e-3)


def test_yaw_of_a_face_that_is_seen_in_part() -> None:
    assert abs(body(STANDING, "nose", "right_eye", "left_eye").yaw) == pytest.approx(np.pi)  # ears alone: from behind
    assert body(STANDING, "right_ear", "left_ear").yaw == pytest.approx(0)  # eyes and nose: faces the camera
    assert body(STANDING | {"nose": (120, 36)}, "left_ear").yaw == pytest.approx(np.pi / 2)  # one ear: from the side
    assert body(looking(0.5), "nose").yaw == pytest.approx(0.5, abs=1e-6)  # the eyes' middle stands for a nose


def test_a_head_is_between_its_ears_and_upright_across_them() -> None:
    tilted = STANDING | {"right_ear": (80, 31), "left_ear": (96, 43)}  # 16 to the right, 12 down
    head = body(tilted).parts["head"]
    np.testing.assert_allclose(head.start, (88, 37))
    np.testing.assert_allclose(head.axis, (0.6, -0.8))
    np.testing.assert_allclose(
        body(STANDING, "left_ear").parts["head"].start, (0.7 * 80 + 0.3 * 88, 0.7 * 35 + 0.3 * 36), 1e-5
    )
    np.testing.assert_allclose(body(STANDING, "left_ear", "right_ear").parts["head"].start, (88, 32))
    np.testing.assert_allclose(body(STANDING, *FACE[1:]).parts["head"].start, (88, 36))
    np.testing.assert_allclose(body(STANDING, *FACE).parts["head"].start, (88, 60 - 0.45 * 70))
    # Without ears between the trunk's way and the neck's: from (88, 60) to (118, 20), 3 to 4.
    up = np.array([0.5 * 0.6, -0.5 - 0.5 * 0.8])
    leaning = body(STANDING | {"nose": (118, 20)}, *FACE[1:]).parts["head"].axis
    np.testing.assert_allclose(leaning, up / np.hypot(*up))


def test_foreshortening_does_not_thin_a_person() -> None:
    """Who leans towards the camera has a short trunk; the longest bone says how large they are."""
    leaning = STANDING | {"right_hip": (76, 80), "left_hip": (100, 80)}
    for joint, y in (("knee", 134), ("ankle", 186)):
        for side in ("right", "left"):
            leaning[f"{side}_{joint}"] = STANDING[f"{side}_{joint}"][0], y
    short = body(leaning)
    assert short.scale == pytest.approx(np.hypot(12, 33) / 0.52)  # a lower arm
    assert short.parts["left_upper_leg"].radius == pytest.approx(0.24 * short.scale)
    assert short.parts["trunk"].length == pytest.approx(0.3 * short.scale)
    wide = body(STANDING | {"right_shoulder": (44, 60), "left_shoulder": (132, 60)})
    assert wide.scale == pytest.approx(88 / 0.8)
    assert wide.parts["trunk"].radius == pytest.approx(1.1 * 44)


def test_a_limb_that_points_at_the_camera_hangs_down_short() -> None:
    arm = body(STANDING | {"left_wrist": STANDING["left_elbow"]}).parts["left_lower_arm"]
    assert arm.length == pytest.approx(0.08 * 70)
    np.testing.assert_allclose(arm.axis, (0, 1))


def test_legs_that_the_frame_cuts_off_go_straight_down() -> None:
    low = body(moved(0, 70), *LEGS)  # hips at 200, knees .85 * 70 below: at 259.5 of 256
    for side in ("right", "left"):
        leg = low.parts[f"{side}_upper_leg"]
        assert leg.length == pytest.approx(59.5)
        np.testing.assert_allclose(leg.axis, (0, 1))
        assert f"{side}_lower_leg" not in low.parts
    high = body(moved(0, 66), *LEGS)  # at 255.5: they would be seen if they were there
    assert not any("leg" in name for name in high.parts)
    bent = body(moved(0, 70) | {"left_knee": (150, 210)}, "right_knee", "right_ankle", "left_ankle")
    assert bent.parts["left_upper_leg"].length == pytest.approx(np.hypot(50, 10))  # one that is known stays


def test_who_has_no_parts() -> None:
    assert find_body(pose({"left_knee": (40, 40), "left_ankle": (40, 90)})) is None
    assert find_body(pose({"neck": (40, 40), "right_hip": (40, 43.9)})) is None
    assert find_body(pose({"neck": (40, 40), "right_hip": (40, 44.1)})) is not None
    shoulders = body({"left_shoulder": (60, 40), "right_shoulder": (20, 40)})
    np.testing.assert_allclose(shoulders.parts["trunk"].start, (40, 40))
    assert shoulders.parts["trunk"].length == pytest.approx(50)  # straight down


@pytest.mark.parametrize("start", [(30.0, 20.0), (-5.0, 30.0), (44.0, 58.0)])
def test_places_are_distances_from_a_line(start: tuple[float, float]) -> None:
    """Against the nearest of many points on the line; the box holds all pixels that are near enough."""
    part = Part(np.array(start), np.array([0.6, 0.8]), 12.0, 4.0, before=3.0, after=5.0)
    line = part.start + np.linspace(-3, 17, 401)[:, None] * part.axis
    x, y = np.meshgrid(np.arange(48) + 0.5, np.arange(64) + 0.5)
    expected = np.hypot(x[..., None] - line[:, 0], y[..., None] - line[:, 1]).min(axis=2) / 4
    box = part.box(1.5, 64, 48)
    along, across, distance = part.places(box)
    np.testing.assert_allclose(distance, expected[box], atol=7e-3)
    outside = np.ones((64, 48), bool)
    outside[box] = False
    assert (expected[outside] > 1.5).all()
    back = part.start + along[..., None] * part.axis + across[..., None] * np.array([-0.8, 0.6])
    np.testing.assert_allclose(back, np.stack([x, y], axis=2)[box], atol=1e-4)


def test_a_resized_body_is_that_of_the_resized_pose() -> None:
    whole, half = body(STANDING), find_body(pose(STANDING).fit(WIDTH // 2, HEIGHT // 2))
    assert half is not None
    found = whole.resized(0.5)
    assert list(found.parts) == list(half.parts) and found.scale == pytest.approx(half.scale, rel=1e-5)
    assert (found.turn, found.yaw) == (whole.turn, whole.yaw)
    for name, part in found.parts.items():
        for own, theirs in zip(vars(part).values(), vars(half.parts[name]).values(), strict=True):
            np.testing.assert_allclose(own, theirs, atol=1e-3)


def test_a_place_on_a_part_goes_from_end_to_end() -> None:
    """From round end to round end along it, from side to side across it."""
    part = Part(np.array([10.0, 10.0]), np.array([0.0, 1.0]), 20.0, 4.0, 3.0, 5.0)
    found = part.relative(np.array([-7.0, 29.0, 11.0]), np.array([0.0, 4.0, -2.0]))
    np.testing.assert_allclose(found, [[-1, 1, 0], [0, 1, -0.5]])


def test_a_box_outside_of_the_frame_is_empty() -> None:
    for start in ((400.0, -300.0), (-400.0, 900.0), (1e7, 1e7)):
        box = Part(np.array(start), np.array([0.0, 1.0]), 30.0, 5.0).box(1.5, HEIGHT, WIDTH)
        assert np.zeros((HEIGHT, WIDTH))[box].size == 0
        assert Part(np.array(start), np.array([0.0, 1.0]), 30.0, 5.0).places(box)[2].size == 0


def test_names_of_other_sides() -> None:
    assert other_side("left_upper_arm") == "right_upper_arm" and other_side("right_lower_leg") == "left_lower_leg"
    assert [other_side(name) for name in ("trunk", "neck", "head")] == ["trunk", "neck", "head"]
