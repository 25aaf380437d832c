"""A pose cut into the parts of a body: where they lie in its frame, how large they are, and which is in front of which.

A part is a stripe with round ends about an axis. Where it is foreshortened its axis gets shorter, its radius does not. The
constants' lengths and radii are an adult's, in lengths of the trunk, from the neck to the middle of the hips.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from imagpose.pose.keypoints import KEYPOINT_NAMES, Pose

Box = tuple[slice, slice]
"""Rows and columns of a picture."""

_Points = dict[str, np.ndarray]

_SIDES = ("right", "left")

# Near the segment lengths of Drillis and Contini, "Body segment parameters", 1966, of a trunk of .288 of the stature: thigh
# and shank .85, upper arm .65, forearm .51, shoulders .90 (outer edges; key points lie further in).
_BONES = {
    ("hip", "knee"): 0.85,
    ("knee", "ankle"): 0.85,
    ("shoulder", "elbow"): 0.62,
    ("elbow", "wrist"): 0.52,
}
_SHOULDERS = 0.8

# All other numbers are own, set by eye on rendered people in ordinary clothes: a part must hold its sleeve or trouser leg.
# First and second point, radius, reach beyond the second point: hands and feet.
_LIMBS = {
    "upper_arm": ("shoulder", "elbow", 0.18, 0.0),
    "lower_arm": ("elbow", "wrist", 0.15, 0.24),
    "upper_leg": ("hip", "knee", 0.24, 0.0),
    "lower_leg": ("knee", "ankle", 0.19, 0.13),
}
_TRUNK_RADIUS = 0.30  # at least, as seen from the side
_TRUNK_WIDER = 1.1  # clothes stand out beyond shoulders and hips
_SHOULDERS_TO_HIPS = 1.6  # how much wider than their hips people are at their shoulders
_TRUNK_FROM, _TRUNK_TO = -0.12, 1.15  # its ends, in its own length as seen: above the neck, below the hips
_TRUNK_ROUNDING = 0.3  # radii by which its ends are drawn in, since every part has round ones
_SHORTEST_TRUNK = 0.3  # of somebody who bends towards the camera
_HEAD_ABOVE_NECK = 0.45  # its middle, where no point of it is known
_HEAD_RADIUS, _NECK_RADIUS = 0.32, 0.13
_CHIN_RADII = 0.6  # how far below its middle a head ends, in its radii
_TOWARDS_NOSE = 0.3  # from the one ear that is seen, the way to the middle of the head
_EARS, _NOSE = 0.30, 0.22  # from ear to ear, and from their middle to the nose
_LEAST_EAR_WIDTH = 0.1  # ears that are seen nearer to each other do not say which way is up
_SHORTEST_LIMB = 0.08  # of one that points at the camera
_LEAST_SCALE = 4.0  # pixels; a person smaller than this has no parts
_SIDEWAYS = 0.45  # the turn, of either sign, up to which somebody is seen from the side
_NO_LENGTH = 1e-6  # pixels; what is shorter has no direction


@dataclass(frozen=True)
class Part:
    """A part of a body in a picture.

    Attributes:
        start: (2,) x and y in pixels, where the axis begins; of the head its middle.
        axis: (2,) unit vector.
        length, radius: in pixels.
        before, after: pixels before the axis's start and beyond its end that still belong to it.
    """

    start: np.ndarray
    axis: np.ndarray
    length: float
    radius: float
    before: float = 0.0
    after: float = 0.0

    @property
    def normal(self) -> np.ndarray:
        """(2,) unit vector across the axis: to the left as seen where the axis points down, to the right where up."""
        return _normal(self.axis)

    def resized(self, factor: float) -> Part:
        """The same in a frame that is `factor` times as large."""
        lengths = (factor * own for own in (self.length, self.radius, self.before, self.after))
        return Part(factor * self.start, self.axis, *lengths)

    def box(self, radii: float, height: int, width: int) -> Box:
        """Rows and columns of a frame that hold all pixels up to a distance in radii; may be empty."""
        ends = self.start - self.before * self.axis, self.start + (self.length + self.after) * self.axis
        margin = radii * self.radius + 1
        left, top = (np.minimum(*ends) - margin).tolist()
        right, bottom = (np.ceil(np.maximum(*ends) + margin)).tolist()
        rows = slice(max(int(top), 0), min(max(int(bottom), 0), height))
        return rows, slice(max(int(left), 0), min(max(int(right), 0), width))

    def places(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels along and across the axis, and the distance from it in radii, of the middles of a box's pixels (h, w)."""
        rows, columns = box
        x = np.arange(columns.start, max(columns.stop, columns.start), dtype=np.float32)[None] + 0.5
        y = np.arange(rows.start, max(rows.stop, rows.start), dtype=np.float32)[:, None] + 0.5
        dx, dy, normal = x - self.start[0], y - self.start[1], self.normal
        along = dx * self.axis[0] + dy * self.axis[1]
        across = dx * normal[0] + dy * normal[1]
        beyond = np.maximum(np.maximum(-self.before - along, along - self.length - self.after), 0)
        return along, across, np.hypot(across, beyond) / self.radius

    def relative(self, along: np.ndarray, across: np.ndarray) -> np.ndarray:
        """Pixels along and across the axis (h, w), of places on the part, from -1 to 1 from end to end: (2, h, w)."""
        half = (self.before + self.length + self.after) / 2 + self.radius
        middle = (self.length + self.after - self.before) / 2
        return np.stack([(along - middle) / half, across / self.radius])


