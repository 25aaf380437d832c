"""The first flow from a pose to a photo, part by part, against places that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from standing import (
    BLUE,
    FACE,
    GREY,
    HEIGHT,
    LEGS,
    RED,
    STANDING,
    WIDTH,
    drawn,
    from_behind,
    from_the_side,
    looking,
    moved,
    pose,
    shape,
)

from imagpose.pose import KEYPOINT_NAMES, Pose, part_flow
from imagpose.pose.body_parts import find_body
from imagpose.pose.part_flow import PART_NUMBERS, PartFlow, PartView, find_part_flow

GRID = np.stack(np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)).astype(np.float32)
CROSSED = STANDING | {"left_elbow": (112, 95), "left_wrist": (80, 100)}
SLOPE = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None, :, None], HEIGHT, 0).repeat(3, 2)


def cut(picture: np.ndarray, own: Pose) -> PartView:
    found = PartView.of(picture, own)
    assert found is not None
    return found


def first_flow(target: Pose, source: PartView) -> PartFlow:
    body = find_body(target)
    assert body is not None
    found = find_part_flow(source, body, 1)
    assert found is not None
    assert found.flow.dtype == np.float32 and found.flow.shape == (2, target.height, target.width)
    return found


def shown(found: PartFlow | PartView, x: float, y: float) -> str:
    """Name of the part at a pixel."""
    return ["ground", *PART_NUMBERS][found.parts[int(y), int(x)]]


def test_the_own_pose_leads_to_itself() -> None:
    found = first_flow(pose(STANDING), cut(drawn(STANDING), pose(STANDING)))
    np.testing.assert_allclose(found.flow, GRID, atol=1e-3)  # off the person too
    assert not found.turned_away.any()
    assert (found.parts > 0)[shape()].mean() > 0.98


@pytest.mark.parametrize("shift", [(12, 4), (0.5, 0.25), (-7, 0)])
def test_a_shifted_pose_leads_back(shift: tuple[float, float]) -> None:
    found = first_flow(pose(moved(*shift)), cut(drawn(STANDING), pose(STANDING)))
    inside = (GRID[0] > 14) & (GRID[0] < WIDTH - 14) & (GRID[1] < HEIGHT - 14)
    back = GRID - np.array(shift, np.float32)[:, None, None]
    np.testing.assert_allclose(found.flow[:, inside], back[:, inside], atol=1e-3)


def test_somebody_who_is_half_as_large_is_found_at_half_the_place() -> None:
    small = {name: (x / 2, y / 2) for name, (x, y) in STANDING.items()}
    found = first_flow(pose(STANDING), cut(drawn(small), pose(small)))
    person = found.parts > 0
    np.testing.assert_allclose(found.flow[:, person], GRID[:, person] / 2, atol=1e-3)


def test_the_middle_of_a_cell_leads_where_its_pixels_lead_on_the_mean() -> None:
    """Parts are led linearly, off them the flow goes on at a slope of 1; so where all pixels are of one part."""
    target, source = pose(moved(5, 3)), cut(drawn(CROSSED), pose(CROSSED))
    whole, body = first_flow(target, source), find_body(target)
    assert body is not None
    found = find_part_flow(source, body, 2)
    assert found is not None and found.flow.shape == (2, HEIGHT // 2, WIDTH // 2)
    blocks = whole.parts.reshape(HEIGHT // 2, 2, WIDTH // 2, 2).swapaxes(1, 2).reshape(HEIGHT // 2, WIDTH // 2, 4)
    alike = (blocks > 0).all(axis=2) & (blocks == blocks[..., :1]).all(axis=2)
    assert alike.sum() > 1000 and (found.parts == blocks[..., 0])[alike].all()
    for own, pixelwise in ((found.flow, whole.flow), (found.on_part, whole.on_part)):
        mean = pixelwise.reshape(2, HEIGHT // 2, 2, WIDTH // 2, 2).mean(axis=(2, 4))
        np.testing.assert_allclose(own[:, alike], mean[:, alike], atol=0.05)  # heads turn as cylinders do
    far = np.s_[:, 0, 0]  # a corner: both lead on from the nearest part
    np.testing.assert_allclose(found.flow[far], whole.flow[far] + 0.5, atol=1.5)


def test_places_on_parts_are_measured_from_their_middle() -> None:
    """The lower arm's axis ends are 0 across it, and off the person there is no place."""
    found = first_flow(pose(STANDING), cut(drawn(STANDING), pose(STANDING)))
    (x, y), (end_x, end_y) = STANDING["left_elbow"], STANDING["left_wrist"]
    along, across = found.on_part[:, int((y + end_y) / 2), int((x + end_x) / 2)]
    assert shown(found, (x + end_x) / 2, (y + end_y) / 2) == "left_lower_arm"
    assert abs(across) < 0.15 and -0.5 < along < 0
    assert (found.on_part[:, found.parts == 0] == 0).all() and abs(found.on_part).max() <= 1


