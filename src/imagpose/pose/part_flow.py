"""A first flow from a view to a photo of the same person, part by part: where in the photo each place of a pose would lie.

Both poses are cut into parts (`body_parts`). In the source each pixel of the person belongs to one part. Each pixel of a
target is taken for the front-most part that it lies on, and its place along and across that part leads to a place on the
same part of the source. Heads turn as cylinders do; a trunk seen from its other side is mirrored. Nothing is learned: flat
parts know no folds and no far sides, so what they say is corrected by a network (`models.appearance_flow`). Source: own; one
affine map a body part is Siarohin et al., "Deformable GANs for pose-based human image generation", CVPR 2018, §3.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt

from imagpose.pose.body_parts import Body, Box, find_body
from imagpose.pose.keypoints import Pose, other_side

PART_NUMBERS = {
    name: number
    for number, name in enumerate(
        ("trunk", "head", "neck", *(f"{side}_{level}_{limb}" for side in ("right", "left") for level, limb in (
            ("upper", "arm"), ("lower", "arm"), ("upper", "leg"), ("lower", "leg")))),
        start=1,
    )
}  # fmt: skip
"""Of the parts of a body; 0 is the ground."""

# Numbers are own, set by eye and by the error in the mask on rendered people.
_BODY = 1.55  # radii up to which a source's pixel may be the person's
_REACH = 1.3  # radii up to which a part's own pixels are looked for
_CORE = 0.55  # radii up to which a pixel is a part's, whatever lies behind it or is as bright as the ground
_FRONT = 0.75  # radii up to which a part hides those that lie behind it
_SAME_COLOUR = 12  # levels of the largest channel; what differs less from the filled ground is ground
_MARGIN = 20  # pixels beyond the frame, which no place of a flow passes

# A head's face, in lengths of the trunk.
_HEAD_ROUND = 0.20  # radius of a head with its hair, as a cylinder
_BEHIND = 1e-3  # cosine below which a place is on the far side, the outline's of a half turn too
_LEAST_TURN = 0.2  # radians; a smaller turn of a head is the key points' noise
# Where a turn finds its outermost colour, in radii: before the outline, which is mixed with the ground; and how much
# nearer for a quarter turn, which shows as wide as the head with its hair what is half a face.
_RIM, _CHEEK = 0.95, 0.3


@dataclass(frozen=True)
class PartView:
    """A photo cut into the parts of its person's body.

    Attributes:
        picture: uint8 (H, W, 3).
        body: its parts.
        ground: uint8 (H, W, 3), the picture with the person filled in from both sides, row by row.
        parts: uint8 (H, W), what each pixel shows, by `PART_NUMBERS`.
    """

    picture: np.ndarray
    body: Body
    ground: np.ndarray
    parts: np.ndarray

    @classmethod
    def of(cls, picture: np.ndarray, pose: Pose | None) -> PartView | None:
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
        if body is None:
            return None
        distances = []
        for name, part in body.parts.items():
            box = part.box(_BODY, *picture.shape[:2])
            distances.append((PART_NUMBERS[name], box, part.places(box)[2]))
        near = np.zeros(picture.shape[:2], bool)
        for _, box, distance in distances:
            near[box] |= distance < _BODY
        ground = _filled(picture, ~near)
        differs = np.abs(picture.astype(np.int16) - ground).max(axis=2) > _SAME_COLOUR
        return cls(picture, body, ground, _find_parts(distances, differs))

    def shows(self, name: str) -> bool:
        """Whether any of a part is seen near where it should be."""
        if name not in self.body.parts:
            return False
        box = self.body.parts[name].box(_REACH, *self.parts.shape)
        return bool((self.parts[box] == PART_NUMBERS[name]).any())


@dataclass(frozen=True)
class PartFlow:
    """Where the cells of a target lie in a source.

    Attributes:
        flow: float32 (2, h, w), x and y in pixels of the source; off the person, as it goes on from the nearest part.
        parts: uint8 (h, w), what each cell is taken for, by `PART_NUMBERS`.
        turned_away: bool (h, w), places of a head or a trunk on the side that the source does not see.
        on_part: float32 (2, h, w), where a cell lies along and across its part, -1 to 1; 0 off the person.
    """

    flow: np.ndarray
    parts: np.ndarray
    turned_away: np.ndarray
    on_part: np.ndarray


def find_part_flow(source: PartView, target: Body, cell: int) -> PartFlow | None:
    """The first flow of the middles of a target's cells, to a source of the same frame's size.

    Args:
        source: H x W.
        target: in a frame of that size.
        cell: pixels along a cell; (h, w) = (H // cell, W // cell).

    Returns:
        None where the source shows no part of the target.
    """
    limits = np.array(source.parts.shape[::-1], np.float32)[:, None, None]
    height, width = (length // cell for length in source.parts.shape)
    target = target.resized(1 / cell)
    flow, on_part = np.zeros((2, 2, height, width), np.float32)
    parts, turned_away = np.zeros((height, width), np.uint8), np.zeros((height, width), bool)
    for name, part in target.parts.items():  # from back to front
        origin = next((own for own in (name, other_side(name)) if source.shows(own)), None)
        if origin is None:
            continue
        box = part.box(1.0, height, width)
        along, across, distance = part.places(box)
        mine = distance < 1.0
        places, away = _led_back(name, target, source.body, origin, along, across)
        flow[(slice(None), *box)][:, mine] = places[:, mine]
        on_part[(slice(None), *box)][:, mine] = part.relative(along, across)[:, mine]
        parts[box][mine], turned_away[box][mine] = PART_NUMBERS[name], away[mine]
    none = parts == 0
    if none.all():
        return None
    nearest = distance_transform_edt(none, return_distances=False, return_indices=True)
    beyond = cell * (np.indices(none.shape) - nearest)[::-1]
    flow = np.where(none, flow[:, nearest[0], nearest[1]] + beyond, flow)
    return PartFlow(flow.clip(-_MARGIN, limits + _MARGIN).astype(np.float32), parts, turned_away, on_part)


def _find_parts(distances: Sequence[tuple[int, Box, np.ndarray]], differs: np.ndarray) -> np.ndarray:
    """uint8 (H, W), the part that each pixel shows; 0 where none does.

    Args:
        distances: of each part, from back to front, its number, a box and the distances (h, w) of its pixels in radii.
        differs: bool (H, W), pixels that are no ground by their colour.
    """
    parts = np.zeros(differs.shape, np.uint8)
    nearest = np.full(differs.shape, _BODY, np.float32)
    for number, box, distance in distances:
        mine = (distance < nearest[box]) | (distance < _FRONT)
        parts[box][mine] = number
        nearest[box][mine] = distance[mine]
    return np.where(differs | (nearest < _CORE), parts, np.uint8(0))


def _filled(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Unknown pixels between the nearest known ones to the left and right; a row without any is as the nearest that has."""
    height, width = known.shape
    rows = np.flatnonzero(known.any(axis=1))
    if not len(rows):
        return picture
    columns = np.arange(width)
    before = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    behind = np.minimum.accumulate(np.where(known, columns, width)[:, ::-1], axis=1)[:, ::-1]
    row, column = np.nonzero(~known)
    left, right = before[row, column], behind[row, column]
    left, right = (
        np.where(left < 0, right, left).clip(0, width - 1),
        np.where(right >= width, left, right).clip(0, width - 1),
    )
    share = ((column - left) / np.maximum(right - left, 1))[:, None].astype(np.float32)
    filled = picture.copy()
    filled[row, column] = (picture[row, left] * (1 - share) + picture[row, right] * share).round()
    nearest = rows[np.abs(rows[None] - np.arange(height)[:, None]).argmin(axis=1)]
    result: np.ndarray = filled[nearest]
    return result


def _led_back(
    name: str, target: Body, source: Body, origin: str, along: np.ndarray, across: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Places along and across a target's part (h, w) on a source's part: x and y (2, h, w), and which are turned away.

    What is at sin(a) on a cylinder is at sin(a + angle) before a turn by -angle.
    """
    part, own, scale = target.parts[name], source.parts[origin], source.scale / target.scale
    angle, round_ = 0.0, own.radius
    if name == "head":
        moved = along * scale
        angle, round_ = source.yaw - target.yaw, _HEAD_ROUND * source.scale
    elif name == "trunk":
        moved = along * (own.length / part.length)
        angle = 0.0 if source.turn * target.turn >= 0 else np.pi
    else:  # hands and feet keep their size
        moved = along * (own.length / part.length)
        moved = np.where(along > part.length, own.length + (along - part.length) * scale, moved)
    aside = across * (own.radius / part.radius)
    turned_away = np.zeros(aside.shape, bool)
    if abs((angle + np.pi) % (2 * np.pi) - np.pi) >= _LEAST_TURN:
        rim = _RIM - _CHEEK * abs(np.sin(angle))
        around = np.arcsin((aside / round_).clip(-1, 1)) + angle
        aside, turned_away = np.sin(around) * rim * round_, np.cos(around) < _BEHIND
    places = [own.start[axis] + moved * own.axis[axis] + aside * own.normal[axis] for axis in (0, 1)]
    return np.stack(places).astype(np.float32), turned_away
