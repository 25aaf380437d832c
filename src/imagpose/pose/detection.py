"""The detectors of poses by name."""

from __future__ import annotations

from imagpose.pose.blazepose import BlazePose
from imagpose.pose.detector import PoseDetector
from imagpose.pose.rtmpose import RTMPose

__all__ = ["DEFAULT_DETECTOR", "DETECTORS", "PoseDetector", "open_detector"]

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
