"""Key points out of a drawn skeleton: find the joints by colour, draw them again, accept only what agrees.

Own method. A drawing that cannot be read back faithfully (another palette, hands or a face, hidden joints, strong
compression) is refused: a wrong pose is worse than none.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from imagpose.pose.drawing import COLOURS, draw_keypoints, stick_width
from imagpose.pose.keypoints import LIMBS, Pose

__all__ = ["read_skeleton_picture"]

_WORKING_HEIGHT = 512
_COLOUR_TOLERANCE = 42  # neighbouring colours are 85 apart
_LEAST_BRIGHTNESS = 190  # limbs have 153; a joint of about one pixel is averaged with its surroundings
_RADII = 0.5 * 1.15 ** np.arange(11)  # of the joints, relative to our own drawings: 0.5 to 2
_SMALL_RADIUS = 1.5
_STEPS = (1.0, 0.5, 0.25, 0.12)  # of the search for a joint's place, in radii
_MAX_ERROR, _MAX_LOCAL_ERROR = 0.22, 0.22
_HINT = "give the key points as OpenPose JSON instead"


def read_skeleton_picture(image: Image.Image) -> Pose:
    """The pose in a picture of one skeleton on black, drawn as by `draw_skeleton` or ControlNet (body only).

    Args:
        image: the drawing, at any size; joints between half and twice as large as our own are recognised.

    Returns:
        The pose in the picture's frame; found points have confidence 1.

    Raises:
        ValueError: no skeleton, or one whose drawing does not agree closely with the picture.
    """
    scale = min(1.0, _WORKING_HEIGHT / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    picture = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX), np.float32)
    if (picture.max(2) < 32).mean() < 0.5:
        raise ValueError(f"not a skeleton picture: coloured limbs on black expected; {_HINT}")
    points = _find_joints(picture)
    if not points[:, 2].any():
        raise ValueError(f"no joint of a skeleton found in the picture; {_HINT}")
    radius = min(stick_width(size[1]) * _RADII, key=lambda radius: _difference(picture, points, radius).sum())
    points = _without_false_joints(picture, points, radius)
    unsure = _unsure_joints(points, radius)
    for step in _STEPS:
        for joint in unsure:
            _move_joint(picture, points, joint, radius, step * radius)
    if not _agrees(picture, points, radius):
        raise ValueError(f"the skeleton in the picture cannot be read back faithfully; {_HINT}")
    return Pose(points, *size).resize(*image.size)


def _find_joints(picture: np.ndarray) -> np.ndarray:
    """Middle of the densest spot of each joint colour, (18, 3)."""
    points = np.zeros((len(COLOURS), 3), np.float32)
    reach = 2 * stick_width(picture.shape[0])
    brightness = picture.max(2, keepdims=True)
    pure = np.where(brightness >= _LEAST_BRIGHTNESS, picture * 255 / brightness.clip(1), -255)
    for joint, colour in enumerate(COLOURS):
        rows, columns = np.nonzero((np.abs(pure - np.array(colour)) <= _COLOUR_TOLERANCE).all(2))
        if not 0 < len(rows) <= 20 * reach**2 + 20:
            continue
        places = np.stack([columns, rows], 1) + 0.5
        near = np.hypot(*(places[:, None] - places).transpose(2, 0, 1)) <= reach
        points[joint] = [*places[near[near.sum(1).argmax()]].mean(0), 1.0]
    return points


def _difference(picture: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """Largest difference over the channels between a picture and a drawing, float (H, W) in 0..1."""
    height, width = picture.shape[:2]
    drawing = np.asarray(draw_keypoints(points, width, height, radius), np.float32)
    return np.abs(picture - drawing).max(2) / 255


def _without_false_joints(picture: np.ndarray, points: np.ndarray, radius: float) -> np.ndarray:
    """Blends of other colours may look like a joint: leave out what the drawing is better without."""
    for joint in np.flatnonzero(points[:, 2]):
        fewer = points.copy()
        fewer[joint] = 0
        if _difference(picture, fewer, radius).sum() < _difference(picture, points, radius).sum():
            points = fewer
    return points


def _unsure_joints(points: np.ndarray, radius: float) -> list[int]:
    """Joints whose visible spot may have its middle elsewhere: of a few pixels, or partly under another joint."""
    found = np.flatnonzero(points[:, 2]).tolist()
    if radius < _SMALL_RADIUS:
        return found
    distances = np.hypot(*(points[:, None, :2] - points[:, :2]).transpose(2, 0, 1))
    return [joint for joint in found if (distances[joint, found] < 2.2 * radius).sum() > 1]


def _move_joint(picture: np.ndarray, points: np.ndarray, joint: int, radius: float, step: float) -> None:
    """Move one joint (in place) by steps as long as the drawing comes closer to the picture."""
    linked = [joint, *(sum(limb) - joint for limb in LIMBS if joint in limb)]
    around = points[[place for place in linked if points[place, 2]], :2]
    left, top = np.floor(around.min(0) - 3 * radius).clip(0).astype(int)
    right, bottom = np.ceil(around.max(0) + 3 * radius).astype(int)
    window = picture[top:bottom, left:right]
    origin = np.array([left, top, 0], np.float32)

    def error(candidate: np.ndarray) -> float:
        return float(_difference(window, candidate - origin, radius).sum())

    best = error(points)
    for _ in range(8):
        moves = []
        for shift in ((step, 0), (-step, 0), (0, step), (0, -step)):
            candidate = points.copy()
            candidate[joint, :2] += shift
            moves.append((error(candidate), tuple(candidate[joint])))
        least, place = min(moves)
        if least >= best:
            return
        best, points[joint] = least, place


def _agrees(picture: np.ndarray, points: np.ndarray, radius: float) -> bool:
    """Whether the drawing equals the picture as a whole and nowhere misses a part of the size of a joint."""
    difference = _difference(picture, points, radius)
    content = picture.max(2).sum() / 255
    side = max(1, round(2 * radius))
    local = np.asarray(Image.fromarray(difference).reduce(side))
    return bool(difference.sum() <= _MAX_ERROR * content and local.max() <= _MAX_LOCAL_ERROR)
