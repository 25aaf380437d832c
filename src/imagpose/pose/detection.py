"""The detectors of poses by name."""

from __future__ import annotations

from functools import cache

from PIL import Image

from imagpose.pose.blazepose import BlazePose
from imagpose.pose.detector import PoseDetector
from imagpose.pose.keypoints import Pose
from imagpose.pose.rtmpose import RTMPose

DETECTORS = ("mediapipe", "rtmlib", "rtmlib-cuda")
DEFAULT_DETECTOR = DETECTORS[0]


def open_detector(name: str = DEFAULT_DETECTOR, threads: int | None = None) -> PoseDetector:
    """Load a detector's networks.

    Args:
        name: one of `DETECTORS`; "rtmlib-cuda" runs rtmlib's networks on a GPU, the others compute on the CPU.
        threads: of the CPU; None for what the detector does best with.

    Raises:
        ValueError: no such detector, its extra is not installed, or it cannot use the GPU.
        OSError: its networks are not there, cannot be downloaded, or are damaged.
    """
    if name not in DETECTORS:
        raise ValueError(f"detector {name!r}; one of {', '.join(DETECTORS)} expected")
    if name == "mediapipe":
        return BlazePose(threads)
    return RTMPose("cuda" if name == "rtmlib-cuda" else "cpu", threads)


def detecting_workers(detector: str, workers: int | None) -> int | None:
    """Number of processes for a detector: on a GPU one, where nothing else is asked for.

    Loads the detector, so that what is missing is said, and downloaded, before any process starts; errors as
    `open_detector`.
    """
    _own_detector(detector)
    return 1 if detector.endswith("cuda") and workers is None else workers


def detect_pose(picture: Image.Image, detector: str) -> Pose:
    """See `PoseDetector.__call__`; a process loads its detector, of one thread, once."""
    return _own_detector(detector)(picture)


@cache
def _own_detector(name: str) -> PoseDetector:
    return open_detector(name, threads=1)
