"""A photo moved into another pose, limb by limb, against places that are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagpose.pose import KEYPOINT_NAMES, Pose, WarpSource, warp

HEIGHT, WIDTH = 256, 176
# Somebody who faces the camera and spreads arms and legs a little; their trunk is 70 pixels long.
STANDING = {
    "nose": (88, 36), "neck": (88, 60), "right_shoulder": (66, 60), "right_elbow": (50, 95), "right_wrist": (38, 128),
    "left_shoulder": (110, 60), "left_elbow": (126, 95), "left_wrist": (138, 128), "right_hip": (76, 130),
    "right_knee": (70, 184), "right_ankle": (66, 236), "left_hip": (100, 130), "left_knee": (106, 184),
    "left_ankle": (110, 236), "right_eye": (84, 32), "left_eye": (92, 32), "right_ear": (80, 35), "left_ear": (96, 35),
}  # fmt: skip


def pose(places: dict[str, tuple[float, float]], *missing: str) -> Pose:
    points = np.zeros((18, 3), np.float32)
    for name, (x, y) in places.items():
        if name not in missing:
            points[KEYPOINT_NAMES.index(name)] = x, y, 1
    return Pose(points, WIDTH, HEIGHT)


def moved(x: float, y: float, *names: str) -> dict[str, tuple[float, float]]:
    """The standing pose with some points, or all, moved by x and y."""
    return {
        name: (place[0] + x, place[1] + y) if not names or name in names else place for name, place in STANDING.items()
    }


def from_behind() -> dict[str, tuple[float, float]]:
    """The standing pose mirrored, so that left is on the left as seen."""
    return {name: (2 * 88 - x, y) for name, (x, y) in STANDING.items()}


def shape(places: dict[str, tuple[float, float]]) -> np.ndarray:
    """A person drawn with a thick pen, bool (H, W)."""
    picture = Image.new("L", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(picture)
    corners = ("right_shoulder", "left_shoulder", "left_hip", "right_hip")
    pen.polygon([places[name] for name in corners], fill=255)
    for side in ("left", "right"):
        for joints, width in ((("shoulder", "elbow", "wrist"), 12), (("hip", "knee", "ankle"), 16)):
            pen.line([places[f"{side}_{joint}"] for joint in joints], fill=255, width=width, joint="curve")
    (x, y), neck = places["nose"], places["neck"]
    pen.ellipse((x - 13, y - 16, x + 13, y + 16), fill=255)
    pen.line([places["nose"], neck], fill=255, width=12)
    return np.asarray(picture) > 127


def noise(seed: int, places: dict[str, tuple[float, float]] = STANDING) -> np.ndarray:
    """Noise in the person's shape before a dark ground of one colour."""
    texture = np.random.default_rng(seed).integers(60, 256, (HEIGHT, WIDTH, 3))
    return np.where(shape(places)[..., None], texture, 20).astype(np.uint8)


def plain(colour: tuple[int, int, int], places: dict[str, tuple[float, float]] = STANDING) -> np.ndarray:
    """One colour in the person's shape."""
    return np.where(shape(places)[..., None], colour, 20).astype(np.uint8)


def source(picture: np.ndarray, own: Pose) -> WarpSource:
    found = WarpSource.of(picture, own)
    assert found is not None
    return found


def near(picture: np.ndarray, x: float, y: float, side: int = 2) -> np.ndarray:
    return picture[int(y) - side : int(y) + side + 1, int(x) - side : int(x) + side + 1]


def test_the_own_pose_gives_the_person_back_on_a_filled_ground() -> None:
    picture = noise(0)
    result = warp([source(picture, pose(STANDING))], pose(STANDING))
    assert result is not None and result.dtype == np.uint8
    for name, (x, y) in STANDING.items():
        np.testing.assert_array_equal(near(result, x, y), near(picture, x, y), name)
    assert (result[~shape(STANDING)] == 20).all()
    shown = (result == picture).all(axis=2)[shape(STANDING)]
    assert shown.mean() > 0.98


