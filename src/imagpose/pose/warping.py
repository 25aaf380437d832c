"""A person's photo moved into another pose, limb by limb: a first guess at what a target shows.

Both poses are cut into parts (`body_parts`). In the source every pixel of the person belongs to one part, and what another
part hides of a part is filled in from its own pixels nearby: its layer. In the target parts are laid over each other from
back to front, each pixel in the colour of the pixel that has the same place along and across the same part. Heads turn as
cylinders do, and a face that turns away goes. A trunk seen from its other side is mirrored. Where no part lies is the ground
of the source, filled in where the person stood. Nothing is learned: a back shows the front seen through. Source: own; one
affine map a body part is Siarohin et al., "Deformable GANs for pose-based human image generation", CVPR 2018, §3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt

from imagpose.pose.body_parts import Body, Box, find_body, neighbours, other_side
from imagpose.pose.hair import HAIRLINE, Hair, find_hair, skull
from imagpose.pose.keypoints import Pose

__all__ = ["WarpSource", "warp"]

# Numbers are own, set by eye and by the error in the mask on rendered people.
_BODY = 1.55  # radii up to which a source's pixel may be the person's
_LAYER = 1.3  # radii up to which a layer reaches
_FACE = 0.3  # radii of a head up to which a pixel is its face, even if it is as bright as the ground
_HAIR = 4.0  # radii of a head up to which its hair is looked for
_CORE = 0.55  # radii up to which a pixel is a part's, whatever lies behind it or is as bright as the ground
_FRONT = 0.75  # radii up to which a part hides those that lie behind it
_SAME_COLOUR = 12  # levels of the largest channel; what differs less from the filled ground is ground

# A head's face, in lengths of the trunk.
_HEAD_ROUND = 0.20  # radius of a head with its hair, as a cylinder
_BEHIND = 1e-3  # cosine below which a place is on the far side, the outline's of a half turn too
_LEAST_TURN = 0.2  # radians; a smaller turn of a head is the key points' noise
# Where a turn finds its outermost colour, in radii: before the outline, which is mixed with the ground; and how much
# nearer for a quarter turn, which shows as wide as the head with its hair what is half a face.
_RIM, _CHEEK = 0.95, 0.3


@dataclass(frozen=True)
class Layer:
    """What a source shows of a part.

    Attributes:
        colours: uint8 (H, W, 3) of the whole picture's size, filled in where something hides the part.
        shown: bool (H, W), where the part is.
        seen: share of its core that nothing hides, 0 to 1.
    """

    colours: np.ndarray
    shown: np.ndarray
    seen: float


class WarpSource:
    """A photo and its pose, prepared once for any number of targets.

    Attributes:
        picture: uint8 (H, W, 3).
        body: its parts.
        ground: uint8 (H, W, 3), the picture with the person filled in from both sides, row by row.
        owners: int8 (H, W), the part that each pixel shows, by its place in `body.parts`; -1: ground.
    """

    def __init__(self, picture: np.ndarray, body: Body) -> None:
        self.picture, self.body = picture, body
        distances = []
        for part in body.parts.values():
            box = part.box(_BODY, *picture.shape[:2])
            distances.append((box, part.places(box)[2]))
        near = np.zeros(picture.shape[:2], bool)
        for box, distance in distances:
            near[box] |= distance < _BODY
        self.ground = _filled(picture, ~near)
        self._differs = np.abs(picture.astype(np.int16) - self.ground).max(axis=2) > _SAME_COLOUR
        self.owners = _find_owners(distances, self._differs)
        self._layers: dict[tuple[str, bool], Layer | None] = {}

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

    def layer(self, name: str, faceless: bool = False) -> Layer | None:
        """What is seen of a part; None where the pose does not have it or all of it is hidden.

        Args:
            name: of the part.
            faceless: of a head: with the hair around its face drawn over it, as it is from behind.
        """
        key = name, faceless
        if key not in self._layers:
            self._layers[key] = self._find_layer(name, faceless) if name in self.body.parts else None
        return self._layers[key]

    def _find_layer(self, name: str, faceless: bool) -> Layer | None:
        part = self.body.parts[name]
        box = part.box(_LAYER, *self.owners.shape)
        along, across, distance = part.places(box)
        owners, core = self.owners[box], distance < _CORE
        mine, own = self._shows(box, {name}), self._shows(box, neighbours(name))
        if name == "trunk":
            shown = self._shows(box, self.body.parts.keys() - {"head", "neck"})
        else:
            shown = own | (core & (owners >= 0))
        if name == "head":  # beside a jaw lies ground
            own &= self._differs[box] | (distance < _FACE)
        if not own.any() or not mine.any():
            return None
        if faceless:
            return self._back_of_head(box, own, along, across)
        everywhere = np.zeros(self.owners.shape, bool)
        everywhere[box] = shown
        seen = float(mine[core].mean()) if core.any() else 0.0
        return Layer(self._spread(box, own), everywhere, seen)

    @cached_property
    def hair(self) -> Hair | None:
        """Of the head; None where none is seen."""
        part = self.body.parts["head"]
        box = part.box(_HAIR, *self.owners.shape)
        along, across, _ = part.places(box)
        own, scale = self.owners[box] >= 0, self.body.scale
        return find_hair(self.picture[box], self.ground[box], own, across / scale, along / scale)

    def _back_of_head(self, box: Box, own: np.ndarray, along: np.ndarray, across: np.ndarray) -> Layer | None:
        """A head from behind: its crown, and hair in place of the face."""
        if self.hair is None:
            return None
        u, v = across / self.body.scale, along / self.body.scale
        colours, everywhere = self.picture.copy(), np.zeros(self.owners.shape, bool)
        colours[box] = self.hair.colour_at(u, v)
        crown = own & ((v >= HAIRLINE) | self.hair.beside(self.picture[box], self.ground[box], v))
        everywhere[box] = crown | skull(u, v) | self.hair.falls(u, v)
        return Layer(colours, everywhere, 1.0)

    def _shows(self, box: Box, names: Collection[str]) -> np.ndarray:
        """bool (h, w), the pixels of a box that show one of some parts."""
        among = np.array([name in names for name in self.body.parts] + [False])  # the last: ground, -1
        shows: np.ndarray = among[self.owners[box]]
        return shows

    def _spread(self, box: Box, known: np.ndarray) -> np.ndarray:
        """The picture, in the other places of a box the colour of the nearest known pixel inside of an outline."""
        colours, lost = self.picture.copy(), ~known
        if lost.any():
            inner = binary_erosion(known)  # outlines hold some of the ground
            rows, columns = distance_transform_edt(
                ~(inner if inner.any() else known), return_distances=False, return_indices=True
            )
            colours[box][lost] = self.picture[box][rows[lost], columns[lost]]
        return colours


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
    result = sources[0].ground.copy()
    for name in body.parts:  # from back to front
        found = _best_source(sources, body, name)
        if found is not None:
            _lay(result, body, name, *found)
    return result


def _find_owners(distances: Sequence[tuple[Box, np.ndarray]], differs: np.ndarray) -> np.ndarray:
    """int8 (H, W), the part that each pixel shows, by its number; -1 where none does.

    Args:
        distances: of each part, from back to front, a box and the distances (h, w) of its pixels in radii.
        differs: bool (H, W), pixels that are no ground by their colour.
    """
    owners = np.full(differs.shape, -1, np.int8)
    nearest = np.full(differs.shape, _BODY, np.float32)
    for number, (box, distance) in enumerate(distances):
        mine = (distance < nearest[box]) | (distance < _FRONT)
        owners[box][mine] = number
        nearest[box][mine] = distance[mine]
    return np.where(differs | (nearest < _CORE), owners, np.int8(-1))


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


def _best_source(sources: Sequence[WarpSource], target: Body, name: str) -> tuple[WarpSource, str] | None:
    """The source for a part of a target, and which of its parts; the first of equals."""
    for origin in (name, other_side(name)):
        differences = []
        for source in sources:
            layer = source.layer(origin)
            if layer is not None:
                turned = abs(source.body.turn - target.turn) - layer.seen
                differences.append((_angle(source.body.yaw - target.yaw) if name == "head" else turned, source))
        if differences:
            return min(differences, key=lambda pair: pair[0])[1], origin
    return None


def _lay(result: np.ndarray, target: Body, name: str, source: WarpSource, origin: str) -> None:
    """Draw a part of a target over a result (H, W, 3), from a source's part."""
    part = target.parts[name]
    height, width = result.shape[:2]
    box = part.box(1.0, height, width)
    along, across, distance = part.places(box)
    place = _led_back(name, target, source.body, origin, along, across)
    inside, seen = (
        (y.astype(np.intp).clip(0, height - 1), x.astype(np.intp).clip(0, width - 1))
        for x, y in (place.shape, place.colour)
    )
    layers = [(False, ~place.turned_away), (True, place.turned_away)] if name == "head" else [(False, np.True_)]
    for faceless, where in layers:
        layer = source.layer(origin, faceless) if where.any() else None
        if layer is not None:
            shown = layer.shown[inside]
            back = source.layer(origin, True) if place.turns and not faceless else None
            if (
                back is not None and source.hair is not None
            ):  # a face that turns stands out before the outline that it had
                u, v = across / target.scale, along / target.scale
                shown = back.shown[inside] | (skull(u, v) & ((v < HAIRLINE) | layer.shown[seen]))
            mine = (distance < 1.0) & shown & where
            x, y = place.colour
            result[box][mine] = _between(layer.colours, x[mine], y[mine])