def test_a_raised_arm_leads_to_the_arm_of_the_source() -> None:
    """The lower arm turned by a right angle about the elbow."""
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    along = wrist - elbow
    raised = STANDING | {"left_wrist": (elbow[0] + along[1], elbow[1] - along[0])}
    found = first_flow(pose(raised), cut(drawn(STANDING), pose(STANDING)))
    lower = found.parts == PART_NUMBERS["left_lower_arm"]
    assert lower.sum() > 300
    away = GRID[:, lower] - elbow[:, None]
    np.testing.assert_allclose(found.flow[:, lower], elbow[:, None] + np.stack([-away[1], away[0]]), atol=1e-3)


def test_parts_lie_over_each_other_from_back_to_front() -> None:
    """An arm across the trunk: before it from the front, behind it from behind; the source's own parts likewise."""
    source = cut(drawn(STANDING), pose(STANDING))
    assert shown(first_flow(pose(CROSSED), source), 92, 98) == "left_lower_arm"
    assert shown(first_flow(pose(from_behind(CROSSED), *FACE), source), 84, 98) == "trunk"
    own = cut(drawn(CROSSED), pose(CROSSED))
    assert shown(own, 92, 98) == "left_lower_arm" and shown(own, 92, 80) == "trunk"


@pytest.mark.parametrize(("yaw", "arm"), [(np.pi / 2, "right"), (-np.pi / 2, "left")])
def test_from_the_side_the_near_arm_is_in_front(yaw: float, arm: str) -> None:
    found = first_flow(pose(from_the_side(yaw)), cut(drawn(STANDING), pose(STANDING)))
    assert shown(found, 88, 111) == f"{arm}_lower_arm"
    assert shown(found, 104, 105) == "trunk"  # beside it


def test_the_near_leg_is_before_the_other() -> None:
    source = cut(drawn(STANDING), pose(STANDING))
    for yaw, side in ((0.4, "right"), (-0.4, "left")):
        crossed = looking(yaw) | {"left_ankle": (70, 236), "right_ankle": (106, 236)}
        assert shown(first_flow(pose(crossed), source), 88, 210) == f"{side}_lower_leg"


def test_a_trunk_seen_right_from_the_side_is_not_mirrored() -> None:
    found = first_flow(pose(from_the_side(np.pi / 2)), cut(drawn(STANDING), pose(STANDING)))
    trunk = found.parts == PART_NUMBERS["trunk"]
    assert trunk.sum() > 500 and not found.turned_away[trunk].any()


def test_a_trunk_seen_from_behind_is_mirrored() -> None:
    """Its outermost twentieth, where outlines are, is left out: places at -.95 of the place across."""
    found = first_flow(pose(from_behind(), *FACE), cut(drawn(STANDING), pose(STANDING)))
    for y in (80, 100, 120):
        for x in range(76, 101):
            assert shown(found, x, y) == "trunk" and found.turned_away[y, x]
            np.testing.assert_allclose(found.flow[:, y, x], (88 - 0.95 * (x + 0.5 - 88), y + 0.5), atol=1e-3)