def test_a_shifted_pose_shifts_the_person() -> None:
    picture = noise(1)
    result = warp([source(picture, pose(STANDING))], pose(moved(12, 4)))
    assert result is not None
    for name, (x, y) in STANDING.items():
        np.testing.assert_array_equal(near(result, x + 12, y + 4), near(picture, x, y), name)


def test_a_raised_arm_shows_the_arm_of_the_source() -> None:
    """The lower arm turned by a right angle about the elbow: a loop over its axis and across it."""
    picture = noise(2)
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    along = wrist - elbow
    turned = np.array([along[1], -along[0]])
    raised = STANDING | {"left_wrist": tuple(elbow + turned)}
    result = warp([source(picture, pose(STANDING))], pose(raised))
    assert result is not None
    same, seen = 0, 0
    for share in np.linspace(0.2, 1.0, 17):
        for across in (-3, 0, 3):
            unit = np.array([-along[1], along[0]]) / np.linalg.norm(along)
            there = elbow + share * along + across * unit
            unit = np.array([-turned[1], turned[0]]) / np.linalg.norm(turned)
            here = elbow + share * turned + across * unit
            # The middle of the pixel that is looked at, led back to the source.
            shift = np.floor(here) + 0.5 - here
            there = there + np.array([-shift[1], shift[0]])
            seen += 1
            same += (result[int(here[1]), int(here[0])] == picture[int(there[1]), int(there[0])]).all()
    assert same >= 0.9 * seen


def test_a_back_shows_the_front_seen_through() -> None:
    picture = noise(3)
    result = warp([source(picture, pose(STANDING))], pose(from_behind()))
    assert result is not None
    # The left hip's place is the left hip's, wherever it is seen: the trunk is mirrored, arms and legs change sides.
    for name in ("left_shoulder", "right_hip", "left_knee", "right_wrist"):
        x, y = STANDING[name]
        found = near(result, 2 * 88 - x, y, 0).astype(int)
        around = near(picture, x, y, 1).reshape(-1, 3).astype(int)
        assert (np.abs(around - found.reshape(3)).max(axis=1) == 0).any(), name
    np.testing.assert_array_equal(result[80:120, 74:102], picture[80:120, 74:102][:, ::-1])


def test_a_face_that_looks_to_the_other_side_is_mirrored() -> None:
    right, left = STANDING | {"nose": (94, 36)}, STANDING | {"nose": (82, 36)}
    picture = noise(7)
    result = warp([source(picture, pose(right))], pose(left))
    assert result is not None
    np.testing.assert_array_equal(result[28:42, 82:94], picture[28:42, 82:94][:, ::-1])
    # Who faces the camera has no side: the head is as it was.
    result = warp([source(picture, pose(right))], pose(STANDING))
    assert result is not None and (result[30:40, 84:92] != picture[30:40, 84:92][:, ::-1]).any(axis=2).mean() > 0.5


def test_a_pixel_shows_the_part_that_it_is_nearest_to() -> None:
    """The lower legs 10 pixels apart, each 12 pixels wide to a side: each has its own half."""
    picture = plain((250, 60, 60))
    picture[190:, :88][shape(STANDING)[190:, :88]] = 60, 250, 60  # the right lower leg
    together = STANDING | {"left_knee": (80, 184), "left_ankle": (76, 236)}
    result = warp([source(picture, pose(STANDING))], pose(together))
    assert result is not None
    assert tuple(result[215, 67]) == (60, 250, 60) and tuple(result[215, 78]) == (250, 60, 60)


def test_each_part_comes_from_the_source_that_is_turned_most_alike() -> None:
    red, blue = (250, 60, 60), (60, 60, 250)
    sources = [
        source(plain(red), pose(STANDING)),
        source(plain(blue, from_behind()), pose(from_behind(), "nose", "left_eye", "right_eye")),
    ]
    front, back = warp(sources, pose(moved(3, 0))), warp(sources, pose(from_behind(), "nose", "left_eye", "right_eye"))
    assert front is not None and back is not None
    for x, y in ((88, 95), (88, 34), (70, 184)):
        assert tuple(front[y, x]) == red and tuple(back[y, x]) == blue