class _Place(NamedTuple):
    """Where in the source a target's pixels are, all (h, w).

    Attributes:
        shape: x and y that say whether the part is there.
        colour: x and y of its colour.
        turned_away: bool, of a head: on the side that the source does not see.
        turns: whether it is a head that turns.
    """

    shape: tuple[np.ndarray, np.ndarray]
    colour: tuple[np.ndarray, np.ndarray]
    turned_away: np.ndarray
    turns: bool


def _led_back(name: str, target: Body, source: Body, origin: str, along: np.ndarray, across: np.ndarray) -> _Place:
    """Places along and across a target's part, on a source's part.

    An outline is the same from both sides, so it is mirrored where a part is seen from its other one. Colours go around:
    what is at sin(a) on a cylinder is at sin(a + angle) before a turn by -angle.
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
    outline = colour = across * (own.radius / part.radius)
    turned_away = np.zeros(colour.shape, bool)
    if _angle(angle) >= _LEAST_TURN:
        rim = _RIM - _CHEEK * abs(np.sin(angle))
        around = np.arcsin((outline / round_).clip(-1, 1)) + angle
        colour, turned_away = np.sin(around) * rim * round_, np.cos(around) < _BEHIND
        outline = outline * (1.0 if np.cos(angle) >= 0 else -1.0)

    def at(aside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            own.start[0] + moved * own.axis[0] + aside * own.normal[0],
            own.start[1] + moved * own.axis[1] + aside * own.normal[1],
        )

    return _Place(at(outline), at(colour), turned_away, _angle(angle) >= _LEAST_TURN)


def _between(picture: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Colours uint8 (n, 3) of a picture at places (n,), linear between the middles of its pixels."""
    height, width = picture.shape[:2]
    x, y = ((x - 0.5).clip(0, width - 1).astype(np.float32), (y - 0.5).clip(0, height - 1).astype(np.float32))
    left, top = x.astype(np.intp), y.astype(np.intp)
    x, y = (x - left)[:, None], (y - top)[:, None]
    right, pixels = np.minimum(left + 1, width - 1), picture.reshape(-1, 3)
    top, bottom = top * width, np.minimum(top + 1, height - 1) * width  # of the picture's pixels in one row
    upper = pixels.take(top + left, axis=0) * (1 - x) + pixels.take(top + right, axis=0) * x
    lower = pixels.take(bottom + left, axis=0) * (1 - x) + pixels.take(bottom + right, axis=0) * x
    mixed: np.ndarray = (upper * (1 - y) + lower * y).round().astype(np.uint8)
    return mixed


def _angle(radians: float) -> float:
    """The size of an angle, 0 to pi."""
    return float(abs((radians + np.pi) % (2 * np.pi) - np.pi))
