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
