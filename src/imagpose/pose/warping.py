"""A person's photo moved into another pose, limb by limb: a first guess at what a target shows.

Both poses are cut into parts: trunk, head, upper and lower arms and legs. A part has an axis, a length along it and a radius
across it, all in the picture. A pixel of the target belongs to the part that is nearest in units of its radius; it takes the
colour of the pixel of the source that has the same place along and across the same part. What belongs to no part shows the
source's ground, filled in where the person stood. Nothing is learned and nothing is known about depth: a back shows the
front, seen through. Source: own; one affine map a body part is Siarohin et al., "Deformable GANs for pose-based human image
generation", CVPR 2018, §3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from imagpose.pose.keypoints import KEYPOINT_NAMES, Pose

__all__ = ["WarpSource", "warp"]

_INDEX = {name: index for index, name in enumerate(KEYPOINT_NAMES)}
_FACE = ("nose", "right_eye", "left_eye", "right_ear", "left_ear")
_SIDES = ("right", "left")

# Lengths in units of the trunk's, from neck to mid hip, of adults. The largest that a picture suggests is taken for its
# scale: foreshortening only shortens.
_BONES = {
    ("hip", "knee"): 0.85,
    ("knee", "ankle"): 0.85,
    ("shoulder", "elbow"): 0.62,
    ("elbow", "wrist"): 0.52,
}
_SHOULDERS = 0.8
# (first and second point, radius, reach beyond the second point: hands and feet)
_LIMBS = {
    "upper_arm": ("shoulder", "elbow", 0.16, 0.0),
    "lower_arm": ("elbow", "wrist", 0.13, 0.22),
    "upper_leg": ("hip", "knee", 0.22, 0.0),
    "lower_leg": ("knee", "ankle", 0.17, 0.11),
}
_TRUNK_RADIUS, _TRUNK_END = 0.30, 1.12  # of a trunk seen from the side; the end, hips included, in lengths of the trunk
_HEAD_ABOVE_NECK, _HEAD_RADIUS = 0.45, 0.30
_SHORTEST = 0.08  # of a limb that points at the camera
_LEAST_SCALE = 4.0  # pixels; a person smaller than this has no parts
_INSIDE, _BODY = 1.08, 1.55  # radii up to which a target's pixel is a part's, and a source's pixel may be the person's
_TURNED = 0.04  # the nose's way from the middle of the face from which a face looks to a side
_ASIDE = (
    5.0  # what a nose a trunk's length further aside counts, in points of a face that one shows and the other doesn't
)
_SAME_COLOUR = 12  # levels of the largest channel; what differs less from the filled ground is ground


@dataclass(frozen=True)
class Part:
    """A part of a body in a picture.

    Attributes:
        start: (2,) x and y in pixels, where the axis begins; of the head the middle.
        axis, normal: (2,) unit vectors.
        length, radius: in pixels.
        reach: pixels beyond the axis's end that still belong to it.
        mirrored: -1 where the part is seen from behind, or looks to the other side, against 1.
    """

    start: np.ndarray
    axis: np.ndarray
    normal: np.ndarray
    length: float
    radius: float
    reach: float = 0.0
    mirrored: float = 1.0


@dataclass(frozen=True)
class Body:
    """A pose cut into parts.

    Attributes:
        parts: by name: trunk, head, right_upper_arm, ...
        scale: length of the trunk, as long as the picture suggests at most, in pixels.
        turn: left shoulder to the right of the right one as seen, over the scale: about 0.8 from the front, 0 from the
            side, -0.8 from behind.
        face: points of the face that are seen.
        aside: the nose's way from the middle of the face, over the scale.
    """

    parts: Mapping[str, Part]
    scale: float
    turn: float
    face: frozenset[str]
    aside: float


def find_body(pose: Pose) -> Body | None:
    """The parts of a pose; None where it has no neck or shoulder, or is smaller than a few pixels."""
    points = {
        name: pose.keypoints[index, :2].astype(np.float64) for name, index in _INDEX.items() if pose.visible[index]
    }
    shoulders, hips = (
        [points[f"{side}_{joint}"] for side in _SIDES if f"{side}_{joint}" in points] for joint in ("shoulder", "hip")
    )
    if "neck" not in points and not shoulders:
        return None
    neck = points["neck"] if "neck" in points else np.mean(shoulders, axis=0)
    middle = np.mean(hips, axis=0) if hips else None
    scale = _scale(points, neck, middle, shoulders)
    if scale < _LEAST_SCALE:
        return None
    trunk, turn = _trunk(points, neck, middle, scale)
    head, aside = _head(points, neck, trunk.axis, scale)
    parts = {"trunk": trunk, "head": head}
    for side in _SIDES:
        for name, (first, second, radius, reach) in _LIMBS.items():
            ends = points.get(f"{side}_{first}"), points.get(f"{side}_{second}")
            if ends[0] is not None and ends[1] is not None:
                parts[f"{side}_{name}"] = _limb(ends[0], ends[1], trunk.axis, radius * scale, reach * scale, scale)
    return Body(parts, scale, turn, frozenset(_FACE) & points.keys(), aside)


def _scale(
    points: Mapping[str, np.ndarray], neck: np.ndarray, middle: np.ndarray | None, shoulders: list[np.ndarray]
) -> float:
    lengths = [0.0] if middle is None else [float(np.linalg.norm(middle - neck))]
    for side in _SIDES:
        for (first, second), usual in _BONES.items():
            ends = points.get(f"{side}_{first}"), points.get(f"{side}_{second}")
            if ends[0] is not None and ends[1] is not None:
                lengths.append(float(np.linalg.norm(ends[1] - ends[0])) / usual)
    if len(shoulders) == 2:
        lengths.append(float(np.linalg.norm(shoulders[1] - shoulders[0])) / _SHOULDERS)
    return max(lengths)


def _trunk(
    points: Mapping[str, np.ndarray], neck: np.ndarray, middle: np.ndarray | None, scale: float
) -> tuple[Part, float]:
    along = np.array([0.0, scale]) if middle is None else middle - neck
    length = float(np.linalg.norm(along))
    axis = along / length if length > 1e-6 else np.array([0.0, 1.0])
    normal = _normal(axis)
    widths = [0.0]
    for joint, factor in (("shoulder", 1.0), ("hip", 1.6)):  # hips are narrower than shoulders
        left, right = (points.get(f"{side}_{joint}") for side in ("left", "right"))
        if left is not None and right is not None:
            widths.append(float((left - right) @ -normal) * factor)
    width = max(widths, key=abs)
    radius = max(abs(width) / 2, _TRUNK_RADIUS * scale)
    return Part(
        neck, axis, normal, max(length, 0.3 * scale), radius, mirrored=1.0 if width >= 0 else -1.0
    ), width / scale


def _head(
    points: Mapping[str, np.ndarray], neck: np.ndarray, trunk_axis: np.ndarray, scale: float
) -> tuple[Part, float]:
    face = [points[name] for name in _FACE if name in points]
    middle = np.mean(face, axis=0) if face else neck - trunk_axis * _HEAD_ABOVE_NECK * scale
    up = middle - neck
    length = float(np.linalg.norm(up))
    axis = up / length if length > 1e-6 else -trunk_axis
    normal, aside = _normal(axis), 0.0
    pairs = [[points[f"{side}_{name}"] for side in _SIDES if f"{side}_{name}" in points] for name in ("ear", "eye")]
    around = pairs[0] or pairs[1]
    if "nose" in points and around:
        aside = float((points["nose"] - np.mean(around, axis=0)) @ normal) / scale
    mirrored = 0.0 if abs(aside) < _TURNED else float(np.sign(aside))
    radius = _HEAD_RADIUS * scale
    return Part(middle, axis, normal, radius, radius, mirrored=mirrored), aside


def _limb(
    first: np.ndarray, second: np.ndarray, trunk_axis: np.ndarray, radius: float, reach: float, scale: float
) -> Part:
    along = second - first
    length = float(np.linalg.norm(along))
    if length < _SHORTEST * scale:
        along = trunk_axis * _SHORTEST * scale
        length = _SHORTEST * scale
    axis = along / length
    return Part(first, axis, _normal(axis), length, radius, reach)


def _normal(axis: np.ndarray) -> np.ndarray:
    return np.array([-axis[1], axis[0]])


def _places(name: str, part: Part, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels along and across a part's axis, and the distance from it in radii, of pixels with middles x and y."""
    dx, dy = x - part.start[0], y - part.start[1]
    along = dx * part.axis[0] + dy * part.axis[1]
    across = dx * part.normal[0] + dy * part.normal[1]
    if name == "head":
        return along, across, np.hypot(along, across) / part.radius
    end = part.length * _TRUNK_END if name == "trunk" else part.length + part.reach
    beyond = np.maximum(np.maximum(-along, along - end), 0)
    if name == "trunk":  # a box, and a little nearer than limbs before it
        return along, across, 0.85 * (np.abs(across) / (1.1 * part.radius) + 2 * beyond / part.radius)
    return along, across, np.hypot(across, beyond) / part.radius