def test_limbs_seen_from_behind_keep_their_sides() -> None:
    found = first_flow(pose(from_behind(), *FACE), cut(drawn(STANDING), pose(STANDING)))
    for name, joints in (
        ("left_lower_leg", ("left_knee", "left_ankle")),
        ("right_upper_arm", ("right_shoulder", "right_elbow")),
    ):
        x, y = np.mean([STANDING[joint] for joint in joints], axis=0)
        assert shown(found, 2 * 88 - x, y) == name
        np.testing.assert_allclose(found.flow[:, int(y), int(2 * 88 - x)], (x, y), atol=1)
    assert not found.turned_away[found.parts == PART_NUMBERS["left_lower_leg"]].any()


@pytest.mark.parametrize("degrees", [30, -30, 60, -90, 180])
def test_a_face_turns_as_a_cylinder_does(degrees: float) -> None:
    """Of radius .2 trunks; places come from .95 of theirs, less .3 for a quarter turn. Its far side was not seen."""
    angle = np.deg2rad(degrees)
    found = first_flow(pose(looking(angle)), cut(drawn(looking(0)), pose(looking(0))))
    for x in range(76, 101):
        around = np.arcsin(np.clip((x + 0.5 - 88) / 14, -1, 1)) - angle
        place = 88 + (0.95 - 0.3 * abs(np.sin(angle))) * 14 * np.sin(around)
        np.testing.assert_allclose(found.flow[:, 40, x], (place, 40.5), atol=0.01)
        if abs(np.cos(around)) > 0.01:
            assert found.turned_away[40, x] == (np.cos(around) < 0)


def test_a_small_turn_of_a_head_changes_nothing() -> None:
    found = first_flow(pose(looking(0.15)), cut(drawn(looking(0)), pose(looking(0))))
    np.testing.assert_allclose(found.flow[:, 25:45, 80:96], GRID[:, 25:45, 80:96], atol=1e-3)
    assert not found.turned_away.any()


def test_hands_keep_their_size_whatever_the_arm_is_shortened_to() -> None:
    """A source of half the size whose lower arm is seen at 0.45 of its length: 10 pixels beyond the wrist are 5 there."""
    small = {name: (x / 2, y / 2) for name, (x, y) in STANDING.items()}
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    small["left_wrist"] = tuple((elbow + 0.45 * (wrist - elbow)) / 2)
    picture = drawn(small)
    found = first_flow(pose(STANDING), cut(picture, pose(small)))
    unit = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    for beyond in (4, 7, 10, 13):
        here = np.floor(wrist + beyond * unit).astype(int)
        expected = small["left_wrist"] + (here + 0.5 - wrist) / 2
        np.testing.assert_allclose(found.flow[:, here[1], here[0]], expected, atol=0.05)


def test_a_limb_that_the_source_lacks_is_the_other_sides() -> None:
    source = cut(drawn(STANDING), pose(STANDING, "left_knee", "left_ankle"))
    found = first_flow(pose(STANDING), source)
    here, there = (
        np.mean([STANDING[f"{side}_{joint}"] for joint in ("knee", "ankle")], axis=0) for side in ("left", "right")
    )
    x, y = here.astype(int)
    assert shown(found, x, y) == "left_lower_leg"
    np.testing.assert_allclose(found.flow[:, y, x], there, atol=1)
    # A photo of the trunk alone has no leg to lend.
    gone = [*LEGS, "left_hip", "right_hip"]
    none = first_flow(pose(STANDING), cut(drawn(STANDING), pose(STANDING, *gone)))
    assert not np.isin(none.parts, [number for name, number in PART_NUMBERS.items() if "leg" in name]).any()


