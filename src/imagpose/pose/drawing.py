"""Skeleton drawings as ControlNet's OpenPose model expects them: coloured limbs on black, RGB.

Source: the published conventions of ControlNet's OpenPose drawing (colours, order, limbs at 60 %, stick width 4 at 512
pixels); here the stick width grows with the picture, so that a drawing looks alike at any resolution.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from imagpose.pose.keypoints import LIMBS, Pose

if TYPE_CHECKING:
    import torch

COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255),
    (255, 0, 170), (255, 0, 85),
)  # fmt: skip
LIMB_BRIGHTNESS = 0.6
SKELETONS = ("body", "body_hands")
"""What a model was trained to see: 18 key points, or hands as well."""
# From the wrist (0) along each finger, the thumb first.
HAND_BONES = tuple(
    (0 if joint == 1 else finger + joint - 1, finger + joint) for finger in range(0, 20, 4) for joint in range(1, 5)
)
_STICK_WIDTH, _REFERENCE_HEIGHT = 4.0, 512
_SMOOTH_RADIUS, _LONGEST_SIDE = 4.0, 8192  # of the drawing that is averaged down
_ELLIPSE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 33)), np.sin(np.linspace(0, 2 * np.pi, 33))], 1)[:-1]


def stick_width(height: int) -> float:
    """Half the width of a limb and radius of a joint in pixels, for a picture of this height."""
    return _STICK_WIDTH * height / _REFERENCE_HEIGHT


def draw_skeleton(
    pose: Pose, width: int | None = None, height: int | None = None, *, exact: bool = False, hands: bool = False
) -> Image.Image:
    """Draw a pose: 17 limbs as ellipses at 60 % brightness, then 18 joints as discs, in 18 colours.

    Args:
        pose: missing key points, and limbs that end in one, are not drawn; what lies outside the frame is cut off.
        width, height: size of the drawing; the pose is resized to it. Default: the pose's frame.
        exact: sticks and joints of 4 pixels whatever the size, in whole pixels, as ControlNet's own drawings have.
        hands: also draw the hands, where the pose has them: 20 bones each in as many hues, 21 blue points.

    Returns:
        RGB picture on black, drawn larger and averaged down where it is small.
    """
    width, height = width or pose.width, height or pose.height
    sized = pose.resize(width, height)
    radius = _STICK_WIDTH if exact else stick_width(height)
    draw = _draw_exact if exact else draw_keypoints
    picture = draw(sized.keypoints, width, height, radius)
    return _with_hands(picture, sized.hands, radius) if hands and sized.hands is not None else picture


def draw_skeletons(
    poses: Sequence[Pose | None], height: int, width: int, multiple: int, hands: bool = False
) -> torch.Tensor:
    """Skeletons as tensors, the same for pipeline and training: uint8 (n, 3, H', W'), views padded to multiples.

    Args:
        poses: in the frames of views of `height` x `width`; None is a black skeleton.
        multiple: see `views.view_multiple`.
        hands: see `draw_skeleton`.
    """
    import torch

    from imagpose.pixels import pad_views

    drawn = np.zeros((len(poses), height, width, 3), np.uint8)
    for place, pose in zip(drawn, poses, strict=True):
        if pose is not None:
            place[:] = np.asarray(draw_skeleton(pose, hands=hands))
    return pad_views(torch.from_numpy(drawn).movedim(-1, 1), multiple)[0]


def _with_hands(picture: Image.Image, hands: np.ndarray, radius: float) -> Image.Image:
    """Hands (2, 21, 3) in pixels on a drawn body: bones half as wide as a joint's radius, then blue points."""
    finer = max(1, min(math.ceil(_SMOOTH_RADIUS / radius), _LONGEST_SIDE // max(picture.size)))
    mark = Image.new("RGBA", (picture.width * finer, picture.height * finer))
    canvas = ImageDraw.Draw(mark)
    reach = radius * finer
    for points in hands * np.array([finer, finer, 1], np.float32):
        for number, (start, end) in enumerate(HAND_BONES):
            if points[start, 2] > 0 and points[end, 2] > 0:
                red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(number / len(HAND_BONES), 1, 1))
                ends = [tuple(points[index, :2].tolist()) for index in (start, end)]
                canvas.line(ends, fill=(red, green, blue, 255), width=max(1, round(reach / 2)))
        for x, y, confidence in points.tolist():
            if confidence > 0:
                canvas.ellipse((x - reach, y - reach, x + reach, y + reach), fill=(0, 0, 255, 255))
    mark = mark.reduce(finer) if finer > 1 else mark
    return Image.alpha_composite(picture.convert("RGBA"), mark).convert("RGB")


def _draw_exact(keypoints: np.ndarray, width: int, height: int, stick: float) -> Image.Image:
    """ControlNet's own arithmetic: half axes, middles, angles and places are cut to whole numbers, corners rounded."""
    picture = Image.new("RGB", (width, height))
    canvas = ImageDraw.Draw(picture)
    radius = int(stick)
    turn = np.radians(np.arange(361))
    reach = range(-radius, radius + 1)
    disc = [(right, down) for right in reach for down in reach if right**2 + down**2 <= radius**2]
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        (x0, y0, found0), (x1, y1, found1) = keypoints[start].tolist(), keypoints[end].tolist()
        if not (found0 > 0 and found1 > 0):
            continue
        half = int(math.hypot(x0 - x1, y0 - y1) / 2)
        angle = math.radians(int(math.degrees(math.atan2(y0 - y1, x0 - x1))))
        along, across = half * np.cos(turn), radius * np.sin(turn)
        x = np.rint(int((x0 + x1) / 2) + along * math.cos(angle) - across * math.sin(angle))
        y = np.rint(int((y0 + y1) / 2) + along * math.sin(angle) + across * math.cos(angle))
        dimmed = tuple(int(LIMB_BRIGHTNESS * channel) for channel in colour)
        canvas.polygon(np.stack([x, y], 1).ravel().tolist(), fill=dimmed)
    for (x, y, confidence), colour in zip(keypoints.tolist(), COLOURS, strict=True):
        if confidence > 0:
            canvas.point([(int(x) + right, int(y) + down) for right, down in disc], fill=colour)
    return picture


def draw_keypoints(keypoints: np.ndarray, width: int, height: int, radius: float) -> Image.Image:
    """Draw key points (18, 3) in pixels of a picture of `width` x `height`, with joints of any radius; RGB on black."""
    finer = max(2, math.ceil(_SMOOTH_RADIUS / radius)) if radius < 2 * _SMOOTH_RADIUS else 1
    finer = max(1, min(finer, _LONGEST_SIDE // max(width, height)))
    # Pillow cuts coordinates to whole pixels, which are the right ones (pixel i reaches from i to i + 1), and draws the
    # outline as well, which would make everything half a pixel thicker.
    points = keypoints * np.array([finer, finer, 1], np.float32)
    radius = max(radius * finer - 0.5, 0.5)
    picture = Image.new("RGB", (width * finer, height * finer))
    canvas = ImageDraw.Draw(picture)
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        if points[start, 2] > 0 and points[end, 2] > 0:
            dimmed = tuple(int(LIMB_BRIGHTNESS * channel) for channel in colour)
            canvas.polygon(_limb(points[start, :2], points[end, :2], radius), fill=dimmed)
    for (x, y, confidence), colour in zip(points, COLOURS, strict=True):
        if confidence > 0:
            canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture.reduce(finer) if finer > 1 else picture


def _limb(start: np.ndarray, end: np.ndarray, radius: float) -> list[tuple[float, float]]:
    """Corners of an ellipse from joint to joint."""
    half = (end - start) / 2
    length = max(float(np.hypot(*half)), 1e-6)
    across = np.array([-half[1], half[0]]) * (radius / length)
    corners = (start + end) / 2 + _ELLIPSE[:, :1] * half + _ELLIPSE[:, 1:] * across
    return [(float(x), float(y)) for x, y in corners]
