"""A photo moved into another pose, limb by limb, against colours and places that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from standing import (
    ALL_RED,
    BLUE,
    FACE,
    GREEN,
    GREY,
    HEIGHT,
    LEGS,
    RED,
    STANDING,
    WIDTH,
    Colour,
    count,
    drawn,
    from_behind,
    from_the_side,
    linear,
    looking,
    moved,
    near,
    noise,
    pose,
    shape,
    source,
    warped,
)

from imagpose.pose import KEYPOINT_NAMES, Pose, WarpSource, warp


def test_the_own_pose_gives_the_person_back_on_a_filled_ground() -> None:
    picture = noise(0)
    result = warped(pose(STANDING), source(picture, pose(STANDING)))
    for name, (x, y) in STANDING.items():
        np.testing.assert_array_equal(near(result, x, y), near(picture, x, y), name)
    assert (result[~shape()] == 20).all()
    assert (result == picture).all(axis=2)[shape()].mean() > 0.98


def test_clothes_come_along_up_to_the_radius_of_their_part() -> None:
    """A shirt 23 pixels wide to a side, of a trunk with a radius of 24.2."""
    picture = drawn(STANDING)
    picture[80:125, 65:111] = np.random.default_rng(13).integers(60, 256, (45, 46, 3))
    result = warped(pose(moved(0, 5)), source(picture, pose(STANDING)))
    np.testing.assert_array_equal(result[107:127, 66:110], picture[102:122, 66:110])


def test_a_shifted_pose_shifts_the_person() -> None:
    picture = noise(1)
    result = warped(pose(moved(12, 4)), source(picture, pose(STANDING)))
    for name, (x, y) in STANDING.items():
        np.testing.assert_array_equal(near(result, x + 12, y + 4), near(picture, x, y), name)


def test_half_a_pixel_mixes_two_and_a_quarter_three_to_one() -> None:
    picture = noise(1).astype(float)
    columns = slice(80, 96)
    one, other = picture[75:120, columns], picture[75:120, 79:95]
    for shift, share in ((0.5, 0.5), (0.25, 0.25)):
        result = warped(pose(moved(shift, 0)), source(picture.astype(np.uint8), pose(STANDING)))
        np.testing.assert_allclose(result[75:120, columns], one * (1 - share) + other * share, atol=0.51)
    down = warped(pose(moved(0, 0.25)), source(picture.astype(np.uint8), pose(STANDING)))
    expected = 0.75 * picture[75:120, columns] + 0.25 * picture[74:119, columns]
    np.testing.assert_allclose(down[75:120, columns], expected, atol=0.51)


def test_a_raised_arm_shows_the_arm_of_the_source() -> None:
    """The lower arm turned by a right angle about the elbow: middles of pixels come to lie on middles of pixels."""
    picture = noise(2)
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    along = wrist - elbow
    raised = STANDING | {"left_wrist": (elbow[0] + along[1], elbow[1] - along[0])}
    result = warped(pose(raised), source(picture, pose(STANDING)))
    same = []
    for share in np.linspace(0.35, 1.2, 18):
        for across in (-3, 0, 3):
            here = elbow + share * np.array([along[1], -along[0]]) + across * np.array([0.342, 0.94])
            x, y = np.floor(here).astype(int)
            dx, dy = x + 0.5 - elbow[0], y + 0.5 - elbow[1]
            there = int(elbow[1] + dx - 0.5), int(elbow[0] - dy - 0.5)
            same.append((result[y, x] == picture[there]).all())
    assert len(same) == 54 and np.mean(same) > 0.95


def test_parts_lie_over_each_other_from_back_to_front() -> None:
    """An arm across the trunk: before it from the front, behind it from behind."""
    crossed = STANDING | {"left_elbow": (112, 95), "left_wrist": (80, 100)}
    own = source(drawn(STANDING, left_arm=GREEN), pose(STANDING))
    assert tuple(warped(pose(crossed), own)[98, 92]) == GREEN
    back = warped(pose(from_behind(crossed), *FACE), own)
    assert tuple(back[98, 84]) == RED and count(back[90:110, 76:100], GREEN) == 0


@pytest.mark.parametrize(("yaw", "arm"), [(np.pi / 2, BLUE), (-np.pi / 2, GREEN)])
def test_from_the_side_the_near_arm_is_in_front(yaw: float, arm: Colour) -> None:
    own = source(drawn(STANDING, left_arm=GREEN, right_arm=BLUE), pose(STANDING))
    result = warped(pose(from_the_side(yaw)), own)
    assert tuple(result[105, 88]) == arm
    assert tuple(result[105, 102]) == RED  # the trunk beside it


def test_the_near_leg_is_before_the_other() -> None:
    own = source(drawn(STANDING, left_leg=GREEN), pose(STANDING))
    for yaw, colour in ((0.4, RED), (-0.4, GREEN)):
        crossed = looking(yaw) | {"left_ankle": (70, 236), "right_ankle": (106, 236)}
        assert tuple(warped(pose(crossed), own)[210, 88]) == colour


def test_an_arm_before_the_trunk_leaves_none_on_it() -> None:
    """What it hides of the trunk is filled in; the arm itself goes with its own part."""
    crossed = STANDING | {"left_elbow": (112, 95), "left_wrist": (80, 100)}
    picture = drawn(crossed, left_arm=GREEN)
    assert count(picture[62:128, 78:98], GREEN) > 100
    result = warped(pose(STANDING), source(picture, pose(crossed)))
    assert count(result[62:128, 78:98], RED) == 66 * 20
    assert tuple(result[112, 132]) == GREEN


def test_a_trunk_seen_from_behind_is_mirrored() -> None:
    """Its outermost twentieth, where outlines are, is left out: colours at -.95 of the place across."""
    picture = noise(3)
    result = warped(pose(from_behind(), *FACE), source(picture, pose(STANDING)))
    for y in (80, 100, 120):
        for x in range(76, 101):
            expected = linear(picture[y], 88 - 0.95 * (x + 0.5 - 88))
            np.testing.assert_allclose(result[y, x], expected, atol=0.6)


def test_an_outline_seen_from_behind_is_mirrored() -> None:
    """A waist that is cut in on the person's left."""
    picture = drawn(STANDING)
    picture[100:120, 102:112] = GREY
    result = warped(pose(from_behind(), *FACE), source(picture, pose(STANDING)))
    assert tuple(result[110, 70]) == GREY and tuple(result[110, 105]) == RED


