"""Poses that come with the package, by name: standing, walking, sitting, dancing, reaching, whole and upper bodies.

They are our own motions, done by one rendered adult; `tools/make_pose_library.py` draws them. Source: own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import numpy as np

from imagpose.pose.keypoints import Pose

_FILE = Path(__file__).parent / "library.json"


@dataclass(frozen=True, eq=False)
class NamedPose:
    """A pose of the library.

    Attributes:
        name: such as "walk-03".
        text: what the person does.
        view: where the person is seen from: "front", "back, turned to the left", ... Left and right are the picture's.
        pose: in a frame of 352x512 pixels; hidden points have confidence 0.5.
    """

    name: str
    text: str
    view: str
    pose: Pose


@cache
def library() -> dict[str, NamedPose]:
    """All poses by name, in the order of the names."""
    stored = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        entry["name"]: NamedPose(
            entry["name"],
            entry["text"],
            entry["view"],
            Pose(np.array(entry["keypoints"], np.float32), stored["width"], stored["height"]),
        )
        for entry in stored["poses"]
    }


def named_poses(pattern: str) -> list[NamedPose]:
    """The poses whose names a pattern such as "walk-*" fits, in the order of the names; none where it fits no name."""
    return [own for name, own in library().items() if fnmatchcase(name, pattern)]


def near_names(name: str) -> list[str]:
    """Names that somebody may have meant: those of the same group, or spelt much like it."""
    found = get_close_matches(name, library(), n=3) or list(
        dict.fromkeys(own.rpartition("-")[0] + "-*" for own in library() if own.startswith(name[:4]))
    )
    return found[:3]