def test_a_limb_that_the_source_hides_is_the_other_sides() -> None:
    """A lower arm that lies outside of the photo shows nothing, though its pose is known."""
    out = moved(0, 0) | {"left_elbow": (160, 95), "left_wrist": (260, 95)}
    source = cut(drawn(out), pose(out))
    far = cut(drawn(out), pose(out | {"left_elbow": (230, 95), "left_wrist": (270, 95)}))
    assert source.shows("left_lower_arm") and not far.shows("left_lower_arm")
    found = first_flow(pose(STANDING), far)
    x, y = np.mean([STANDING["left_elbow"], STANDING["left_wrist"]], axis=0).astype(int)
    assert found.flow[0, y, x] < 60  # of the right arm, which is on the left as seen


def test_legs_that_the_frame_cuts_off_are_moved_too() -> None:
    low, there = moved(0, 100), moved(8, 100)
    found = first_flow(pose(there, *LEGS), cut(drawn(low), pose(low, *LEGS)))
    assert shown(found, 76, 254) == "right_upper_leg"
    np.testing.assert_allclose(found.flow[:, 254, 76], (68.5, 254.5), atol=1e-3)


def test_off_the_person_the_flow_goes_on_from_the_nearest_part() -> None:
    found = first_flow(pose(from_behind(CROSSED), *FACE), cut(drawn(STANDING), pose(STANDING)))
    rows, columns = np.nonzero(found.parts)
    rng = np.random.default_rng(1)
    for y, x in zip(rng.integers(0, HEIGHT, 60), rng.integers(0, WIDTH, 60), strict=True):
        far = np.hypot(rows - y, columns - x)
        nearest = np.flatnonzero(far < far.min() + 1e-6)
        places = found.flow[:, rows[nearest], columns[nearest]] + np.stack([x - columns[nearest], y - rows[nearest]])
        limits = np.array([WIDTH + 20, HEIGHT + 20])
        assert np.abs(places.T.clip(-20, limits) - found.flow[:, y, x]).max(axis=1).min() < 1e-3


def test_what_differs_from_the_ground_by_thirteen_levels_is_the_person() -> None:
    """16 of the trunk's 24 pixels from its axis; within .55 radii it is a part whatever its colour."""
    faint, strong = (
        cut(drawn(STANDING, **dict.fromkeys(("trunk", "head"), (20 + levels, 20, 20))), pose(STANDING))
        for levels in (12, 13)
    )
    assert (shown(faint, 104, 100), shown(strong, 104, 100)) == ("ground", "trunk")
    assert shown(faint, 98, 100) == shown(strong, 98, 100) == "trunk"


def test_a_part_hides_those_behind_it_within_three_quarters_of_its_radius() -> None:
    """Pixels of a part behind at .5, and of one before it at other distances, in radii."""
    before = np.array([[0.4, 0.7, 0.8, 1.2, 1.6]], np.float32)
    box = (slice(0, 1), slice(0, 5))
    behind = np.full((1, 5), 0.5, np.float32)
    found = part_flow._find_parts([(3, box, behind), (7, box, before)], np.ones((1, 5), bool))
    assert found.tolist() == [[7, 7, 3, 3, 3]]
    alone = part_flow._find_parts([(7, box, before)], np.array([[False, False, True, True, True]]))
    assert alone.tolist() == [[7, 0, 7, 7, 0]]  # beyond .55 radii only what is no ground; beyond 1.55 nothing


def test_the_ground_is_laid_between_what_is_known() -> None:
    """A slope of grey from left to right stays one where the person stood."""
    picture = np.where(shape()[..., None], np.array(RED, np.uint8), SLOPE)
    np.testing.assert_allclose(cut(picture, pose(STANDING)).ground.astype(int), SLOPE.astype(int), atol=1)


def test_who_is_wider_than_their_parts_leaves_the_ground_too() -> None:
    """Lower legs up to 19 pixels wide to a side where a part has 13."""
    picture = drawn(STANDING).copy()
    for x in (66, 110):
        picture[200:230, x - 15 : x + 16] = RED
    assert (cut(picture, pose(STANDING)).ground == 20).all()


