"""A pose: 18 key points in the order of OpenPose's COCO model, in the pixels of a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from imagpose.pictures import fitted_box

__all__ = ["KEYPOINT_NAMES", "LIMBS", "MIRRORED", "Pose"]

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

# For each key point the one that takes its place in a mirrored picture.
MIRRORED = tuple(
    KEYPOINT_NAMES.index(
        name.replace("left_", "right_") if name.startswith("left_") else name.replace("right_", "left_")
    )
    for name in KEYPOINT_NAMES
)


@dataclass(frozen=True, eq=False)
class Pose:
    """Key points of one person in a frame.

    Attributes:
        keypoints: float32 (18, 3): x to the right and y downwards in pixels, confidence 0..1 (0: missing).
        width, height: size of the frame in pixels. Points may lie outside of it.

    Raises:
        ValueError: another shape, a value that is not finite, a confidence outside 0..1, an empty frame.
    """

    keypoints: np.ndarray
    width: int
    height: int

    def __post_init__(self) -> None:
        points = np.asarray(self.keypoints, np.float32)
        if points.shape != (18, 3):
            raise ValueError(
                f"key points have shape {points.shape}; (18, 3) expected: x, y, confidence in OpenPose order"
            )
        if not np.isfinite(points).all():
            raise ValueError("key points hold values that are not finite")
        if points[:, 2].min() < 0 or points[:, 2].max() > 1:
            raise ValueError("confidences must lie between 0 and 1")
        if self.width < 1 or self.height < 1:
            raise ValueError(f"the frame is {self.width}x{self.height}; both sides must be at least 1 pixel")
        object.__setattr__(self, "keypoints", points)

    @property
    def visible(self) -> np.ndarray:
        """bool (18,): points that are not missing."""
        return self.keypoints[:, 2] > 0

    @property
    def inside(self) -> np.ndarray:
        """bool (18,): points that are found and lie inside the frame."""
        x, y = self.keypoints[:, 0], self.keypoints[:, 1]
        return self.visible & (x >= 0) & (x < self.width) & (y >= 0) & (y < self.height)

    def scale(self, scale_x: float, scale_y: float) -> Pose:
        """Coordinates multiplied, same frame; missing points stay as they are."""
        return self._moved(self.keypoints[:, :2] * np.array([scale_x, scale_y], np.float32), self.width, self.height)

    def translate(self, shift_x: float, shift_y: float) -> Pose:
        """Coordinates shifted by pixels, same frame."""
        return self._moved(self.keypoints[:, :2] + np.array([shift_x, shift_y], np.float32), self.width, self.height)

    def resize(self, width: int, height: int) -> Pose:
        """The pose in its frame resized to `width` x `height`."""
        factors = np.array([width / self.width, height / self.height], np.float32)
        return self._moved(self.keypoints[:, :2] * factors, width, height)

    def crop(self, left: float, top: float, width: int, height: int) -> Pose:
        """The pose in a part of the frame (or, with a negative start, in a larger frame)."""
        return self._moved(self.keypoints[:, :2] - np.array([left, top], np.float32), width, height)

    def fit(self, width: int, height: int) -> Pose:
        """The pose in the view of `width` x `height` that `pictures.fit_view` makes of its frame."""
        fitted_width, fitted_height, left, top = fitted_box(self.width, self.height, width, height)
        return self.resize(fitted_width, fitted_height).crop(-left, -top, width, height)

    def mirror(self) -> Pose:
        """The pose of the mirrored picture: left and right change places."""
        points = self.keypoints[list(MIRRORED)]
        flipped = np.stack([self.width - points[:, 0], points[:, 1]], 1)
        return Pose(np.concatenate([_where_found(points, flipped), points[:, 2:]], 1), self.width, self.height)

    def _moved(self, places: np.ndarray, width: int, height: int) -> Pose:
        places = _where_found(self.keypoints, places)
        return Pose(np.concatenate([places, self.keypoints[:, 2:]], 1), width, height)


def _where_found(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    return np.where(points[:, 2:] > 0, places, points[:, :2])