def _box(name: str, part: Part, radii: float, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that hold all pixels of a part up to a distance in radii."""
    end = part.length * _TRUNK_END if name == "trunk" else part.length + part.reach
    ends = np.stack([part.start, part.start + part.axis * (0.0 if name == "head" else end)])
    margin = (1.45 if name == "trunk" else 1.0) * radii * part.radius + 1
    (left, top), (right, bottom) = ends.min(axis=0) - margin, ends.max(axis=0) + margin
    rows = slice(max(int(top), 0), min(max(int(np.ceil(bottom)), 0), height))
    return rows, slice(max(int(left), 0), min(max(int(np.ceil(right)), 0), width))


def _middles(rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(columns.start, max(columns.stop, columns.start), dtype=np.float32)[None] + 0.5
    y = np.arange(rows.start, max(rows.stop, rows.start), dtype=np.float32)[:, None] + 0.5
    return x, y


class WarpSource:
    """A photo and its pose, prepared once for any number of targets.

    Attributes:
        picture: uint8 (H, W, 3).
        body: its parts.
        ground: uint8 (H, W, 3), the picture with the person filled in from both sides, row by row.
        person: bool (H, W), what differs from the ground; that is the picture itself wherever no part is near.
    """

    def __init__(self, picture: np.ndarray, body: Body) -> None:
        self.picture, self.body = picture, body
        height, width = picture.shape[:2]
        near = np.zeros((height, width), bool)
        for name, part in body.parts.items():
            box = _box(name, part, _BODY, height, width)
            near[box] |= _places(name, part, *_middles(*box))[2] < _BODY
        self.ground = _filled(picture, ~near)
        self.person = np.abs(picture.astype(np.int16) - self.ground).max(axis=2) > _SAME_COLOUR

    @classmethod
    def of(cls, picture: np.ndarray, pose: Pose | None) -> WarpSource | None:
        """Of a picture uint8 (H, W, 3) and the pose in its pixels; None where the pose is unknown or has no parts.

        Raises:
            ValueError: the pose's frame has another size than the picture.
        """
        if pose is not None and picture.shape[:2] != (pose.height, pose.width):
            raise ValueError(
                f"the picture is {picture.shape[0]}x{picture.shape[1]}, its pose's frame {pose.height}x{pose.width}"
                " (height x width)"
            )
        body = None if pose is None else find_body(pose)
        return None if body is None else cls(picture, body)


def _filled(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown pixels between the nearest known ones to the left and right; a row without any is as the nearest that has."""
    height, width = known.shape
    rows = np.flatnonzero(known.any(axis=1))
    if not len(rows):
        return picture
    columns = np.arange(width)
    left = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(known, columns, width)[:, ::-1], axis=1)[:, ::-1]
    left, right = (
        np.where(left < 0, right, left).clip(0, width - 1),
        np.where(right >= width, left, right).clip(0, width - 1),
    )
    share = ((columns - left) / np.maximum(right - left, 1))[..., None].astype(np.float32)
    line = np.arange(height)[:, None]
    filled = picture[line, left] * (1 - share) + picture[line, right] * share
    nearest = rows[np.abs(rows[None] - line).argmin(axis=1)]
    result: np.ndarray = filled[nearest].round().astype(np.uint8)
    return result


