"""Drawn skeletons read back: the cases of tests/pose/cases, drawings by tools/skeleton_files.py, and what is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import skeleton_files
from imagpose.pictures import load_picture
from imagpose.pose import KEYPOINT_NAMES, Pose, draw_skeleton, read_pose_file, read_poses, read_skeleton_picture
from imagpose.pose.keypoints import LIMBS, MIRRORED
from skeleton_files import COLOURS

CASES = Path(__file__).parent / "cases"

pytestmark = pytest.mark.filterwarnings("error")


def base() -> np.ndarray:
    values = json.loads((CASES / "poses" / "base.json").read_text())["people"][0]["pose_keypoints_2d"]
    return np.array(values).reshape(18, 3)


@pytest.mark.parametrize(
    ("file", "scale", "shift"),
    [
        ("body_256.png", 0.5, (0, 0)),
        ("body_512.png", 1, (0, 0)),
        ("body_768.png", 1.5, (0, 0)),
        ("body_1024.png", 2, (0, 0)),
        ("hands.png", 1, (0, 0)),
        ("face.png", 1, (0, 0)),
        ("jpg75.jpg", 1, (0, 0)),
        ("in_1920x1080.png", 1, (700, 150)),
    ],
)
def test_drawings_of_the_usual_tools(file, scale, shift):
    (pose,) = read_poses(CASES / "skeletons" / file)
    truth = base()[:, :2] * scale + shift
    assert pose.visible.all()
    assert np.hypot(*(pose.keypoints[:, :2] - truth).T).max() <= 0.02 * np.ptp(truth[:, 1])


def test_a_half_body_has_no_legs():
    (pose,) = read_poses(CASES / "skeletons" / "half_body.png")
    lost = {"right_knee", "right_ankle", "left_knee", "left_ankle"}
    assert {name for name, found in zip(KEYPOINT_NAMES, pose.visible, strict=True) if not found} == lost
    # Places seen in the picture: the discs of nose, right wrist and left hip.
    for name, place in (("nose", (332, 156)), ("right_wrist", (196, 482)), ("left_hip", (378, 520))):
        assert np.hypot(*(pose.keypoints[KEYPOINT_NAMES.index(name), :2] - place)) < 4


def base_in_lines(brightness: float) -> Image.Image:
    """The base pose in lines of 10 pixels, and discs as wide, as an editor in the browser draws it (70 %)."""
    places = [tuple(place) for place in base()[:, :2]]
    canvas = Image.new("RGB", (512, 768))
    pencil = ImageDraw.Draw(canvas)
    for (first, last), colour in zip(LIMBS, COLOURS, strict=False):
        dimmed = tuple(int(brightness * part) for part in colour)
        pencil.line([places[first], places[last]], fill=dimmed, width=10)
    for (x, y), colour in zip(places, COLOURS, strict=True):
        pencil.ellipse([x - 5, y - 5, x + 5, y + 5], fill=colour)
    return canvas


@pytest.mark.parametrize("brightness", [0.5, 0.6, 0.7, 0.8])
@pytest.mark.parametrize("compressed", [False, True])
def test_limbs_of_other_brightness(brightness, compressed):
    picture = base_in_lines(brightness)
    if compressed:
        picture.save(file := io.BytesIO(), "JPEG", quality=90)
        picture = load_picture(Image.open(file))
    pose, _ = read_skeleton_picture(picture)
    truth = base()[:, :2]
    assert pose.visible.all()
    assert np.hypot(*(pose.keypoints[:, :2] - truth).T).max() <= 0.02 * np.ptp(truth[:, 1])


def test_drawings_with_the_common_variations():
    near, swapped, refused = [], 0, 0
    for seed in range(100, 116):
        drawing = skeleton_files.draw(np.random.default_rng(seed))
        right, made_up, refusal = skeleton_files.measure(drawing)
        assert not made_up
        refused += bool(refusal)
        if right is None:
            continue
        near.append(right)
        pose, _ = read_skeleton_picture(load_picture(drawing.picture))
        tolerance = 0.02 * np.ptp(drawing.points[drawing.points[:, 2] > 0, 1])
        own, other = (
            np.hypot(*(pose.keypoints - drawing.points[list(order)])[:, :2].T) for order in (range(18), MIRRORED)
        )
        apart = np.hypot(*(drawing.points - drawing.points[list(MIRRORED)])[:, :2].T) > 3 * tolerance
        both = apart & (drawing.points[:, 2] > 0) & (drawing.points[list(MIRRORED), 2] > 0) & pose.visible
        swapped += int((both & (own > tolerance) & (other <= tolerance)).sum())
    assert np.concatenate(near).mean() >= 0.95
    assert not swapped
    assert refused <= 2


@pytest.mark.parametrize("size", [(384, 512), (192, 256), (768, 1024)])
def test_own_drawings_are_read_back(standing, size):
    pose = standing.resize(*size)
    read, notes = read_skeleton_picture(draw_skeleton(pose))
    assert (read.width, read.height) == size
    assert read.visible.all() and not notes
    assert np.hypot(*(read.keypoints - pose.keypoints)[:, :2].T).max() < 0.01 * size[1]


def test_missing_joints_stay_missing(standing):
    points = standing.keypoints.copy()
    points[[4, 16, 17]] = 0
    read, _ = read_skeleton_picture(draw_skeleton(Pose(points, 384, 512)))
    assert np.flatnonzero(~read.visible).tolist() == [4, 16, 17]


def test_a_joint_half_under_another(standing):
    points = standing.keypoints.copy()
    points[4, :2] = points[8, :2] + [-3, 2]  # right wrist at the right hip, whose disc lies on top
    read, _ = read_skeleton_picture(draw_skeleton(Pose(points, 384, 512)))
    assert np.hypot(*(read.keypoints - points)[:, :2].T).max() < 4


@pytest.mark.parametrize("mirrored", [False, True])
def test_exchanged_colours_are_recognised_and_said(standing, mirrored, tmp_path):
    pose = standing.mirror() if mirrored else standing
    picture = Image.merge("RGB", draw_skeleton(pose).split()[::-1])
    picture.save(tmp_path / "bgr.png")
    read = read_pose_file(tmp_path / "bgr.png")
    assert "R and B are exchanged" in read.notes[0]
    assert np.hypot(*(read.poses[0].keypoints - pose.keypoints)[:, :2].T).max() < 4


def photo(picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (picture.height, picture.width, 3))
    return Image.fromarray(noise.astype(np.uint8))


def dark_photo(picture: Image.Image) -> Image.Image:
    return Image.eval(photo(picture), lambda value: value if value > 220 else 0)


def two_people(picture: Image.Image) -> Image.Image:
    both = Image.new("RGB", (2 * picture.width, picture.height))
    both.paste(picture, (0, 0))
    both.paste(picture, (picture.width, 0))
    return both


def other_palette(picture: Image.Image) -> Image.Image:
    """Each limb in the colour of another: hues turned by 60 degrees."""
    hue, saturation, value = picture.convert("HSV").split()
    turned = Image.eval(hue, lambda angle: (angle + 43) % 256)
    return Image.merge("HSV", (turned, saturation, value)).convert("RGB")


def disc_alone(picture: Image.Image) -> Image.Image:
    """One joint and no limb: nothing has the brightness of limbs."""
    alone = Image.new("RGB", picture.size)
    alone.paste((255, 0, 0), (100, 100, 108, 108))
    return alone


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda picture: base_in_lines(1.0), "limbs are as bright as joints"),
        (disc_alone, "only 1 joints and 0 limbs"),
        (photo, "coloured limbs on a plain ground expected"),
        (dark_photo, "not a skeleton picture|explained|limbs"),
        (two_people, "limbs are there twice: more than one skeleton"),
        (other_palette, "do not join up by colour"),
        (lambda picture: Image.new("RGB", picture.size), "no coloured limbs"),
        (lambda picture: Image.new("RGB", picture.size, "white"), "no coloured limbs"),
        (lambda picture: picture.resize((24, 32)), "limbs|joints"),
        (lambda picture: picture.convert("L"), "no coloured limbs"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(standing, change, reason, tmp_path):
    change(draw_skeleton(standing)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=reason) as error:
        read_poses(tmp_path / "a.png")
    assert "find the pose in the photo with `imagpose poses detect`" in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "a.png"))
    assert "\n" not in str(error.value)


def test_a_photograph_is_refused():
    from skimage import data

    with pytest.raises(ValueError, match="not a skeleton picture|join up|explained|limbs"):
        read_skeleton_picture(Image.fromarray(data.astronaut()))


def test_jpeg_of_good_quality(standing):
    file = io.BytesIO()
    draw_skeleton(standing).save(file, "JPEG", quality=92)
    read, _ = read_skeleton_picture(Image.open(file))
    assert np.hypot(*(read.keypoints - standing.keypoints)[:, :2].T).max() < 3
