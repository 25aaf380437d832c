"""A pose: 18 key points in the order of OpenPose's COCO model, in the pixels of a frame; hands where they are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.pictures import MAX_PIXELS, MAX_SIDE, fitted_box

KEYPOINT_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip

# Pairs of key points that a skeleton joins, in the order of its colours.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip


def other_side(name: str) -> str:
    """The same point or part of the person's other side; what has no side itself."""
    side, _, rest = name.partition("_")
    return {"right": f"left_{rest}", "left": f"right_{rest}"}.get(side, name)


# For each key point the one that takes its place in a mirrored picture.
MIRRORED = tuple(KEYPOINT_NAMES.index(other_side(name)) for name in KEYPOINT_NAMES)


@dataclass(frozen=True, eq=False)
class Pose:
    """Key points of one person in a frame.

    Attributes:
        keypoints: float32 (18, 3): x to the right and y downwards in pixels, confidence 0..1 (0: missing).
        width, height: size of the frame in pixels. Points may lie outside of it.
        hands: float32 (2, 21, 3), the left and the right hand in OpenPose's order (wrist, then four points a finger
            from the thumb), values as of `keypoints`; None where the hands are not known.

    Raises:
        ValueError: another shape, a value that is not finite, a confidence outside 0..1, an empty frame, or one that is
            larger than pictures may be.
    """

    keypoints: np.ndarray
    width: int
    height: int
    hands: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "keypoints", _checked(self.keypoints, (18, 3), "key points", "in OpenPose order"))
        if self.hands is not None:
            object.__setattr__(self, "hands", _checked(self.hands, (2, 21, 3), "hands", "left, right"))
        sides = (self.height, self.width)
        if min(sides) < 1 or max(sides) > MAX_SIDE or self.height * self.width > MAX_PIXELS:
            raise ValueError(
                f"the frame is {self.height}x{self.width} (height x width); sides from 1 to {MAX_SIDE:,} and at most"
                f" {MAX_PIXELS:,} pixels expected"
            )

    @property
    def visible(self) -> np.ndarray:
        """bool (18,): points that are not missing."""
        return self.keypoints[:, 2] > 0

    @property
    def inside(self) -> np.ndarray:
        """bool (18,): points that are found and lie inside the frame or on its edge."""
        x, y = self.keypoints[:, 0], self.keypoints[:, 1]
        return self.visible & (x >= 0) & (x <= self.width) & (y >= 0) & (y <= self.height)

    def scale(self, scale_x: float, scale_y: float) -> Pose:
        """Coordinates multiplied, same frame; missing points stay as they are."""
        return self._moved((scale_x, scale_y), (0, 0), self.width, self.height)

    def resize(self, width: int, height: int) -> Pose:
        """The pose in its frame resized to `width` x `height`."""
        return self._moved((width / self.width, height / self.height), (0, 0), width, height)

    def crop(self, left: float, top: float, width: int, height: int) -> Pose:
        """The pose in a part of the frame (or, with a negative start, in a larger frame)."""
        return self._moved((1, 1), (-left, -top), width, height)

    def fit(self, width: int, height: int) -> Pose:
        """The pose in the view of `width` x `height` that `pictures.fit_view` makes of its frame."""
        fitted_width, fitted_height, left, top = fitted_box(self.width, self.height, width, height)
        return self.resize(fitted_width, fitted_height).crop(-left, -top, width, height)

    def mirror(self) -> Pose:
        """The pose of the mirrored picture: left and right change places."""
        swapped = Pose(
            self.keypoints[list(MIRRORED)],
            self.width,
            self.height,
            None if self.hands is None else self.hands[::-1],
        )
        return swapped._moved((-1, 1), (self.width, 0), self.width, self.height)

    def _moved(self, factors: tuple[float, float], shift: tuple[float, float], width: int, height: int) -> Pose:
        """All found points multiplied, then shifted."""

        def moved(points: np.ndarray) -> np.ndarray:
            places = points[..., :2] * np.array(factors, np.float32) + np.array(shift, np.float32)
            places = np.where(points[..., 2:] > 0, places, points[..., :2])
            return np.concatenate([places, points[..., 2:]], -1)

        return Pose(moved(self.keypoints), width, height, None if self.hands is None else moved(self.hands))


def _checked(values: np.ndarray, shape: tuple[int, ...], name: str, order: str) -> np.ndarray:
    with np.errstate(over="ignore"):  # they become infinite, and are refused as such
        points = np.asarray(values, np.float32)
    if points.shape != shape:
        raise ValueError(f"{name} have shape {points.shape}; {shape} expected: x, y, confidence {order}")
    if not np.isfinite(points).all():
        raise ValueError(f"{name} hold values that are not finite")
    if points[..., 2].min() < 0 or points[..., 2].max() > 1:
        raise ValueError("confidences must lie between 0 and 1")
    return points
