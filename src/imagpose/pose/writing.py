"""Poses into files: OpenPose JSON, PIDM-style text, the field's annotation CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagpose.io import write_json, write_text
from imagpose.pose.keypoints import Pose
from imagpose.pose.text_kinds import CSV_HEADER


def to_openpose(pose: Pose) -> dict[str, Any]:
    """OpenPose result (COCO_18) with the frame's size, and hands where they are known; missing points are 0, 0, 0."""
    person: dict[str, Any] = {"person_id": [-1], "pose_keypoints_2d": _values(pose.keypoints)}
    if pose.hands is not None:
        person["hand_left_keypoints_2d"], person["hand_right_keypoints_2d"] = map(_values, pose.hands)
    return {"version": 1.3, "canvas_width": pose.width, "canvas_height": pose.height, "people": [person]}


def _values(points: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in np.where(points[:, 2:] > 0, points, 0.0).ravel()]


def write_openpose_json(pose: Pose | Sequence[Pose], path: str | Path) -> None:
    """Write a pose as OpenPose JSON, see `to_openpose`; several as a list with one entry a frame."""
    data = to_openpose(pose) if isinstance(pose, Pose) else [to_openpose(one) for one in pose]
    write_json(Path(path), data, indent=None)


def write_txt(pose: Pose, path: str | Path) -> None:
    """Write PIDM-style text, 18 lines ``x y``, -1 where missing; the frame's size is not part of the format."""
    lines = ["-1 -1" if c == 0 else f"{x:.2f} {y:.2f}" for x, y, c in pose.keypoints.tolist()]
    write_text(Path(path), "\n".join(lines) + "\n")


def write_annotation_csv(poses: Mapping[str, Pose], path: str | Path) -> None:
    """Write the field's annotation CSV; coordinates are rounded to whole pixels.

    A point at -1 (just outside the frame) cannot be told from a missing one in this format.

    Raises:
        ValueError: a name holds a colon or a line break, or begins or ends with a blank.
    """
    lines = [CSV_HEADER]
    for name, pose in poses.items():
        if ":" in name or name != "".join(name.splitlines()).strip():
            raise ValueError(
                f"picture name {name!r} holds ':', a line break or outer blanks, which the format cannot hold"
            )
        places = np.where(pose.keypoints[:, 2:] > 0, np.rint(pose.keypoints[:, :2]), -1).astype(int)
        lines.append(f"{name}: {places[:, 1].tolist()}: {places[:, 0].tolist()}")
    write_text(Path(path), "\n".join(lines) + "\n")