def test_a_head_comes_from_the_source_that_looks_to_the_same_side() -> None:
    right, left = STANDING | {"nose": (94, 36)}, STANDING | {"nose": (82, 36)}
    red, blue = (250, 60, 60), (60, 60, 250)
    sources = [source(plain(red, right), pose(right)), source(plain(blue, left), pose(left))]
    for places, colour in ((right, red), (left, blue)):
        result = warp(sources, pose(places))
        assert result is not None and tuple(result[34, 88]) == colour
        assert tuple(result[95, 88]) == red  # equally turned: the first


def test_hands_keep_their_size_whatever_the_arm_is_shortened_to() -> None:
    """A source of half the size whose lower arm is seen at 0.45 of its length: 10 pixels beyond the wrist are 5 there."""
    small = {name: (x / 2, y / 2) for name, (x, y) in STANDING.items()}
    elbow, wrist = np.array(STANDING["left_elbow"]), np.array(STANDING["left_wrist"])
    small["left_wrist"] = tuple((elbow + 0.45 * (wrist - elbow)) / 2)
    picture = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    picture[45:75, 58:78] = np.random.default_rng(8).integers(60, 256, (30, 20, 3))
    result = warp([source(picture, pose(small))], pose(STANDING))
    assert result is not None
    unit = (wrist - elbow) / np.linalg.norm(wrist - elbow)
    for beyond in (4, 7, 10, 13):
        here = np.floor(wrist + beyond * unit).astype(int)
        x, y = np.floor(small["left_wrist"] + (here + 0.5 - wrist) / 2).astype(int)
        np.testing.assert_array_equal(result[here[1], here[0]], picture[y, x])


def test_a_limb_that_no_source_shows_is_the_other_sides() -> None:
    own = pose(STANDING, "left_knee", "left_ankle")
    picture = plain((250, 60, 60))
    picture[190:244, :88][shape(STANDING)[190:244, :88]] = 60, 250, 60  # the right lower leg
    result = warp([source(picture, own)], pose(STANDING))
    assert result is not None
    assert tuple(result[210, 108]) == (60, 250, 60)
    # A picture of the trunk alone leaves no leg: there is ground.
    trunk = pose(STANDING, *(f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle")))
    result = warp([source(plain((250, 60, 60)), trunk)], pose(STANDING))
    assert result is not None and tuple(result[240, 66]) != (60, 250, 60)


def test_the_ground_is_laid_between_what_is_known() -> None:
    """A slope of grey from left to right stays one where the person stood."""
    picture = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None, :, None], HEIGHT, 0).repeat(3, 2)
    found = source(picture, pose(STANDING))
    np.testing.assert_allclose(found.ground.astype(int), picture.astype(int), atol=1)
    assert not found.person.any()  # nobody differs from it


def test_what_a_part_does_not_cover_is_the_ground_behind_it() -> None:
    """A person before a slope of grey, moved: the slope stays where it was, without a rim from the old place."""
    slope = np.repeat(np.arange(WIDTH, dtype=np.uint8)[None, :, None], HEIGHT, 0).repeat(3, 2)
    picture = np.where(shape(STANDING)[..., None], np.array((250, 20, 250), np.uint8), slope)
    result = warp([source(picture, pose(STANDING))], pose(moved(24, 0)))
    assert result is not None
    behind = ~np.roll(shape(STANDING), 24, axis=1)
    np.testing.assert_allclose(result[behind].astype(int), slope[behind].astype(int), atol=1)


def test_the_ground_is_the_first_sources() -> None:
    other = plain((60, 60, 250), from_behind())
    other[~shape(from_behind())] = 120
    sources = [source(plain((250, 60, 60)), pose(STANDING)), source(other, pose(from_behind()))]
    result = warp(sources, pose(from_behind()))
    assert result is not None and tuple(result[95, 88]) == (60, 60, 250)
    assert (result[~shape(from_behind())] == 20).all()


def test_who_is_wider_than_their_parts_leaves_the_ground_too() -> None:
    """Lower legs 15 pixels wide to a side where a part has 12."""
    picture = plain((250, 60, 60))
    for x in (66, 110):
        picture[200:230, x - 13 : x + 16] = 250, 60, 60
    assert (source(picture, pose(STANDING)).ground == 20).all()