@dataclass(frozen=True)
class Body:
    """A pose cut into parts.

    Attributes:
        parts: from back to front, by name: trunk, neck, head, right_upper_arm, left_lower_leg, ...; limbs as far as their
            points are known.
        scale: length of the trunk in pixels, as long as the picture suggests at most.
        turn: how far the left shoulder is to the right of the right one as seen, over the scale: about 0.8 from the front,
            0 from the side, -0.8 from behind.
        yaw: of the head in radians, -pi to pi: 0 faces the camera, pi / 2 looks to the right as seen, pi away from it.
    """

    parts: Mapping[str, Part]
    scale: float
    turn: float
    yaw: float

    def resized(self, factor: float) -> Body:
        """The same in a frame that is `factor` times as large."""
        parts = {name: part.resized(factor) for name, part in self.parts.items()}
        return replace(self, parts=parts, scale=factor * self.scale)


def find_body(pose: Pose) -> Body | None:
    """The parts of a pose; None where it has no neck or shoulder, or is smaller than a few pixels."""
    points = {
        name: pose.keypoints[index, :2].astype(np.float64)
        for index, name in enumerate(KEYPOINT_NAMES)
        if pose.visible[index]
    }
    shoulders, hips = _both(points, "shoulder"), _both(points, "hip")
    if "neck" not in points and not shoulders:
        return None
    neck = points["neck"] if "neck" in points else np.mean(shoulders, axis=0)
    middle = np.mean(hips, axis=0) if hips else None
    scale = _scale(points, neck, middle)
    if scale < _LEAST_SCALE:
        return None
    trunk, turn = _trunk(points, neck, middle, scale)
    head, yaw = _head(points, neck, trunk.axis, scale)
    neck_part = _limb(neck, head.start, trunk.axis, _NECK_RADIUS * scale, 0.0, scale)
    points |= _knees_below(points, trunk.axis * _BONES["hip", "knee"] * scale, pose.height)
    parts = {"trunk": trunk, "head": head, "neck": neck_part, **_limbs(points, trunk.axis, scale)}
    return Body({name: parts[name] for name in _back_to_front(turn, yaw) if name in parts}, scale, turn, yaw)


def _both(points: _Points, joint: str) -> list[np.ndarray]:
    """The right and the left one, as far as they are known."""
    return [points[f"{side}_{joint}"] for side in _SIDES if f"{side}_{joint}" in points]


def _back_to_front(turn: float, yaw: float) -> list[str]:
    """Names of all parts; from the side one arm is before the trunk and one behind it."""
    # Who looks to the left as seen shows their left side.
    near, far = ("left", "right") if yaw < 0 else ("right", "left")
    arms = {side: [f"{side}_upper_arm", f"{side}_lower_arm"] for side in _SIDES}
    legs = {side: [f"{side}_lower_leg", f"{side}_upper_leg"] for side in _SIDES}
    middle = [*legs[far], *legs[near], "trunk", "neck", "head"]
    if abs(turn) < _SIDEWAYS:
        return [*arms[far], *middle, *arms[near]]
    both = [*arms[far], *arms[near]]
    return [*middle, *both] if turn >= 0 else [*both, *middle]


def _scale(points: _Points, neck: np.ndarray, middle: np.ndarray | None) -> float:
    """The longest trunk that any bone suggests: foreshortening only shortens."""
    lengths = [0.0] if middle is None else [float(np.linalg.norm(middle - neck))]
    for side in _SIDES:
        for (first, second), usual in _BONES.items():
            ends = points.get(f"{side}_{first}"), points.get(f"{side}_{second}")
            if ends[0] is not None and ends[1] is not None:
                lengths.append(float(np.linalg.norm(ends[1] - ends[0])) / usual)
    shoulders = _both(points, "shoulder")
    if len(shoulders) == 2:
        lengths.append(float(np.linalg.norm(shoulders[1] - shoulders[0])) / _SHOULDERS)
    return max(lengths)


