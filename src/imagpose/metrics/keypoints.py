"""How well key points that were found in a picture agree with those that were asked for: PCK and OKS, without networks.

Key points count that are asked for inside the picture, hidden ones too, as COCO counts what is labelled. What the finder
thinks of a point's presence does not: it must say a place for each.
"""

from __future__ import annotations

import numpy as np

from imagpose.pose.keypoints import KEYPOINT_NAMES

PCK_SHARE = 0.1
"""A key point is found within this share of the longer side of the box around the key points that count."""

_SIGMA = {
    "nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062, "hip": 0.107,
    "knee": 0.087, "ankle": 0.089,
}  # fmt: skip
COCO_SIGMAS = np.array([_SIGMA.get(name.rpartition("_")[2], np.nan) for name in KEYPOINT_NAMES])
"""COCO's standard deviation of each of the 18 key points, in square roots of the person's area; NaN for the neck, which COCO
does not have. Source: pycocotools, `Params.kpt_oks_sigmas`."""


def counted_points(asked: np.ndarray, width: int, height: int) -> np.ndarray:
    """Which of the key points (18, 3) count in a picture: bool (18,)."""
    x, y, confidence = asked.T
    counted: np.ndarray = (confidence > 0) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return counted


def pck(found: np.ndarray, asked: np.ndarray, counted: np.ndarray, share: float = PCK_SHARE) -> float:
    """Percentage of correct key points of one picture, as a share 0..1.

    A point is correct whose distance is at most `share` of the longer side of the box around those that count.
    Source: Yang and Ramanan, "Articulated human detection with flexible mixtures of parts", 2013, section 6.

    Args:
        found, asked: (18, 2 or more), x and y in pixels of one frame.
        counted: bool (18,).

    Returns:
        The share; NaN where fewer than two points count, for they span no box.
    """
    if np.count_nonzero(counted) < 2:
        return float("nan")
    one, other = found[counted, :2].astype(np.float64), asked[counted, :2].astype(np.float64)
    side = np.ptp(other, axis=0).max()
    return float(np.mean(np.linalg.norm(one - other, axis=1) <= share * side))


def oks(found: np.ndarray, asked: np.ndarray, counted: np.ndarray, area: float) -> float:
    """Object keypoint similarity of one picture, 0..1.

    Mean over the points that count of exp(-d^2 / (2 area (2 sigma)^2)), the neck left out.
    Source: Lin et al., COCO's key point evaluation, https://cocodataset.org/#keypoints-eval.

    Args:
        found, asked: (18, 2 or more), x and y in pixels of one frame.
        counted: bool (18,).
        area: of the person, in pixels.

    Returns:
        The similarity; NaN where no point counts.
    """
    used = counted & ~np.isnan(COCO_SIGMAS)
    if not used.any() or area <= 0:
        return float("nan")
    squared = ((found[used, :2].astype(np.float64) - asked[used, :2]) ** 2).sum(1)
    return float(np.exp(-squared / (2 * area * (2 * COCO_SIGMAS[used]) ** 2)).mean())