def warp(sources: Sequence[WarpSource], target: Pose) -> np.ndarray | None:
    """The person of the sources in a target's pose.

    Each part comes from the source that is turned most like the target, of those that show it; a limb that none shows from
    the person's other side. The ground is the first source's.

    Args:
        sources: at least one, all of one size.
        target: in a frame of that size.

    Returns:
        uint8 (H, W, 3); None where the target has no parts.

    Raises:
        ValueError: no source, or frames of different size.
    """
    if not sources:
        raise ValueError("no source to warp")
    height, width = target.height, target.width
    for source in sources:
        if source.picture.shape[:2] != (height, width):
            raise ValueError(
                f"the target's frame is {height}x{width}, a source {source.picture.shape[0]}x{source.picture.shape[1]}"
            )
    body = find_body(target)
    if body is None:
        return None
    result, nearest = sources[0].ground.copy(), np.full((height, width), _INSIDE, np.float32)
    for name, part in body.parts.items():
        found = _best_source(sources, body, name)
        if found is None:
            continue
        source, origin = found
        box = _box(name, part, _INSIDE, height, width)
        along, across, distance = _places(name, part, *_middles(*box))
        x, y = _moved(name, part, origin, along, across, source.body.scale / body.scale)
        x, y = x.astype(np.intp).clip(0, width - 1), y.astype(np.intp).clip(0, height - 1)
        nearer = distance < nearest[box]
        nearest[box][nearer] = distance[nearer]
        shown = np.where(source.person[y, x][..., None], source.picture[y, x], sources[0].ground[box])
        result[box][nearer] = shown[nearer]
    return result


def _best_source(sources: Sequence[WarpSource], target: Body, name: str) -> tuple[WarpSource, Part] | None:
    """The source for a part, and the part there."""
    side, _, rest = name.partition("_")
    other = {"right": f"left_{rest}", "left": f"right_{rest}"}.get(side, name)

    def difference(source: WarpSource) -> float:
        if name == "head":
            return len(source.body.face ^ target.face) + _ASIDE * abs(source.body.aside - target.aside)
        return abs(source.body.turn - target.turn)

    for wanted in (name, other):
        shown = [source for source in sources if wanted in source.body.parts]
        if shown:
            best = min(shown, key=difference)
            return best, best.body.parts[wanted]
    return None


def _moved(
    name: str, part: Part, origin: Part, along: np.ndarray, across: np.ndarray, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """x and y in the source of places on a target's part; hands and feet keep their size, `scale` times as large there."""
    moved = along * (origin.length / part.length)
    if name not in ("trunk", "head"):
        moved = np.where(along > part.length, origin.length + (along - part.length) * scale, moved)
    aside = across * (origin.radius / part.radius) * (-1.0 if part.mirrored * origin.mirrored < 0 else 1.0)
    return (
        origin.start[0] + moved * origin.axis[0] + aside * origin.normal[0],
        origin.start[1] + moved * origin.axis[1] + aside * origin.normal[1],
    )