def test_what_is_filled_in_is_not_an_outlines_colour() -> None:
    """Blue pixels, one row of them, around the green arm: they stay where they are, but what the arm hides is red."""
    crossed = STANDING | {"left_elbow": (112, 95), "left_wrist": (80, 100)}
    picture, rim = drawn(crossed, left_arm=GREEN), source(drawn(crossed), pose(crossed)).body.parts["left_lower_arm"]
    box = rim.box(1, HEIGHT, WIDTH)
    distance = rim.places(box)[2] * rim.radius
    picture[box][(distance >= 7.2) & (distance < 0.75 * rim.radius + 0.85)] = BLUE
    result = warped(pose(STANDING), source(picture, pose(crossed)))
    assert (result[95:101, 82:94] == RED).all()


def test_limbs_seen_from_behind_keep_their_sides() -> None:
    own = source(drawn(STANDING, left_leg=GREEN, right_arm=BLUE), pose(STANDING))
    result = warped(pose(from_behind(), *FACE), own)
    assert tuple(result[215, 2 * 88 - 109]) == GREEN and tuple(result[215, 109]) == RED
    assert tuple(result[112, 2 * 88 - 44]) == BLUE and tuple(result[112, 44]) == RED


def test_legs_that_the_frame_cuts_off_are_moved_too() -> None:
    low, there = moved(0, 100), moved(8, 100)
    picture = drawn(low, right_leg=GREEN)
    result = warped(pose(there, *LEGS), source(picture, pose(low, *LEGS)))
    assert tuple(picture[255, 70]) == tuple(result[255, 78]) == GREEN