def _trunk(points: _Points, neck: np.ndarray, middle: np.ndarray | None, scale: float) -> tuple[Part, float]:
    """The trunk, its axis downwards, and its turn."""
    along = np.array([0.0, scale]) if middle is None else middle - neck
    length = float(np.linalg.norm(along))
    axis = along / length if length > _NO_LENGTH else np.array([0.0, 1.0])
    widths = [0.0]
    for joint, factor in (("shoulder", 1.0), ("hip", _SHOULDERS_TO_HIPS)):
        pair = _both(points, joint)
        if len(pair) == 2:
            widths.append(float((pair[1] - pair[0]) @ -_normal(axis)) * factor)
    width = max(widths, key=abs)
    radius = _TRUNK_WIDER * max(abs(width) / 2, _TRUNK_RADIUS * scale)
    length = max(length, _SHORTEST_TRUNK * scale)
    before, after = (share * length - _TRUNK_ROUNDING * radius for share in (-_TRUNK_FROM, _TRUNK_TO - 1))
    return Part(neck, axis, length, radius, before, after), width / scale


def _head(points: _Points, neck: np.ndarray, trunk_axis: np.ndarray, scale: float) -> tuple[Part, float]:
    """The head, its axis upwards, and its yaw."""
    middle = _head_middle(points)
    if middle is None:
        middle = neck - trunk_axis * _HEAD_ABOVE_NECK * scale
    axis = _upwards(_both(points, "ear"), scale, middle - neck, -trunk_axis)
    radius = _HEAD_RADIUS * scale
    before = max(float((middle - neck) @ axis) - _CHIN_RADII * radius, 0.0)
    return Part(middle, axis, 0.0, radius, before), _yaw(points, _normal(axis), scale)


def _head_middle(points: _Points) -> np.ndarray | None:
    """Between the ears; of one ear, a little towards the nose, since it lies on the side that is seen; else in the face."""
    nose, ears = points.get("nose"), _both(points, "ear")
    if len(ears) == 1 and nose is not None:
        return (1 - _TOWARDS_NOSE) * ears[0] + _TOWARDS_NOSE * nose
    seen = ears or _both(points, "eye") or ([] if nose is None else [nose])
    return np.mean(seen, axis=0) if seen else None


def _upwards(ears: list[np.ndarray], scale: float, from_neck: np.ndarray, from_trunk: np.ndarray) -> np.ndarray:
    """Unit vector from chin to crown: across the ears where both are seen, else between the trunk's and the neck's way."""
    length = float(np.linalg.norm(from_neck))
    up = from_trunk if length < _NO_LENGTH else 0.5 * from_trunk + 0.5 * from_neck / length
    if len(ears) == 2 and np.linalg.norm(ears[0] - ears[1]) > _LEAST_EAR_WIDTH * scale:
        across = _normal(ears[1] - ears[0])
        up = across if across @ up > 0 else -across
    length = float(np.linalg.norm(up))
    unit: np.ndarray = up / length if length > _NO_LENGTH else np.array([0.0, -1.0])
    return unit


def _yaw(points: _Points, right: np.ndarray, scale: float) -> float:
    """Of a head whose right as seen is the unit vector `right`.

    With yaw a, the nose stands sin(a) before the ears' middle, and the ears are cos(a) apart, in units of _NOSE and _EARS.
    """
    ears, eyes = ([place @ right for place in _both(points, name)] for name in ("ear", "eye"))
    nose = points["nose"] @ right if "nose" in points else np.mean(eyes) if eyes else None
    if nose is None:
        return float(np.pi)
    apart = (ears[1] - ears[0]) / (_EARS * scale) if len(ears) == 2 else 0.0 if ears else 1.0
    around = np.mean(ears) if ears else np.mean(eyes) if eyes else nose
    return float(np.arctan2((nose - around) / (_NOSE * scale), apart))


def _knees_below(points: _Points, thigh: np.ndarray, height: int) -> _Points:
    """Knees that the frame cuts off, straight below their hips."""
    below = {f"{side}_knee": points[f"{side}_hip"] + thigh for side in _SIDES if f"{side}_hip" in points}
    return {name: place for name, place in below.items() if name not in points and place[1] >= height}


def _limbs(points: _Points, trunk_axis: np.ndarray, scale: float) -> dict[str, Part]:
    """Upper and lower arms and legs of which both ends are known."""
    parts = {}
    for side in _SIDES:
        for name, (first, second, radius, reach) in _LIMBS.items():
            ends = points.get(f"{side}_{first}"), points.get(f"{side}_{second}")
            if ends[0] is not None and ends[1] is not None:
                parts[f"{side}_{name}"] = _limb(ends[0], ends[1], trunk_axis, radius * scale, reach * scale, scale)
    return parts


def _limb(
    first: np.ndarray, second: np.ndarray, trunk_axis: np.ndarray, radius: float, reach: float, scale: float
) -> Part:
    """Between two points; one that points at the camera hangs down along the trunk, short."""
    along = second - first
    length = float(np.linalg.norm(along))
    if length < _SHORTEST_LIMB * scale:
        along, length = trunk_axis * _SHORTEST_LIMB * scale, _SHORTEST_LIMB * scale
    return Part(first, along / length, length, radius, 0.0, reach)


def _normal(axis: np.ndarray) -> np.ndarray:
    return np.array([-axis[1], axis[0]])
