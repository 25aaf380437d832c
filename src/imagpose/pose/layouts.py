"""The orders in which tools list key points, and how each becomes our 18 (and 2 x 21 of the hands).

Sources: OpenPose's output format (BODY_25, COCO), COCO and COCO-WholeBody annotations, AlphaPose's Halpe-26 and Halpe-136,
MediaPipe's pose landmarks; DWPose's 134 points are COCO-WholeBody with the neck put in as in OpenPose.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imagpose.pose.keypoints import KEYPOINT_NAMES

_COCO_17 = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
_BODY_25 = (*KEYPOINT_NAMES[:8], "mid_hip", *KEYPOINT_NAMES[8:])
_HALPE_26 = (*_COCO_17, "head", "neck")
_MEDIAPIPE = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb",
    "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
_NECK, _SHOULDERS = KEYPOINT_NAMES.index("neck"), (2, 5)
_FEWEST_NAMES = 8


@dataclass(frozen=True)
class Layout:
    """One tool's list of key points.

    Attributes:
        name: what people call it.
        names: of the points, as far as the last of the body.
        hands: index of the first of 21 points of the left and of the right hand.
    """

    name: str
    names: tuple[str, ...]
    hands: tuple[int, int] | None = None


# By number of points. Each number stands for one order in the files of this field.
LAYOUTS = {
    17: Layout("COCO-17", _COCO_17),
    18: Layout("COCO_18", KEYPOINT_NAMES),
    23: Layout("COCO-17 with feet", _COCO_17),
    25: Layout("BODY_25", _BODY_25),
    26: Layout("Halpe-26", _HALPE_26),
    33: Layout("MediaPipe's 33 landmarks", _MEDIAPIPE),
    133: Layout("COCO-WholeBody", _COCO_17, (91, 112)),
    134: Layout("DWPose's 134", KEYPOINT_NAMES, (92, 113)),
    136: Layout("Halpe-136", _HALPE_26, (94, 115)),
    137: Layout("BODY_25 with face and hands", _BODY_25, (95, 116)),
}


def known_counts() -> str:
    """The numbers of points that can be read, for messages."""
    return ", ".join(f"{count} ({layout.name})" for count, layout in LAYOUTS.items())


def to_body(points: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Our 18 key points (18, 3) from points (n, 3) in another order; NaN, NaN, 0 for those that are not listed."""
    body = np.full((len(KEYPOINT_NAMES), 3), (np.nan, np.nan, 0.0))
    for name, point in zip(names, points, strict=False):
        if name in KEYPOINT_NAMES:
            body[KEYPOINT_NAMES.index(name)] = point
    return body


def with_neck(body: np.ndarray) -> np.ndarray:
    """A missing neck put between the shoulders where both are found, with the lower of their confidences."""
    shoulders = body[list(_SHOULDERS)]
    if body[_NECK, 2] > 0 or not (shoulders[:, 2] > 0).all():
        return body
    body = body.copy()
    body[_NECK] = [*shoulders[:, :2].mean(0), shoulders[:, 2].min()]
    return body


def to_hands(points: np.ndarray, layout: Layout) -> np.ndarray | None:
    """The hands (2, 21, 3) in points (n, 3), where the layout has them."""
    if layout.hands is None:
        return None
    return np.stack([points[start : start + 21] for start in layout.hands])


def from_names(names: Sequence[str]) -> tuple[str, ...] | None:
    """Our names for a tool's own ("leftEye", "LShoulder", "R_Knee", "Left Hip"), None where too few are known."""
    found = tuple(_plain(name) for name in names)
    return found if sum(name in KEYPOINT_NAMES for name in set(found)) >= _FEWEST_NAMES else None


def _plain(name: str) -> str:
    words = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().replace(" ", "_").replace("-", "_")
    side = re.fullmatch(r"(l|r)_?(nose|neck|eye|ear|shoulder|elbow|wrist|hip|knee|ankle)", words)
    if side:
        return f"{'left' if side[1] == 'l' else 'right'}_{side[2]}"
    swapped = re.fullmatch(r"(eye|ear|shoulder|elbow|wrist|hip|knee|ankle)_(l|r|left|right)", words)
    if swapped:
        return f"{'left' if swapped[2][0] == 'l' else 'right'}_{swapped[1]}"
    return words