def test_each_part_comes_from_the_source_that_is_turned_most_alike() -> None:
    hidden = ("nose", "left_eye", "right_eye")
    back = from_behind()
    sources = [
        source(drawn(STANDING), pose(STANDING)),
        source(drawn(back, **dict.fromkeys(ALL_RED, BLUE)), pose(back, *hidden)),
    ]
    for order in (sources, sources[::-1]):
        front, behind = warped(pose(moved(3, 0)), *order), warped(pose(back, *hidden), *order)
        for x, y in ((88, 95), (88, 34), (70, 184)):
            assert tuple(front[y, x]) == RED and tuple(behind[y, x]) == BLUE


def test_of_equally_turned_sources_the_one_that_shows_more_of_a_part() -> None:
    crossed = STANDING | {"left_elbow": (112, 95), "left_wrist": (80, 100)}
    hidden = source(drawn(crossed), pose(crossed))
    free = source(drawn(STANDING, trunk=BLUE), pose(STANDING))
    for order in ((hidden, free), (free, hidden)):
        assert tuple(warped(pose(STANDING), *order)[75, 88]) == BLUE


def test_hands_keep_their_size_whatever_the_arm_is_shortened_to() -> None:
    """A source of half the size whose lower arm is seen at 0.45 of its length: 10 pixels beyond the wrist are 5 there."""
    small = {name: (x / 2, y / 2) for name, (x, y) in STANDING.items()}
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    small["left_wrist"] = tuple((elbow + 0.45 * (wrist - elbow)) / 2)
    picture = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    x, y = np.meshgrid(np.arange(58, 78), np.arange(45, 75))
    picture[45:75, 58:78] = np.stack([60 + 9 * (x - 58), 60 + 6 * (y - 45), 0 * x + 200], axis=2)  # its own map
    result = warped(pose(STANDING), source(picture, pose(small)))
    unit = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    for beyond in (4, 7, 10, 13):
        here = np.floor(wrist + beyond * unit).astype(int)
        x, y = small["left_wrist"] + (here + 0.5 - wrist) / 2 - 0.5
        np.testing.assert_allclose(result[here[1], here[0]], (60 + 9 * (x - 58), 60 + 6 * (y - 45), 200), atol=0.6)


def test_a_limb_that_no_source_shows_is_the_other_sides() -> None:
    own = source(drawn(STANDING, right_leg=GREEN), pose(STANDING, "left_knee", "left_ankle"))
    assert tuple(warped(pose(STANDING), own)[215, 108]) == GREEN
    # A picture of the trunk alone has no leg to lend: there is ground.
    gone = [*LEGS, "left_hip", "right_hip"]
    result = warped(pose(STANDING), source(drawn(STANDING, right_leg=GREEN), pose(STANDING, *gone)))
    seen = source(drawn(STANDING, right_leg=GREEN), pose(STANDING, *gone)).ground
    np.testing.assert_array_equal(result[200:], seen[200:])


def test_the_ground_is_laid_between_what_is_known() -> None:
    """A slope of grey from left to right stays one where the person stood."""
    picture = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None, :, None], HEIGHT, 0).repeat(3, 2)
    found = source(picture, pose(STANDING))
    np.testing.assert_allclose(found.ground.astype(int), picture.astype(int), atol=1)


def test_what_a_part_does_not_cover_is_the_ground_behind_it() -> None:
    """A person before a slope of grey, moved: nothing of the slope moves along, and no rim stays at the old place."""
    slope = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None, :, None], HEIGHT, 0).repeat(3, 2)
    picture = np.where(shape()[..., None], np.array((250, 20, 250), np.uint8), slope)
    result = warped(pose(moved(24, 0)), source(picture, pose(STANDING)))
    behind = ~np.roll(shape(), 24, axis=1)
    np.testing.assert_allclose(result[behind].astype(int), slope[behind].astype(int), atol=1)


def test_the_ground_is_the_first_sources() -> None:
    back = from_behind()
    other = drawn(back, trunk=BLUE).copy()
    other[~shape(back)] = 120
    sources = [source(drawn(STANDING), pose(STANDING)), source(other, pose(back))]
    result = warped(pose(back), *sources)
    assert tuple(result[95, 88]) == BLUE
    assert (result[~shape(back)] == 20).all()


