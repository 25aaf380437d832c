"""Key points for pictures that come without: found by the pose detector, in each process that makes views."""

from __future__ import annotations

from functools import cache

from PIL import Image

from imagpose.pose import Pose
from imagpose.pose.detection import PoseDetector, open_detector

__all__ = ["detect_pose", "detecting_workers"]


def detecting_workers(detector: str, workers: int | None) -> int | None:
    """Number of processes for a detector: on a GPU one, where nothing else is asked for.

    Loads the detector, so that what is missing is said, and downloaded, before any process starts.

    Raises:
        ValueError, OSError: see `open_detector`.
    """
    _detector(detector)
    return 1 if detector.endswith("cuda") and workers is None else workers


def detect_pose(picture: Image.Image, detector: str) -> Pose:
    """See `PoseDetector.__call__`."""
    return _detector(detector)(picture)


@cache
def _detector(name: str) -> PoseDetector:
    return open_detector(name, threads=1)
