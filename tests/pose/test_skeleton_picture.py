import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagpose.pose import LIMBS, Pose, draw_skeleton, read_skeleton_picture
from imagpose.pose.drawing import COLOURS


def controlnet_style(pose: Pose, radius: int = 4) -> Image.Image:
    """Whole pixels, no smoothing, and sticks of 8 pixels whatever the picture's size."""
    y, x = np.mgrid[: pose.height, : pose.width]
    picture = np.zeros((pose.height, pose.width, 3), np.uint8)
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        first, last = pose.keypoints[start, :2], pose.keypoints[end, :2]
        angle = np.arctan2(last[1] - first[1], last[0] - first[0])
        dx, dy = x - int((first[0] + last[0]) / 2), y - int((first[1] + last[1]) / 2)
        along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
        picture[(along / int(np.hypot(*(last - first)) / 2)) ** 2 + (across / radius) ** 2 <= 1] = colour
    picture = (picture * 0.6).astype(np.uint8)
    for (joint_x, joint_y, _), colour in zip(pose.keypoints.astype(int), COLOURS, strict=True):
        picture[(x - joint_x) ** 2 + (y - joint_y) ** 2 <= radius**2] = colour
    return Image.fromarray(picture)


def assert_same(read: Pose, pose: Pose, pixels: float) -> None:
    assert (read.width, read.height) == (pose.width, pose.height)
    assert read.visible.tolist() == pose.visible.tolist()
    distance = np.hypot(*(read.keypoints - pose.keypoints)[pose.visible, :2].T)
    assert distance.max() < pixels


@pytest.mark.parametrize(
    ("size", "pixels"), [((384, 512), 0.6), ((192, 256), 0.5), ((768, 1024), 1.2), ((512, 512), 0.8)]
)
def test_own_drawings_are_read_back(standing, size, pixels):
    pose = standing.resize(*size)
    assert_same(read_skeleton_picture(draw_skeleton(pose)), pose, pixels)


def test_missing_joints_stay_missing(standing):
    points = standing.keypoints.copy()
    points[[4, 16, 17]] = 0
    pose = Pose(points, 384, 512)
    assert_same(read_skeleton_picture(draw_skeleton(pose)), pose, 0.6)


def test_a_joint_half_under_another(standing):
    points = standing.keypoints.copy()
    points[4, :2] = points[8, :2] + [-3, 2]  # right wrist at the right hip, whose disc lies on top
    pose = Pose(points, 384, 512)
    assert_same(read_skeleton_picture(draw_skeleton(pose)), pose, 1.0)


@pytest.mark.parametrize("size", [(384, 512), (512, 768)])
def test_drawings_with_sticks_of_fixed_width(standing, size):
    pose = standing.resize(*size)
    assert_same(read_skeleton_picture(controlnet_style(pose)), pose, 1.6)


def test_jpeg_of_good_quality(standing):
    file = io.BytesIO()
    draw_skeleton(standing).save(file, "JPEG", quality=92)
    assert_same(read_skeleton_picture(Image.open(file)), standing, 1.0)


def with_hands(picture: Image.Image) -> Image.Image:
    draw = ImageDraw.Draw(picture)
    for finger in range(5):
        x, y = 100 - 12 + 6 * finger, 250
        draw.line((100, y, x, y + 25), fill=(0, 255 - 50 * finger, 50 * finger), width=2)
        draw.ellipse((x - 4, y + 21, x + 4, y + 29), fill=(0, 0, 255))
    return picture


def reordered(picture: Image.Image) -> Image.Image:
    return Image.merge("RGB", picture.split()[::-1])


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


@pytest.mark.parametrize(
    "change",
    [
        with_hands,
        reordered,
        photo,
        dark_photo,
        two_people,
        lambda picture: Image.new("RGB", picture.size),
        lambda picture: Image.new("RGB", picture.size, "white"),
        lambda picture: Image.eval(picture, lambda value: value // 2),
        lambda picture: picture.resize((24, 32)),
    ],
)
def test_what_cannot_be_read_faithfully_is_refused(standing, change):
    with pytest.raises(ValueError, match="give the key points as OpenPose JSON") as error:
        read_skeleton_picture(change(draw_skeleton(standing)))
    assert "\n" not in str(error.value)