def test_who_is_wider_than_their_parts_leaves_the_ground_too() -> None:
    """Lower legs up to 19 pixels wide to a side where a part has 13."""
    picture = drawn(STANDING).copy()
    for x in (66, 110):
        picture[200:230, x - 15 : x + 16] = RED
    assert (source(picture, pose(STANDING)).ground == 20).all()


def test_the_middle_of_a_part_is_the_persons_whatever_its_colour() -> None:
    """A grey shirt before grey ground: its middle moves along, up to .55 radii."""
    own = source(drawn(STANDING, trunk=GREY), pose(STANDING))
    trunk = list(own.body.parts).index("trunk")
    assert own.owners[95, 88 - 12] == own.owners[95, 88 + 12] == trunk  # .55 of 24.2 is 13.3
    assert own.owners[95, 88 - 15] != trunk and own.owners[200, 88] == -1


def test_rows_without_ground_are_as_the_nearest_that_have_some() -> None:
    """Somebody whose trunk fills the picture from side to side, before a ground of two colours."""
    names = ("neck", "right_shoulder", "left_shoulder", "right_hip", "left_hip")
    points = np.zeros((18, 3), np.float32)
    for name in names:
        x, y = STANDING[name]
        points[KEYPOINT_NAMES.index(name)] = x - 68, y + 80, 1
    picture = np.full((340, 40, 3), 250, np.uint8)
    picture[:90], picture[240:] = 30, 90
    ground = source(picture, Pose(points, 40, 340)).ground
    # The head's part reaches up to row 73, the trunk's down to 251.
    assert (ground[:155] == 30).all() and (ground[170:] == 90).all()


def test_a_limb_that_points_at_the_camera_changes_nothing_else() -> None:
    picture = noise(10)
    pointing = STANDING | {"left_wrist": STANDING["left_elbow"]}
    with np.errstate(all="raise"):
        for own, target in ((STANDING, pointing), (pointing, STANDING), (pointing, pointing)):
            result = warped(pose(target), source(picture, pose(own)))
            np.testing.assert_array_equal(result[70:120, 80:96], picture[70:120, 80:96])


def test_who_has_no_parts_is_not_warped() -> None:
    picture = noise(4)
    assert WarpSource.of(picture, None) is None
    assert WarpSource.of(picture, pose({"left_knee": (40, 40), "left_ankle": (40, 90)})) is None
    assert warp([source(picture, pose(STANDING))], pose({"left_knee": (40, 40)})) is None


def test_parts_outside_of_the_frame_do_no_harm() -> None:
    far = {name: (x + 400, y - 300) for name, (x, y) in STANDING.items()}
    own = source(noise(5), pose(STANDING))
    for target in (pose(far), pose(STANDING | {"left_wrist": (1e5, -1e5)})):
        warped(target, own)
    np.testing.assert_array_equal(warped(pose(far), own), own.ground)
    np.testing.assert_array_equal(source(noise(5), pose(far)).ground, noise(5))  # nobody is seen


def test_no_pose_raises() -> None:
    """Points anywhere, missing or all in one place, frames of a few pixels: a picture or None, and no overflow."""
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
            sources = [own for own in (WarpSource.of(picture, anywhere()) for _ in range(2)) if own is not None]
            result = warp(sources, anywhere()) if sources else None
        assert result is None or (result.shape == picture.shape and result.dtype == np.uint8)
        made += result is not None
    assert made > 10


def test_frames_of_another_size_are_refused() -> None:
    own = pose(STANDING)
    with pytest.raises(ValueError, match=r"the picture is 100x80, its pose's frame 256x176"):
        WarpSource.of(np.zeros((100, 80, 3), np.uint8), own)
    with pytest.raises(ValueError, match=r"the target's frame is 128x88, a source 256x176"):
        warp([source(noise(6), own)], own.resize(88, 128))
    with pytest.raises(ValueError, match="no source"):
        warp([], own)
