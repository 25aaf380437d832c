"""Key points for pictures that come without: found by the pose detector, in each process that makes views."""

from __future__ import annotations

from functools import cache

from PIL import Image

from imagpose.pose import Pose
from imagpose.pose.detection import PoseDetector

__all__ = ["detect_pose", "detecting_workers"]


def detecting_workers(device: str, workers: int | None) -> int | None:
    """Number of processes for detecting on a device: on a GPU one, where nothing else is asked for.

    Makes a detector, so that what is missing is said, and downloaded, before any process starts.

    Raises:
        ValueError, OSError: see `PoseDetector`.
    """
    _detector(device)
    return 1 if device == "cuda" and workers is None else workers


def detect_pose(picture: Image.Image, device: str) -> Pose:
    """See `PoseDetector.__call__`."""
    return _detector(device)(picture)


@cache
def _detector(device: str) -> PoseDetector:
    return PoseDetector(device, threads=1)