def test_rows_without_ground_are_as_the_nearest_that_have_some() -> None:
    """Somebody so near that the trunk fills the picture from side to side."""
    close = STANDING | {"right_shoulder": (0, 80), "left_shoulder": (176, 80), "neck": (88, 80), "nose": (88, 60)}
    picture = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    picture[80:130] = 250
    picture[240:] = 90
    ground = source(picture, pose(close)).ground
    assert (ground[:150] == 30).all() and (ground[240:] == 90).all() and ground.max() == 90


def test_foreshortening_does_not_thin_a_person() -> None:
    """Who leans towards the camera has a short trunk; the longest bone says how large they are."""
    leaning = STANDING | {"right_hip": (76, 80), "left_hip": (100, 80)}
    for joint, y in (("knee", 134), ("ankle", 186)):
        for side in ("right", "left"):
            leaning[f"{side}_{joint}"] = STANDING[f"{side}_{joint}"][0], y
    upright, short = source(noise(9), pose(STANDING)).body, source(noise(9), pose(leaning)).body
    assert upright.scale == pytest.approx(70)  # the trunk
    assert short.scale == pytest.approx(np.hypot(12, 33) / 0.52)  # a lower arm
    assert short.parts["left_upper_leg"].radius == pytest.approx(0.22 * short.scale)


def test_a_limb_that_points_at_the_camera_is_a_short_one() -> None:
    picture = noise(10)
    pointing = STANDING | {"left_wrist": STANDING["left_elbow"]}
    with np.errstate(all="raise"):
        for own, target in ((STANDING, pointing), (pointing, STANDING), (pointing, pointing)):
            result = warp([source(picture, pose(own))], pose(target))
            assert result is not None
            assert (result[70:120, 78:98] == picture[70:120, 78:98]).all()  # all else is in its place


def test_a_missing_neck_is_between_the_shoulders_and_a_missing_face_above_it() -> None:
    own = source(noise(11), pose(STANDING))
    with_neck, without = warp([own], pose(STANDING)), warp([own], pose(STANDING, "neck"))
    np.testing.assert_array_equal(with_neck, without)
    face = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
    red = source(plain((250, 60, 60)), pose(STANDING))
    faceless = warp([red], pose(STANDING, *face))
    assert faceless is not None and tuple(faceless[32, 88]) == (250, 60, 60)
    # A head that is somewhere else leaves no second one above the neck.
    bent = warp([red], pose(moved(40, 0, *face)))
    assert bent is not None and tuple(bent[34, 128]) == (250, 60, 60) and (bent[20:40, 80:96] == 20).all()


def test_who_has_no_parts_is_not_warped() -> None:
    picture = noise(4)
    assert WarpSource.of(picture, None) is None
    assert WarpSource.of(picture, pose({"left_knee": (40, 40), "left_ankle": (40, 90)})) is None
    assert WarpSource.of(picture, pose({"neck": (40, 40), "right_hip": (40, 42)})) is None
    assert warp([source(picture, pose(STANDING))], pose({"left_knee": (40, 40)})) is None


def test_parts_outside_of_the_frame_do_no_harm() -> None:
    far = {name: (x + 400, y - 300) for name, (x, y) in STANDING.items()}
    for target in (pose(far), pose(STANDING | {"left_wrist": (1e5, -1e5)})):
        result = warp([source(noise(5), pose(STANDING))], target)
        assert result is not None and result.shape == (HEIGHT, WIDTH, 3)
    found = source(noise(5), pose(far))
    np.testing.assert_array_equal(found.ground, noise(5))  # nobody is seen


def test_frames_of_another_size_are_refused() -> None:
    own = pose(STANDING)
    with pytest.raises(ValueError, match=r"the picture is 100x80, its pose's frame 256x176"):
        WarpSource.of(np.zeros((100, 80, 3), np.uint8), own)
    with pytest.raises(ValueError, match=r"the target's frame is 128x88, a source 256x176"):
        warp([source(noise(6), own)], own.resize(88, 128))
    with pytest.raises(ValueError, match="no source"):
        warp([], own)
