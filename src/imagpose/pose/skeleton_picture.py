"""Key points out of a drawn skeleton: sticks and discs by hue, joined as a body is, then held against the picture.

Own method. Sticks say where a limb is even where hands, a face or another limb cover its joints; discs say where a joint is
to the pixel. Which end of a stick is which joint is settled by the discs about it and by the neighbouring sticks, once for
the palette as it is and once with R and B exchanged: only the right one joins up. What then does not explain the drawing is
refused: a wrong pose is worse than none.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from imagpose.pose.keypoints import KEYPOINT_NAMES, LIMBS, Pose
from imagpose.pose.skeleton_arrangement import TRACE, Reading, arranged
from imagpose.pose.skeleton_evidence import EIGHT, HUES, Disc, Evidence, collect_evidence

_LEAST_JOINTS, _LEAST_LIMBS, _LEAST_MARGIN = 4, 2, 0.3
_LEAST_JOINED, _LEAST_EXPLAINED, _LEAST_COVERED = 0.45, 0.8, 0.6
_MOST_TWICE, _MOST_UNCOVERED = 4, 2
_WRISTS = (4, 7)
_BLUE = 12  # the hue of ControlNet's points of hands
_ROOT_HUES = (0, 4, 7, 11, 14)  # classes of a hand's edges at the wrist; no other edge has them
_ROOM = 3.0  # radii between the end of a limb and the hand that covers it
_LEAST_POINTS, _LEAST_EDGES = 3.0, 6  # of a hand: area of the points in discs, pixels of the edges
# From the middle of the edges at the wrist to the wrist, in units from there to the middle of all points, for hands whose
# fingers begin at half of their length.
_BACK = 0.6
_HINT = "give the key points as a file instead, or find the pose in the photo with `imagpose poses detect`"


def read_skeleton_picture(image: Image.Image) -> tuple[Pose, list[str]]:
    """The pose in a picture of one skeleton in ControlNet's colours, body with or without hands and face.

    Args:
        image: RGB, the drawing on a black, white or grey ground, of any size, sticks and joints of any width.

    Returns:
        The pose in the picture's frame, confidence 1 where found; and what a user should know.

    Raises:
        ValueError: no skeleton, several, or one that does not explain the picture; one line with the reason.
    """
    try:
        evidence = collect_evidence(np.asarray(image.convert("RGB")))
        as_drawn, exchanged = arranged(evidence, False), arranged(evidence, True)
        reading = max(as_drawn, exchanged, key=lambda one: one.joined)
        points, uncovered = _without_uncovered(_joints(reading, evidence), evidence)
        _check(points, uncovered, reading, abs(as_drawn.joined - exchanged.joined), evidence)
    except ValueError as error:
        raise ValueError(f"{error}; {_HINT}") from None
    notes = ["R and B are exchanged in the drawing (BGR); read as such"] if reading is exchanged else []
    if uncovered:
        notes.append(
            f"{', '.join(KEYPOINT_NAMES[joint] for joint in uncovered)}: not to be told from what is drawn; missing"
        )
    places = np.where(points[:, 2:] > 0, points[:, :2] / evidence.scale + evidence.origin, 0.0)
    return Pose(np.concatenate([places, points[:, 2:]], 1), *image.size), notes


def _joints(reading: Reading, evidence: Evidence) -> np.ndarray:
    """Joints (18, 3) in pixels of the evidence: the disc where the limbs end, else where they end."""
    points = np.zeros((HUES, 3))
    for joint in range(HUES):
        limbs = [limb for limb in reading.sticks if joint in LIMBS[limb]]
        if limbs:
            meeting = _meeting(reading, joint, limbs)
            disc = _disc_at(reading, joint, limbs, meeting)
            root = _covered_wrist(reading, joint, limbs[0], evidence) if joint in _WRISTS else None
            if root is not None and (disc is None or np.hypot(*(disc.place - root)) > 2.5 * reading.radius):
                points[joint] = [*root, 1]
            elif disc is not None:
                points[joint] = [*_middle(disc, joint, reading, evidence), 1]
            elif max(reading.sticks[limb].length for limb in limbs) >= TRACE * reading.radius:
                points[joint] = [*meeting, 1]
    for joint in range(HUES):
        disc = None if points[joint, 2] else _lone_disc(reading, joint, points)
        if disc is not None:
            points[joint] = [*_middle(disc, joint, reading, evidence), 1]
    return points


def _middle(disc: Disc, joint: int, reading: Reading, evidence: Evidence) -> np.ndarray:
    """Middle of a disc; of one that is partly covered the circle that holds its pixels and nothing that is not above it."""
    radius = reading.radius
    if disc.area >= 0.85 * np.pi * radius**2:
        return disc.place
    reach = int(np.ceil(2 * radius)) + 2
    left, top = (disc.place - reach).astype(int).clip(0)
    window = (slice(top, top + 2 * reach + 1), slice(left, left + 2 * reach + 1))
    own = (evidence.bright & (evidence.hue == reading.hues[joint]))[window]
    below = ~own & ~(evidence.bright | evidence.white)[window]
    rows, columns = np.mgrid[: own.shape[0], : own.shape[1]] + 0.5
    steps = np.arange(-radius, radius + 0.25, 0.5)
    tried = disc.place - [left, top] + np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    inside = (columns - tried[:, 0, None, None]) ** 2 + (rows - tried[:, 1, None, None]) ** 2 <= radius**2
    score = (inside & own).sum((1, 2)) - (inside & below).sum((1, 2))
    middle: np.ndarray = tried[score == score.max()].mean(0) + [left, top]
    return middle


def _meeting(reading: Reading, joint: int, limbs: list[int]) -> np.ndarray:
    """Where limbs end: their visible ends, made longer by half of what a disc covers."""
    meeting: np.ndarray = np.mean(
        [reading.end(limb, joint) + 0.6 * reading.radius * reading.outward(limb, joint) for limb in limbs], 0
    )
    return meeting


def _disc_at(reading: Reading, joint: int, limbs: list[int], meeting: np.ndarray) -> Disc | None:
    """The disc of a joint: where its limbs meet, or, where their ends are covered, further out on their lines."""
    radius, whole = reading.radius, np.pi * reading.radius**2
    reach = max(reading.sticks[limb].length for limb in limbs)
    long = [limb for limb in limbs if reading.sticks[limb].length > 4 * radius]  # their lines are sure
    places = [meeting, *(reading.end(limb, joint) for limb in limbs)]
    entire = [disc for disc in reading.discs[joint] if 0.5 * whole <= disc.area <= 1.6 * whole]
    only = entire[0] if len(entire) == 1 and not _has_hands(reading) else None
    best, least = None, np.inf
    for disc in reading.discs[joint]:
        gap = min(float(np.hypot(*(disc.place - place))) for place in places)
        aside = max((float(reading.sticks[limb].distance(disc.place[None])[0]) for limb in long), default=0.0)
        inward = max(
            ((reading.end(limb, joint) - disc.place) @ reading.outward(limb, joint) for limb in long), default=0.0
        )
        is_here = gap <= (2.2 if long else 3.5) * radius + 1 and (disc.area >= 0.25 * whole or gap <= 1.3 * radius + 1)
        is_beyond = disc.area >= 0.3 * whole and aside <= radius + 1 + 0.12 * gap and gap <= reach
        is_beside = any(disc is one for one in entire) and aside <= radius + 1 and gap <= 4 * radius + 1
        is_far = disc is only and gap <= reach + 4 * radius
        # The edges of a hand have hues of discs, on the inner side of its wrist.
        is_before = joint in _WRISTS and inward > 1.5 * radius + 1 and disc is not only
        cost = aside + 0.3 * gap - 2 * radius * min(disc.area / whole, 1.0)
        fits = (is_here or is_beyond or is_beside or is_far) and not is_before and disc.area <= 2.5 * whole
        if fits and cost < least:
            best, least = disc, cost
    return best


def _covered_wrist(reading: Reading, joint: int, limb: int, evidence: Evidence) -> np.ndarray | None:
    """The wrist of a hand that covers it, on the line of its forearm."""
    end, outward = reading.end(limb, joint), reading.outward(limb, joint)
    root = _hand_root(evidence, end, reading.hues)
    if root is None or np.abs((root - end) @ [-outward[1], outward[0]]) > 3 * reading.radius:
        return None
    return end + outward * max(float((root - end) @ outward), 0.6 * reading.radius)


def _hand_root(evidence: Evidence, end: np.ndarray, hues: dict[int, int]) -> np.ndarray | None:
    """The wrist x, y of the hand that lies over the end of a limb; None where there is none.

    ControlNet draws a hand as 21 blue points and 20 edges in full brightness, edge i of hue 18 i degrees; edges 0, 4, 8, 12
    and 16 lead from the wrist to the fingers. Own method.

    Args:
        evidence: the drawing.
        end: x, y of the limb's visible end.
        hues: class in the drawing of each class of the palette.
    """
    labels, _ = ndimage.label(ndimage.binary_dilation(evidence.bright, EIGHT), EIGHT)
    reach = int(np.ceil(_ROOM * evidence.radius)) + 1
    left, top = (end - reach).astype(int).clip(0)
    near = labels[top : int(end[1]) + reach + 1, left : int(end[0]) + reach + 1]
    if not near.any():
        return None
    hand = (labels == np.bincount(near[near > 0]).argmax()) & evidence.bright
    points = hand & (evidence.hue == hues[_BLUE])
    edges = hand & np.isin(evidence.hue, [hues[index] for index in _ROOT_HUES])
    kinds = sum((edges & (evidence.hue == hues[index])).any() for index in _ROOT_HUES)
    if points.sum() < _LEAST_POINTS * np.pi * evidence.radius**2 or edges.sum() < _LEAST_EDGES or kinds < 3:
        return None
    of_edges, of_points = (np.argwhere(mask)[:, ::-1].mean(0) + 0.5 for mask in (edges, points))
    root: np.ndarray | None = of_edges - _BACK * (of_points - of_edges)
    return root


def _has_hands(reading: Reading) -> bool:
    """Whether there are more blue points than a knee."""
    blue = reading.discs[_BLUE]
    return len(blue) > 3 or any(disc.area > 3 * np.pi * reading.radius**2 for disc in blue)


def _lone_disc(reading: Reading, joint: int, points: np.ndarray) -> Disc | None:
    """The disc of a joint whose limbs are not seen: a whole one anywhere, or a part beside a joint that it belongs to."""
    radius, whole = reading.radius, np.pi * reading.radius**2
    neighbours = [sum(limb) - joint for limb in LIMBS if joint in limb]
    beside = [points[other, :2] for other in neighbours if points[other, 2]]
    for disc in reading.discs[joint]:
        near = min((float(np.hypot(*(disc.place - place))) for place in beside), default=np.inf)
        is_part = disc.area >= 0.15 * whole and near <= 3 * radius
        if joint != _BLUE and ((disc.is_round and 0.5 * whole <= disc.area <= 1.8 * whole) or is_part):
            return disc
    return None


def _without_uncovered(points: np.ndarray, evidence: Evidence) -> tuple[np.ndarray, list[int]]:
    """The points without the outer joints of limbs of which nothing is drawn, and these joints."""
    points, uncovered = points.copy(), []
    for first, last in LIMBS:  # the first is nearer to the neck
        if (
            points[first, 2]
            and points[last, 2]
            and _covered(points[first, :2], points[last, :2], evidence) < _LEAST_COVERED
        ):
            points[last] = 0
            uncovered.append(last)
    return points, uncovered


def _check(points: np.ndarray, uncovered: list[int], reading: Reading, margin: float, evidence: Evidence) -> None:
    """Raises with the reason if the joints are no skeleton, or not the one that is drawn."""
    found = points[:, 2] > 0
    if reading.twice > _MOST_TWICE:
        raise ValueError(f"{reading.twice} limbs are there twice: more than one skeleton in the picture")
    if found.sum() < _LEAST_JOINTS or len(reading.sticks) < _LEAST_LIMBS:
        if evidence.is_bright:
            raise ValueError(
                "limbs are as bright as joints; ControlNet's tools draw them darker, which tells them apart"
            )
        raise ValueError(
            f"only {found.sum()} joints and {len(reading.sticks)} limbs of a skeleton found in the picture"
        )
    if reading.joined < _LEAST_JOINED or margin < _LEAST_MARGIN or len(uncovered) > _MOST_UNCOVERED:
        raise ValueError(
            "limbs and joints do not join up by colour: not drawn in the colours of ControlNet's OpenPose, or blurred"
        )
    explained = _explained(points, [limb for limb in LIMBS if found[list(limb)].all()], evidence)
    if explained < _LEAST_EXPLAINED:
        raise ValueError(f"only {explained:.0%} of the drawing is explained by the skeleton found in it")


def _explained(points: np.ndarray, limbs: list[tuple[int, int]], evidence: Evidence) -> float:
    """Share of the limbs' pixels that lie on the skeleton; the edges of hands in full brightness are left out."""
    rows, columns = np.nonzero(evidence.coloured)
    places = np.stack([columns, rows], 1) + 0.5
    distance = np.full(len(places), np.inf)
    for first, last in limbs:
        distance = np.minimum(distance, _segment_distance(places, points[first, :2], points[last, :2]))
    hands = ndimage.binary_dilation(evidence.bright, EIGHT, 2)[rows, columns]
    on = distance <= evidence.radius + 2
    counted = on | ~hands
    return float(on[counted].mean()) if counted.any() else 0.0


def _segment_distance(places: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    along = last - first
    share = ((places - first) @ along / max(float(along @ along), 1e-6)).clip(0, 1)
    distance: np.ndarray = np.hypot(*(places - first - share[:, None] * along).T)
    return distance


def _covered(first: np.ndarray, last: np.ndarray, evidence: Evidence) -> float:
    """Share of a limb's length on which something is drawn."""
    steps = max(2, round(float(np.hypot(*(last - first)))))
    places = first + np.linspace(0, 1, steps)[:, None] * (last - first)
    height, width = evidence.drawn.shape
    columns, rows = places.astype(int).clip(0, [width - 1, height - 1]).T
    return float(evidence.drawn[rows, columns].mean())
