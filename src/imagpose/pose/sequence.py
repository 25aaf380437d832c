"""Poses of one person in the frames of a film: others put between, short gaps bridged, places smoothed. Knows no model.

Savitzky-Golay fits a parabola to the frames around each one, by least squares, and takes its value: nothing lags behind, and
motion at a constant acceleration stays as it is. One Euro is a causal low-pass filter, x_k = a x'_k + (1 - a) x_(k-1) with
a = 1 / (1 + f / (2 pi c)) at f frames a second, whose cutoff c grows with speed: what stands still is held still, what moves
fast does not lag. Sources: Savitzky and Golay, "Smoothing and differentiation of data by simplified least squares
procedures", 1964 (SciPy's implementation); Casiez et al., "1 Euro filter", CHI 2012.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from imagpose.pose.keypoints import LIMBS, Pose

SMOOTHING = ("savgol", "one-euro", "none")
_LONGEST_GAP, _WINDOW = 0.2, 0.3  # seconds
_ORDER = 2  # a parabola passes through three frames: below about 12 frames a second nothing is smoothed
_CUTOFF, _SPEED_CUTOFF = 1.0, 1.0  # Hz
_TURNING = (3, 4, 6, 7, 9, 10, 12, 13)  # elbows, wrists, knees and ankles
_WRISTS = (7, 4)  # of the left and the right hand
_BETA = 4.0  # Hz for each body height a second: a quick hand, at 3 of them, is cut off at 13 Hz


def smooth_poses(poses: Sequence[Pose | None], fps: float, method: str = SMOOTHING[0]) -> list[Pose | None]:
    """A sequence without jitter.

    Points that are missing for at most 0.2 s are put on the straight line between the places where they were last and next
    seen, whatever the method; over longer gaps they stay missing. Each stretch in which a point is seen is smoothed alone.

    Args:
        poses: one for each frame, all in one frame size; None: nobody is known to be in it.
        fps: frames a second.
        method: one of `SMOOTHING`.

    Returns:
        As many; None where no point is known.

    Raises:
        ValueError: no such method, frames of different sizes, or `fps` is not positive.
    """
    if method not in SMOOTHING:
        raise ValueError(f"smoothing {method!r}: one of {', '.join(SMOOTHING)} expected")
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps is {fps!r}; a positive number of frames a second expected")
    known = [pose for pose in poses if pose is not None]
    if not known:
        return list(poses)
    first = known[0]
    _check_frames(poses)
    points = bridge_gaps(np.stack([_all_points(pose) for pose in poses]), max(1, round(_LONGEST_GAP * fps)))
    if method == "savgol":
        points = savitzky_golay(points, round(_WINDOW * fps) | 1)
    elif method == "one-euro":
        points = one_euro(points, fps, float(np.median([_extent(pose) for pose in known])))
    return [_as_pose(frame, first.width, first.height) for frame in points]


def _check_frames(poses: Sequence[Pose | None]) -> None:
    """Raises `ValueError` where the frames of a sequence differ in size."""
    known = [(number, pose) for number, pose in enumerate(poses, 1) if pose is not None]
    for number, pose in known:
        first = known[0][1]
        if (pose.width, pose.height) != (first.width, first.height):
            raise ValueError(
                f"frame {number} of the sequence has {pose.height}x{pose.width}, the first {first.height}x{first.width}"
                " (height x width): the frames of a sequence have one size"
            )


def fill_between(poses: Sequence[Pose | None], count: int) -> list[Pose | None]:
    """A sequence with `count` poses put between each two that follow one another, see `poses_between`.

    Args:
        poses: all in one frame size; None: nobody is known to be in it, nor in what is put beside it.
        count: from 0.

    Returns:
        (n - 1) * (count + 1) + 1 poses; none of none.

    Raises:
        ValueError: frames of different sizes.
    """
    if count == 0:
        return list(poses)
    _check_frames(poses)
    filled = list(poses[:1])
    for first, second in pairwise(poses):
        filled += [None] * count if first is None or second is None else poses_between(first, second, count)
        filled.append(second)
    return filled


def poses_between(first: Pose, second: Pose, count: int) -> list[Pose]:
    """Poses on the way from one to another, equally far apart in time, in the frame of the first.

    Neck, shoulders, hips and face go along straight lines, as they seem to when a body turns. Elbows, wrists, knees and
    ankles turn about the joint before them, the shorter way, while its distance changes evenly: along straight lines an
    arm that swings would shrink in between. Hands go with their wrists. A point that one of the two poses lacks is missing.
    """
    ends = np.stack([_all_points(first), _all_points(second)])
    share = np.linspace(0, 1, count + 2)[1:-1, None]
    points = np.empty((count, 60, 3))
    points[..., :2] = ends[0, :, :2] + share[..., None] * (ends[1] - ends[0])[:, :2]
    points[..., 2] = np.where((ends[..., 2] > 0).all(0), ends[..., 2].min(0), 0)
    for before, joint in LIMBS:
        if joint in _TURNING and points[:, (before, joint), 2].all():
            away = ends[:, joint, :2] - ends[:, before, :2]
            length, angle = np.hypot(*away.T), np.arctan2(away[:, 1], away[:, 0])
            turn = (angle[1] - angle[0] + np.pi) % (2 * np.pi) - np.pi
            length, angle = length[0] + share * (length[1] - length[0]), angle[0] + share * turn
            points[:, joint, :2] = points[:, before, :2] + length * np.concatenate([np.cos(angle), np.sin(angle)], 1)
    for side, wrist in enumerate(_WRISTS):
        straight = ends[0, wrist, :2] + share * (ends[1] - ends[0])[wrist, :2]
        points[:, 18 + 21 * side : 39 + 21 * side, :2] += (points[:, wrist, :2] - straight)[:, None]
    found = (_as_pose(frame, first.width, first.height) for frame in points)
    return [Pose(np.zeros((18, 3)), first.width, first.height) if pose is None else pose for pose in found]


def bridge_gaps(points: np.ndarray, longest: int) -> np.ndarray:
    """Points (n, p, 3) of n frames with gaps of at most `longest` frames filled by straight lines.

    What is filled in is no surer than the less sure of its two ends. Gaps at the beginning and the end stay.
    """
    bridged = points.copy()
    for place in range(points.shape[1]):
        seen = np.flatnonzero(points[:, place, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= longest + 1:
                share = np.linspace(0, 1, after - before + 1)[1:-1, None]
                ends = points[[before, after], place]
                bridged[before + 1 : after, place, :2] = (1 - share) * ends[0, :2] + share * ends[1, :2]
                bridged[before + 1 : after, place, 2] = ends[:, 2].min()
    return bridged


def savitzky_golay(points: np.ndarray, window: int) -> np.ndarray:
    """Points (n, p, 3) smoothed by parabolas over an odd number of frames; shorter stretches by shorter windows."""
    from scipy.signal import savgol_filter  # here: it takes longer to import than a bad request takes to be refused

    def smooth(places: np.ndarray) -> np.ndarray:
        own = min(window, (len(places) - 1) | 1)
        if own <= _ORDER + 1:
            return places
        smoothed: np.ndarray = savgol_filter(places, own, _ORDER, axis=0, mode="interp")
        return smoothed

    return _by_stretch(points, smooth)


def one_euro(points: np.ndarray, fps: float, height: float) -> np.ndarray:
    """Points (n, p, 3) smoothed by One Euro filters, one for each point; `height` of the body in pixels scales speeds."""

    def weight(cutoff: np.ndarray | float) -> np.ndarray | float:
        return 1 / (1 + fps / (2 * math.pi * cutoff))

    def smooth(places: np.ndarray) -> np.ndarray:
        smoothed, speed = places.copy(), np.zeros(2)
        for frame in range(1, len(places)):
            now = (places[frame] - smoothed[frame - 1]) * fps / height
            speed = speed + weight(_SPEED_CUTOFF) * (now - speed)
            share = weight(_CUTOFF + _BETA * float(np.linalg.norm(speed)))
            smoothed[frame] = smoothed[frame - 1] + share * (places[frame] - smoothed[frame - 1])
        return smoothed

    return _by_stretch(points, smooth)


def _by_stretch(points: np.ndarray, smooth: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Points with each stretch of frames (m, 2), in which a point is seen without a gap, replaced by what `smooth` gives."""
    smoothed = points.copy()
    for place in range(points.shape[1]):
        for start, stop in _stretches(points[:, place, 2] > 0):
            smoothed[start:stop, place, :2] = smooth(points[start:stop, place, :2])
    return smoothed


def _stretches(seen: np.ndarray) -> Iterator[tuple[int, int]]:
    """First frame and the one behind the last of each unbroken stretch."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen, [False]]).astype(np.int8)))
    return zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _all_points(pose: Pose | None) -> np.ndarray:
    """Body and hands (60, 3), missing where nobody or no hand is known."""
    points = np.zeros((60, 3))
    if pose is not None:
        points[:18] = pose.keypoints
        if pose.hands is not None:
            points[18:] = pose.hands.reshape(42, 3)
    return points


def _as_pose(points: np.ndarray, width: int, height: int) -> Pose | None:
    if not (points[:18, 2] > 0).any():
        return None
    hands = points[18:].reshape(2, 21, 3)
    return Pose(points[:18], width, height, hands if (hands[..., 2] > 0).any() else None)


def _extent(pose: Pose) -> float:
    """The longer side of the box around the found points, at least a pixel."""
    return max(1.0, float(np.ptp(pose.keypoints[pose.visible, :2], axis=0).max())) if pose.visible.any() else 1.0