def test_rows_without_ground_are_as_the_nearest_that_have_some() -> None:
    """Somebody whose trunk fills the picture from side to side, before a ground of two colours."""
    points = np.zeros((18, 3), np.float32)
    for name in ("neck", "right_shoulder", "left_shoulder", "right_hip", "left_hip"):
        x, y = STANDING[name]
        points[KEYPOINT_NAMES.index(name)] = x - 68, y + 80, 1
    picture = np.full((340, 40, 3), 250, np.uint8)
    picture[:90], picture[240:] = 30, 90
    ground = cut(picture, Pose(points, 40, 340)).ground
    # The head's part reaches up to row 73, the trunk's down to 251.
    assert (ground[:155] == 30).all() and (ground[170:] == 90).all()


def test_the_middle_of_a_part_is_the_persons_whatever_its_colour() -> None:
    """A grey shirt before grey ground: up to .55 radii, of 24.2 pixels, it is the trunk."""
    own = cut(drawn(STANDING, trunk=GREY), pose(STANDING))
    assert shown(own, 88 - 12, 95) == shown(own, 88 + 12, 95) == "trunk"  # 13.3 pixels
    assert shown(own, 88 - 15, 95) == "ground" and shown(own, 88, 200) == "ground"
    assert shown(cut(drawn(STANDING, trunk=BLUE), pose(STANDING)), 88 - 15, 95) == "trunk"


def test_who_has_no_parts_has_no_flow() -> None:
    assert PartView.of(drawn(STANDING), None) is None
    assert PartView.of(drawn(STANDING), pose({"left_knee": (40, 40), "left_ankle": (40, 90)})) is None
    far = {name: (x + 400, y - 300) for name, (x, y) in STANDING.items()}
    body, away = find_body(pose(STANDING)), find_body(pose(far))
    assert body is not None and away is not None
    assert find_part_flow(cut(drawn(STANDING), pose(far)), body, 1) is None  # the source shows nobody
    assert find_part_flow(cut(drawn(STANDING), pose(STANDING)), away, 1) is None  # nobody is in the target
    np.testing.assert_array_equal(cut(drawn(STANDING), pose(far)).ground, drawn(STANDING))


def test_a_limb_that_points_at_the_camera_changes_nothing_else() -> None:
    pointing = STANDING | {"left_wrist": STANDING["left_elbow"]}
    with np.errstate(all="raise"):
        for own, target in ((STANDING, pointing), (pointing, STANDING), (pointing, pointing)):
            found = first_flow(pose(target), cut(drawn(own), pose(own)))
            np.testing.assert_allclose(found.flow[:, 70:120, 80:96], GRID[:, 70:120, 80:96], atol=1e-3)


def test_no_pose_raises() -> None:
    """Points anywhere, missing or all in one place, frames of a few pixels: places within the margin, no overflow."""
    rng, made = np.random.default_rng(12), 0
    for _ in range(60):
        height, width = [(64, 44), (9, 17), (1, 1)][rng.integers(3)]
        picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)

        def anywhere(size: tuple[int, int] = (width, height)) -> Pose:
            points = rng.choice([-1e6, -3.0, 0.0, 1e6], (18, 2)) * rng.integers(0, 2, (18, 1)) * rng.integers(0, 2)
            points += rng.uniform(0, size, (18, 2)) * rng.integers(0, 2)
            seen = rng.random((18, 1)) < rng.choice([0.4, 1.0])
            return Pose(np.where(seen, np.concatenate([points, seen], 1), 0).astype(np.float32), *size)

        with np.errstate(all="raise"):
            source, body = PartView.of(picture, anywhere()), find_body(anywhere())
            found = None if source is None or body is None else find_part_flow(source, body, 1)
        if found is not None:
            assert found.flow.shape == (2, height, width) and found.parts.shape == (height, width)
            for places, size in zip(found.flow, (width, height), strict=True):
                assert (places >= -20).all() and (places <= size + 20).all()  # which NaN is not
            made += 1
    assert made > 10


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the picture is 100x80, its pose's frame 256x176"):
        PartView.of(np.zeros((100, 80, 3), np.uint8), pose(STANDING))
